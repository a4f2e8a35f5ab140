#include "tests/cuda_on_cpu/emulation/engine/threads.hpp"

namespace sy::emulation {
namespace {

void take(Barrier& barrier, const BarrierCall& call, unsigned num_expected, const Place& where) {
    if (barrier.num_arrived == 0) {
        barrier.num_expected = num_expected;
        barrier.where = where;
        barrier.value = call.reduction == Reduction::all ? 1 : 0;
    }
    switch (call.reduction) {
        case Reduction::none:
            break;
        case Reduction::sum:
            barrier.value += call.value;
            break;
        case Reduction::any:
            barrier.value |= call.value;
            break;
        case Reduction::all:
            barrier.value &= call.value;
            break;
    }
}

}  // namespace

unsigned barrier(const BarrierCall& call, const Place& where) {
    Block& block = *running_thread().block;
    if (call.id >= block.barriers.size()) fault(where, "barrier %u; a block has 16", call.id);
    if (call.num_threads % kWarpSize != 0) {
        fault(where, "a barrier of %u threads, which is no multiple of the warp size", call.num_threads);
    }
    Barrier& barrier = block.barriers[call.id];
    if (call.sites == Sites::one && barrier.num_arrived > 0 && !(barrier.where == where)) {
        fault(where, "divergent barrier: other threads of the block wait at %s:%d", barrier.where.file,
              barrier.where.line);
    }
    sanitizer::release(&barrier.order);
    {
        const EngineScope engine;
        take(barrier, call, call.num_threads > 0 ? call.num_threads : unsigned(block.threads.size()), where);
        if (++barrier.num_arrived < barrier.num_expected) {
            barrier.waiting.push_back(&running_thread());
            block_running_thread("barrier", where);
        } else {
            barrier.num_arrived = 0;
            barrier.result = barrier.value;
            for (Thread* thread : barrier.waiting) wake(*thread);
            barrier.waiting.clear();
        }
    }
    sanitizer::acquire(&barrier.order);
    return barrier.result;
}

}  // namespace sy::emulation
