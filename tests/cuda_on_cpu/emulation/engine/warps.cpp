#include "tests/cuda_on_cpu/emulation/engine/threads.hpp"

namespace sy::emulation {
namespace {

bool is_whole(const Exchange& exchange) {
    return exchange.arrived == exchange.mask;
}

/// The exchange in flight of the same lanes, or one that nobody needs any more, or a new one. Lanes of other masks may be
/// in exchanges of their own meanwhile: a mask that is wrong ends in a deadlock, which is reported with its lines.
Exchange& find_exchange(Warp& warp, std::uint32_t mask, WarpOp op, const Place& where) {
    Exchange* found = nullptr;
    for (Exchange& each : warp.exchanges) {
        if (!is_whole(each) && each.mask == mask) {
            if (each.op != op) {
                fault(where, "warp exchange: lanes of the same mask %08x are in another operation at %s:%d",
                      mask, each.where.file, each.where.line);
            }
            return each;
        }
        if (found == nullptr && each.left == 0 && is_whole(each)) found = &each;
    }
    if (found == nullptr) {
        const EngineScope engine;
        found = &warp.exchanges.emplace_back();
    }
    found->mask = mask;
    found->arrived = 0;
    found->op = op;
    found->where = where;
    found->left = mask;
    return *found;
}

/// Brings a value and waits for the other lanes. The values stay until this lane's next exchange.
Exchange& exchange(std::uint32_t mask, WarpOp op, std::uint64_t value, const Place& where) {
    Thread& thread = running_thread();
    Warp& warp = thread.block->warps[thread.warp];
    const std::uint32_t own = 1U << thread.lane;
    if ((mask & own) == 0) fault(where, "warp exchange: the calling lane is not in mask %08x", mask);
    if ((mask & ~warp.live) != 0) {
        fault(where, "warp exchange: mask %08x names lanes that have exited or do not exist (live: %08x)",
              mask, warp.live);
    }
    Exchange& shared = find_exchange(warp, mask, op, where);
    shared.values[thread.lane] = value;
    shared.arrived |= own;
    sanitizer::release(&shared.order);
    {
        const EngineScope engine;
        if (!is_whole(shared)) {
            shared.waiting[shared.num_waiting++] = &thread;
            block_running_thread("warp exchange", where);
        } else {
            for (unsigned i = 0; i < shared.num_waiting; ++i) wake(*shared.waiting[i]);
            shared.num_waiting = 0;
        }
    }
    sanitizer::acquire(&shared.order);
    shared.left &= ~own;
    return shared;
}

/// The lane that a lane reads; its own where the shuffle would leave the segment.
int source_of(const Shuffle& shuffle, int own) {
    const int low = own & ~(shuffle.width - 1);
    const int high = low + shuffle.width;
    switch (shuffle.op) {
        case WarpOp::shuffle:
            return low + (shuffle.by & (shuffle.width - 1));
        case WarpOp::shuffle_up:
            return own - shuffle.by >= low ? own - shuffle.by : own;
        case WarpOp::shuffle_down:
            return own + shuffle.by < high ? own + shuffle.by : own;
        default:
            return (own ^ shuffle.by) < high ? own ^ shuffle.by : own;
    }
}

}  // namespace

std::uint64_t warp_shuffle(const Shuffle& shuffle, std::uint32_t mask, std::uint64_t value,
                           const Place& where) {
    const int width = shuffle.width;
    if (width <= 0 || width > int(kWarpSize) || (width & (width - 1)) != 0) {
        fault(where, "shuffle of width %d, which is no power of two up to 32", width);
    }
    const int source = source_of(shuffle, int(lane()));
    if ((mask >> source & 1) == 0)
        fault(where, "shuffle reads lane %d, which is not in mask %08x", source, mask);
    return exchange(mask, shuffle.op, value, where).values[unsigned(source)];
}

std::uint32_t warp_vote(WarpOp op, std::uint32_t mask, std::uint64_t value, const Place& where) {
    const Exchange& shared = exchange(mask, op, value, where);
    std::uint32_t votes = 0;
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        const bool votes_for = op == WarpOp::match ? shared.values[lane] == value : shared.values[lane] != 0;
        if (votes_for) votes |= 1U << lane;
    }
    return votes;
}

std::array<std::uint64_t, kWarpSize> warp_gather(std::uint32_t mask, std::uint64_t value,
                                                 const Place& where) {
    return exchange(mask, WarpOp::gather, value, where).values;
}

void warp_sync(std::uint32_t mask, const Place& where) {
    exchange(mask, WarpOp::sync, 0, where);
}

}  // namespace sy::emulation
