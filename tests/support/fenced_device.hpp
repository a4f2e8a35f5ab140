#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kernels/core/arena.hpp"
#include "kernels/ops/bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

/// The CPU as a device that the host cannot reach: its memory cannot be read or written but while a body or a copy uses
/// it, and its streams do nothing before something waits for them. A host that reads behind a device's back, or too
/// early, is caught on any machine.
namespace sy::test {

/// When queued work is done: at once; or when something waits for it, and then the oldest first, the streams with the
/// youngest first, or as drawn. The order within a stream is always that of the queue.
enum class Turns { at_once, oldest, youngest, drawn };

/// Memory that nobody can reach while it is closed.
class Fence {
  public:
    Fence() = default;
    Fence(const Fence&) = delete;
    Fence& operator=(const Fence&) = delete;
    ~Fence();

    /// For Arena's constructor.
    std::byte* map(index_t bytes);
    /// As often as it was opened, it has to be closed.
    void open();
    void close();
    bool is_open() const { return num_open_ > 0; }

  private:
    void protect(int rights) const;

    std::vector<std::span<std::byte>> slabs_;
    int num_open_ = 0;
};

class LazyStream;

/// Who is next, of the streams of one device.
class Schedule {
  public:
    explicit Schedule(Turns turns) : turns_(turns) {}
    void add(LazyStream& stream) { streams_.push_back(&stream); }
    Turns turns() const { return turns_; }
    std::uint64_t next_age() { return next_age_++; }
    /// Does work until `stream` has none. @throws TimeoutError when it waits for what never comes
    void finish(LazyStream& stream, std::chrono::milliseconds deadline);
    /// Forgets what has not been done.
    void drop();

  private:
    LazyStream* choose();

    Turns turns_;
    std::vector<LazyStream*> streams_;
    std::uint64_t next_age_ = 0;
    std::minstd_rand draw_{1};
};

class LazyStream : public Stream {
  public:
    explicit LazyStream(Schedule& schedule) : schedule_(schedule) { schedule.add(*this); }

    Event record() override { return {this, num_queued_}; }
    void wait(const Event& event) override;
    void synchronise(std::chrono::milliseconds deadline) override { schedule_.finish(*this, deadline); }
    void queue(std::function<void()> work);

  private:
    friend class Schedule;
    struct Work {
        std::function<void()> run;
        Event after;  ///< none: no stream
        std::uint64_t age;
    };
    bool is_ready() const;

    Schedule& schedule_;
    std::deque<Work> work_;
    std::uint64_t num_queued_ = 0;
    std::uint64_t num_done_ = 0;
};

/// What a fenced device is made of besides a CpuDevice, and has to have before that.
struct FencedParts {
    Fence fence;
    Arena staging{index_t{2} << 20};
    Schedule schedule;
    /// What bodies allocate that run late: by then the host has given back pieces that work behind them still uses.
    Arena late{index_t{1} << 20, [this](index_t bytes) { return fence.map(bytes); }};
    bool runs_late = false;
};

class FencedDevice : private FencedParts, public CpuDevice {
  public:
    explicit FencedDevice(Turns turns = Turns::at_once, int num_threads = 1);
    ~FencedDevice() override { schedule.drop(); }

    Buffer allocate(index_t bytes, Memory memory = Memory::device) override;
    bool is_host_memory() const override { return false; }
    void copy(ConstTensorRef from, TensorRef to, Stream& stream) override;
    void upload(const HostRef& made, TensorRef to, Stream& stream) override;

    /// Queues work that may reach the memory while it runs.
    void queue(Stream& stream, std::function<void()> work);
    /// Does all that is queued on a stream, and opens the memory: for work whose arguments belong to the caller.
    class Access {
      public:
        Access(FencedDevice& device, Stream& stream);
        ~Access() { fence_.close(); }
        Access(const Access&) = delete;
        Access& operator=(const Access&) = delete;

      private:
        Fence& fence_;
    };

    bool is_open() const { return fence.is_open(); }
    /// Whether a piece of queued work is running, rather than a body that its caller waits for.
    bool runs_queued_work() const { return runs_late; }
    void count_call(const void* body) { ++calls_[body]; }
    /// Names of the operations that have not run on this device.
    std::vector<std::string> uncalled() const;

  private:
    std::map<const void*, index_t> calls_;
};

}  // namespace sy::test
