#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/buffer.hpp"
#include "kernels/core/tensor_ref.hpp"

/// What computes: memory, streams of work, and a body for every operation. Whoever passes operands on knows no more of it
/// than this page, so that the same model runs on every device.
namespace sy {

namespace ops {
struct Bodies;
/// Names of the operations that the table has no body for.
std::vector<std::string> missing_bodies(const Bodies& bodies);
}  // namespace ops

enum class DeviceKind { cpu, cuda };

/// `device`: what operations work on. `staging`: what both the host and copies of the device can reach.
enum class Memory { device, staging };

/// What the host may read of a device's memory: choices of experts and their weights, for capacity and plans; scores for
/// assignments that the host solves; losses and statistics of a step; logits that tokens are drawn from; snapshots for
/// checkpoints; and what messages carry to other ranks, where they leave from memory of the host.
enum class HostRead { choices, assignment, step, logits, snapshot, messages };
inline constexpr std::array kHostReads{HostRead::choices, HostRead::assignment, HostRead::step,
                                       HostRead::logits,  HostRead::snapshot,   HostRead::messages};

class HostRef;
class Stream;

/// The work of a stream up to some point.
struct Event {
    Stream* stream = nullptr;
    std::uint64_t position = 0;
};

/// Work that a device does in the order in which it was queued. Streams of one device run independently, but for waits.
class Stream {
  public:
    Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    virtual ~Stream() = default;

    /// All that has been queued so far.
    virtual Event record() = 0;
    /// Lets what is queued later begin after `event`. Returns at once.
    virtual void wait(const Event& event) = 0;
    /// @throws TimeoutError naming the device
    /// @par Waits  until all that has been queued is done, at most `deadline`
    virtual void synchronise(std::chrono::milliseconds deadline) = 0;
};

/// One rank's device. Outlives its buffers.
class Device {
  public:
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    DeviceKind kind() const { return kind_; }
    const std::string& name() const { return name_; }
    /// The body of each operation.
    const ops::Bodies& bodies() const { return bodies_; }
    /// Threads that share the work of a body.
    virtual int num_threads() const = 0;

    /// Contents are not initialised. What is queued may use a piece that has been given back, but nothing that is queued
    /// later on another stream.
    /// @throws Error when there is no memory, saying how much was in use
    virtual Buffer allocate(index_t bytes, Memory memory = Memory::device) = 0;
    /// Whether the host reads and writes Memory::device itself, so that nothing needs staging.
    virtual bool is_host_memory() const = 0;
    virtual Stream& compute() = 0;
    virtual Stream& transfer() = 0;
    /// Queues a copy between memories of this device, either of which may be staging.
    /// @throws ShapeError when dtypes or sides differ
    virtual void copy(ConstTensorRef from, TensorRef to, Stream& stream) = 0;
    /// Queues a copy of what the host has made, in memory of its own. Returns when `values` may change.
    /// @throws ShapeError when dtypes or sides differ
    virtual void upload(const HostRef& values, TensorRef to, Stream& stream) = 0;

    /// Reads of the host so far, several values read together being one.
    index_t num_reads(HostRead purpose) const { return num_reads_[static_cast<std::size_t>(purpose)]; }
    void count_read(HostRead purpose) { ++num_reads_[static_cast<std::size_t>(purpose)]; }

  protected:
    /// @throws LogicError naming all operations that have no body in the table
    Device(DeviceKind kind, std::string name, const ops::Bodies& bodies);

  private:
    DeviceKind kind_;
    std::string name_;
    const ops::Bodies& bodies_;
    std::array<index_t, kHostReads.size()> num_reads_{};
};

}  // namespace sy
