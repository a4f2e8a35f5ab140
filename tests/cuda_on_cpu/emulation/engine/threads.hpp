#pragma once

#include <array>
#include <boost/context/fiber.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"
#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"

/// The state of a running grid, which the files of the engine share.
namespace sy::emulation {

struct Thread;

/// A stack with its identity. A thread borrows one from its start to its end.
struct Context {
    boost::context::fiber self;
    const void* bottom = nullptr;
    std::size_t bytes = 0;
    void* fake_stack = nullptr;
    void* identity = nullptr;
    Thread* thread = nullptr;
};

enum class State : std::uint8_t { unstarted, ready, blocked, done };

struct Block;
struct Thread {
    Block* block = nullptr;
    Context* context = nullptr;
    uint3 index{};
    unsigned lane = 0;
    unsigned warp = 0;
    State state = State::unstarted;
    const char* waits_in = nullptr;
    Place waits_at;
};

struct Barrier {
    unsigned num_arrived = 0;
    unsigned num_expected = 0;
    unsigned value = 0;
    unsigned result = 0;
    Place where;
    std::vector<Thread*> waiting;
    char order = 0;  ///< its address orders accesses for the thread sanitizer
};

/// An exchange in flight: lanes `arrived` of `mask` have come, lanes `left` have yet to read.
struct Exchange {
    std::array<std::uint64_t, kWarpSize> values{};
    std::array<Thread*, kWarpSize> waiting{};
    unsigned num_waiting = 0;
    std::uint32_t mask = 0;
    std::uint32_t arrived = 0;
    std::uint32_t left = 0;
    WarpOp op = WarpOp::sync;
    Place where;
    char order = 0;
};

struct Warp {
    std::deque<Exchange> exchanges;  ///< a reference to one stays valid
    std::uint32_t live = 0;
};

struct SharedVariable {
    void* address = nullptr;
    std::size_t bytes = 0;
    char order = 0;
};

struct Block {
    uint3 index{};
    std::size_t num_done = 0;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::array<Barrier, 16> barriers;
    std::unordered_map<const void*, std::unique_ptr<SharedVariable>> variables;
    std::vector<std::unique_ptr<char[]>> memory;
    std::size_t shared_bytes = 0;
    void* identity = nullptr;  ///< allocates and frees what its threads share
    char end_order = 0;
};

/// A shared variable that was written past its end: its size, and which byte was written.
struct SharedOverrun {
    std::size_t bytes = 0;
    std::size_t written = 0;
};

struct Scheduler {
    const Launch* launch = nullptr;
    Context host;                 ///< the stack of whoever runs the grid
    Context* current = nullptr;   ///< whose stack this is
    Context* previous = nullptr;  ///< who switched to it
    std::deque<Thread*> ready;
    std::deque<Thread*> yielding;  ///< ready again when no other thread can run (halted.hpp)
    std::vector<std::uint64_t> block_order;
    std::size_t next_block = 0;
    std::vector<std::unique_ptr<Block>> resident;
    bool has_failed = false;
    KernelFault failure;
    std::optional<SharedOverrun> overrun;  ///< put into words at the end, on the host's stack
    void* identity = nullptr;              ///< the engine's own work runs under it, whoever called
    char start_order = 0;
    char end_order = 0;
};

/// Of the grid that runs; null when none does.
Scheduler*& scheduler();

inline Thread& running_thread() {
    return *scheduler()->current->thread;
}
void wake(Thread& thread);
/// Leaves the running thread until it is woken.
void block_running_thread(const char* what, const Place& where);

/// The engine's containers are touched under one identity.
class EngineScope {
  public:
    EngineScope() { sanitizer::become(scheduler()->identity); }
    EngineScope(const EngineScope&) = delete;
    EngineScope& operator=(const EngineScope&) = delete;
    ~EngineScope() {
        if (scheduler()->current->thread != nullptr) sanitizer::become(scheduler()->current->identity);
    }
};

/// The first one of the block, if there is any.
std::optional<SharedOverrun> find_shared_overrun(const Block& block);

/// What each thread of a block that cannot go on waits for.
std::string describe_deadlock(const Block& block);

}  // namespace sy::emulation
