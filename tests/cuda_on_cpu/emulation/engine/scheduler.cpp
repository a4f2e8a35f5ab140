#include <algorithm>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <utility>

#include "tests/cuda_on_cpu/emulation/engine/halted.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/engine/threads.hpp"

constinit uint3 threadIdx{};
constinit uint3 blockIdx{};
constinit dim3 blockDim{};
constinit dim3 gridDim{};

namespace sy::emulation {
namespace {

namespace boost_context = boost::context;

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr std::size_t kMaxBlockIdentities = 64;

/// Contexts are never destroyed: one may stand in the middle of a kernel that has failed.
struct Contexts {
    std::deque<Context*> idle;
    std::deque<Context*> all;  ///< reachable, so that no leak is reported
};

Contexts& contexts() {
    static auto& all = *new Contexts;  // for as long as the process, as fibers never end
    return all;
}

/// Under the thread sanitizer contexts are used in turn, so that blocks that follow one another have different identities
/// and a race between them is seen.
std::size_t fewest_contexts() {
    return sanitizer::tells_threads_apart() ? options().num_identities : 0;
}

void* next_block_identity() {
    static std::deque<void*> identities;
    if (!sanitizer::tells_threads_apart()) return nullptr;
    if (identities.size() < kMaxBlockIdentities) {
        identities.push_back(sanitizer::new_identity("CUDA block"));
    } else {
        identities.push_back(identities.front());
        identities.pop_front();
    }
    return identities.back();
}

void set_built_in_variables(const Thread& thread) {
    threadIdx = thread.index;
    blockIdx = thread.block->index;
}

void switch_to(Context& to) {
    Scheduler& s = *scheduler();
    Context& own = *s.current;
    s.previous = &own;
    s.current = &to;
    if (to.thread != nullptr) set_built_in_variables(*to.thread);
    sanitizer::start_switch(&own.fake_stack, to.bottom, to.bytes);
    boost_context::fiber back = std::move(to.self).resume();
    Context& previous = *scheduler()->previous;
    sanitizer::finish_switch(own.fake_stack, &previous.bottom, &previous.bytes);
    previous.self = std::move(back);
}

/// The next thread that can run, or null. After a failure none can.
Thread* pick() {
    auto& ready = scheduler()->ready;
    if (scheduler()->has_failed || ready.empty()) return nullptr;
    if (options().order == Order::random) std::swap(ready.front(), ready[draw(ready.size())]);
    Thread* thread = ready.front();
    ready.pop_front();
    return thread;
}

void run_thread(Context& context);

Context* new_context() {
    auto* context = new Context;
    contexts().all.push_back(context);
    context->identity = sanitizer::new_identity("CUDA thread");
    boost_context::protected_fixedsize_stack stacks(kStackBytes);
    const boost_context::stack_context stack = stacks.allocate();
    context->bytes = stack.size;
    context->bottom = static_cast<char*>(stack.sp) - stack.size;
    context->self =
        boost_context::fiber(std::allocator_arg, boost_context::preallocated(stack.sp, stack.size, stack),
                             stacks, [context](boost_context::fiber&& back) {
                                 Context& previous = *scheduler()->previous;
                                 sanitizer::finish_switch(nullptr, &previous.bottom, &previous.bytes);
                                 previous.self = std::move(back);
                                 for (;;) run_thread(*context);
                                 return boost_context::fiber();
                             });
    return context;
}

void give_context(Thread& thread) {
    auto& idle = contexts().idle;
    if (!idle.empty() && contexts().all.size() >= fewest_contexts()) {
        thread.context = idle.front();
        idle.pop_front();
    } else {
        thread.context = new_context();
    }
    thread.context->thread = &thread;
    thread.state = State::ready;
}

/// Leaves the current stack for another thread's, or for the host's.
void run_next() {
    Thread* thread = pick();
    if (thread == nullptr) {
        switch_to(scheduler()->host);
        return;
    }
    if (thread->state == State::unstarted) give_context(*thread);
    if (thread->context != scheduler()->current) switch_to(*thread->context);
}

void start_block(std::unique_ptr<Block>& slot) {
    Scheduler& s = *scheduler();
    const dim3& grid = s.launch->grid;
    const dim3& shape = s.launch->block;
    const std::uint64_t number = s.block_order[s.next_block++];
    slot = std::make_unique<Block>();
    slot->index = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y),
                   unsigned(number / grid.x / grid.y)};
    slot->threads.resize(std::size_t(shape.x) * shape.y * shape.z);
    slot->warps.resize((slot->threads.size() + kWarpSize - 1) / kWarpSize);
    slot->identity = next_block_identity();
    for (unsigned i = 0; i < slot->threads.size(); ++i) {
        Thread& thread = slot->threads[i];
        thread.block = slot.get();
        thread.index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
        thread.lane = i % kWarpSize;
        thread.warp = i / kWarpSize;
        slot->warps[thread.warp].live |= 1U << thread.lane;
        if (options().order == Order::reverse) {
            s.ready.push_front(&thread);
        } else {
            s.ready.push_back(&thread);
        }
    }
}

void finish_thread(Thread& thread) {
    Scheduler& s = *scheduler();
    Block& block = *thread.block;
    thread.state = State::done;
    block.warps[thread.warp].live &= ~(1U << thread.lane);
    if (++block.num_done < block.threads.size()) return;
    const std::optional<SharedOverrun> overrun = find_shared_overrun(block);
    sanitizer::become(block.identity);
    sanitizer::acquire(&block.end_order);
    block.memory.clear();
    sanitizer::become(s.identity);
    if (overrun && !s.has_failed) {
        s.overrun = overrun;
        s.has_failed = true;
    }
    const auto slot =
        std::ranges::find_if(s.resident, [&](const auto& each) { return each.get() == &block; });
    slot->reset();
    if (s.next_block < s.block_order.size()) start_block(*slot);
}

/// One thread from its start to its end, on a context that is then idle or goes on with another thread.
void run_thread(Context& context) {
    Thread* thread = context.thread;
    sanitizer::become(context.identity);
    sanitizer::acquire(&scheduler()->start_order);
    try {
        scheduler()->launch->body();
    } catch (const KernelFault& caught) {
        if (!scheduler()->has_failed) scheduler()->failure = caught;
        scheduler()->has_failed = true;
    }
    sanitizer::release(&thread->block->end_order);
    sanitizer::release(&scheduler()->end_order);
    sanitizer::become(scheduler()->identity);
    finish_thread(*thread);
    context.thread = nullptr;
    thread = pick();
    if (thread != nullptr && thread->state == State::unstarted && !sanitizer::tells_threads_apart()) {
        thread->context = &context;  // starts right here, without a switch
        thread->state = State::ready;
        context.thread = thread;
        set_built_in_variables(*thread);
        return;
    }
    contexts().idle.push_back(&context);
    if (thread != nullptr && thread->state == State::unstarted) give_context(*thread);
    if (thread != nullptr && thread->context == &context) {
        set_built_in_variables(*thread);
        return;
    }
    switch_to(thread != nullptr ? *thread->context : scheduler()->host);
}

std::vector<std::uint64_t> order_of_blocks(std::uint64_t num_blocks) {
    std::vector<std::uint64_t> order(num_blocks);
    for (std::uint64_t i = 0; i < num_blocks; ++i) order[i] = i;
    if (options().order == Order::reverse) std::ranges::reverse(order);
    if (options().order == Order::random) {
        for (std::uint64_t i = num_blocks; i > 1; --i) std::swap(order[i - 1], order[draw(i)]);
    }
    return order;
}

void start_blocks(Scheduler& s) {
    const Launch& launch = *s.launch;
    sanitizer::release(&s.start_order);
    const std::uint64_t num_blocks = std::uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
    s.block_order = order_of_blocks(num_blocks);
    s.resident.resize(launch.is_cooperative ? num_blocks
                                            : std::min<std::uint64_t>(num_blocks, options().num_resident));
    for (auto& slot : s.resident) start_block(slot);
}

/// As long as a thread can run. @throws GridHalted, KernelFault
void run_ready(const std::shared_ptr<Scheduler>& grid) {
    Scheduler& s = *grid;
    scheduler() = &s;
    blockDim = s.launch->block;
    gridDim = s.launch->grid;
    if (s.resident.empty()) start_blocks(s);
    run_next();  // comes back when no thread can run
    const bool has_halted = !s.has_failed && !s.yielding.empty();
    for (const auto& block : s.resident) {
        if (block == nullptr || s.has_failed || has_halted) continue;
        s.has_failed = true;
        s.failure.text = describe_deadlock(*block);
    }
    if (s.overrun) {
        s.failure.text = "a shared variable was written past its end: byte " +
                         std::to_string(s.overrun->written) + " of " + std::to_string(s.overrun->bytes);
    }
    sanitizer::acquire(&s.end_order);
    scheduler() = nullptr;
    if (s.has_failed) throw s.failure;
    if (has_halted) throw GridHalted{grid};
}

}  // namespace

Scheduler*& scheduler() {
    static Scheduler* running = nullptr;
    return running;
}

void fault(const Place& where, const char* format, ...) {
    std::array<char, 512> text{};
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text.data(), text.size(), format, arguments);
    va_end(arguments);
    const auto number = [](unsigned value) { return std::to_string(value); };
    throw KernelFault{"block (" + number(blockIdx.x) + "," + number(blockIdx.y) + "," + number(blockIdx.z) +
                      ") thread (" + number(threadIdx.x) + "," + number(threadIdx.y) + "," +
                      number(threadIdx.z) + ") " + where.file + ":" + std::to_string(where.line) + ": " +
                      text.data()};
}

void wake(Thread& thread) {
    thread.state = State::ready;
    thread.waits_in = nullptr;
    scheduler()->ready.push_back(&thread);
}

void block_running_thread(const char* what, const Place& where) {
    Thread& thread = running_thread();
    thread.state = State::blocked;
    thread.waits_in = what;
    thread.waits_at = where;
    run_next();
}

void yield() {
    const EngineScope engine;
    scheduler()->yielding.push_back(&running_thread());
    run_next();
}

void maybe_yield() {
    if (options().order != Order::random || draw(4) != 0) return;
    const EngineScope engine;
    scheduler()->ready.push_back(&running_thread());
    run_next();
}

unsigned lane() {
    return running_thread().lane;
}

unsigned live_mask() {
    return running_thread().block->warps[running_thread().warp].live;
}

std::string describe_deadlock(const Block& block) {
    std::map<std::string, int> num_threads_at;
    for (const Thread& thread : block.threads) {
        const char* what = thread.waits_in != nullptr ? thread.waits_in : "ready";
        const std::string at = thread.state == State::done
                                   ? "exited"
                                   : std::string(what) + " at " + thread.waits_at.file + ":" +
                                         std::to_string(thread.waits_at.line);
        ++num_threads_at[at];
    }
    std::string text = "deadlock in block (" + std::to_string(block.index.x) + "," +
                       std::to_string(block.index.y) + "," + std::to_string(block.index.z) + "):";
    for (const auto& [at, num_threads] : num_threads_at) {
        text += " [" + std::to_string(num_threads) + " threads: " + at + "]";
    }
    return text;
}

void run_grid(const Launch& launch) {
    const auto grid = std::make_shared<Scheduler>();
    grid->launch = &launch;
    grid->identity = sanitizer::current_identity();
    grid->current = &grid->host;
    run_ready(grid);
}

void go_on(const std::shared_ptr<Scheduler>& grid) {
    grid->ready.swap(grid->yielding);
    run_ready(grid);
}

}  // namespace sy::emulation
