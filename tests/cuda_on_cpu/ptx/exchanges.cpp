#include <algorithm>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"
#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"

// Barriers, shuffles, votes and reductions of a warp: the engine's.
namespace sy::emulation::ptx {
namespace {

/// Whether the lane that a shuffle reads is in its segment.
bool is_in_range(WarpOp op, int by, int width) {
    const int own = int(lane());
    const int low = own & ~(width - 1);
    switch (op) {
        case WarpOp::shuffle_up:
            return own - by >= low;
        case WarpOp::shuffle_down:
            return own + by < low + width;
        case WarpOp::shuffle_xor:
            return (own ^ by) < low + width;
        default:
            return true;
    }
}

template <WarpOp op>
void shuffle(Frame& frame, const Instruction& i) {
    const std::size_t first = i.has_two_results ? 2 : 1;
    const auto by = frame.get<std::int32_t>(i[first + 1]) & 31;
    const int width = 32 - int(frame.get<std::uint32_t>(i[first + 2]) >> 8 & 31U);
    const auto mask = frame.get<std::uint32_t>(i[first + 3]);
    const std::uint64_t value =
        warp_shuffle({op, by, width}, mask, frame.get<std::uint32_t>(i[first]), i.where);
    frame.set(i[0], std::uint32_t(value));
    if (i.has_two_results) frame.set(i[1], std::uint32_t(is_in_range(op, by, width) ? 1 : 0));
}

std::uint32_t ballot(Frame& frame, const Instruction& i) {
    return warp_vote(WarpOp::ballot, frame.get<std::uint32_t>(i[2]), frame.is_true(i[1]) ? 1 : 0, i.where);
}
void vote_ballot(Frame& frame, const Instruction& i) {
    frame.set(i[0], ballot(frame, i));
}
void vote_any(Frame& frame, const Instruction& i) {
    frame.set(i[0], std::uint32_t(ballot(frame, i) != 0 ? 1 : 0));
}
void vote_all(Frame& frame, const Instruction& i) {
    frame.set(i[0], std::uint32_t(ballot(frame, i) == frame.get<std::uint32_t>(i[2]) ? 1 : 0));
}

template <typename T>
void match_any(Frame& frame, const Instruction& i) {
    frame.set(i[0],
              warp_vote(WarpOp::match, frame.get<std::uint32_t>(i[2]), to_bits(frame.get<T>(i[1])), i.where));
}

template <typename T, typename F>
void reduce(Frame& frame, const Instruction& i) {
    const auto mask = frame.get<std::uint32_t>(i[2]);
    const auto values = warp_gather(mask, to_bits(frame.get<T>(i[1])), i.where);
    auto each = unsigned(std::countr_zero(mask));
    T result = from_bits<T>(values[each]);
    for (++each; each < kWarpSize; ++each) {
        if ((mask >> each & 1U) != 0) result = T(F()(result, from_bits<T>(values[each])));
    }
    frame.set(i[0], result);
}
using Add = decltype([](auto a, auto b) { return std::uint32_t(a) + std::uint32_t(b); });
using Smaller = decltype([](auto a, auto b) { return std::min(a, b); });
using Larger = decltype([](auto a, auto b) { return std::max(a, b); });
using And = decltype([](auto a, auto b) { return a & b; });
using Or = decltype([](auto a, auto b) { return a | b; });
using Exclusive = decltype([](auto a, auto b) { return a ^ b; });

template <typename T>
Run find_reduction(Opcode& opcode) {
    if (opcode.take("add")) return reduce<T, Add>;
    if (opcode.take("min")) return reduce<T, Smaller>;
    if (opcode.take("max")) return reduce<T, Larger>;
    if (opcode.take("and")) return reduce<T, And>;
    if (opcode.take("or")) return reduce<T, Or>;
    return opcode.take("xor") ? reduce<T, Exclusive> : nullptr;
}

void wait_for_block(Frame& frame, const Instruction& i) {
    barrier({.id = frame.get<std::uint32_t>(i[0]),
             .num_threads = i.num_operands > 1 ? frame.get<std::uint32_t>(i[1]) : 0},
            i.where);
}
/// d, barrier, perhaps the number of threads, predicate
template <Reduction reduction>
void reduce_in_block(Frame& frame, const Instruction& i) {
    const unsigned result = barrier({.id = frame.get<std::uint32_t>(i[1]),
                                     .num_threads = i.num_operands > 3 ? frame.get<std::uint32_t>(i[2]) : 0,
                                     .reduction = reduction,
                                     .value = frame.is_true(i[i.num_operands - 1U]) ? 1U : 0U},
                                    i.where);
    frame.set(i[0], result);
}
void wait_for_warp(Frame& frame, const Instruction& i) {
    warp_sync(frame.get<std::uint32_t>(i[0]), i.where);
}
void active_mask(Frame& frame, const Instruction& i) {
    frame.set(i[0], live_mask());
}

Run find_barrier(Opcode& opcode) {
    if (opcode.take("warp")) return opcode.take("sync") ? wait_for_warp : nullptr;
    opcode.take("cta");
    opcode.take("aligned");
    if (opcode.take("sync")) return wait_for_block;
    if (!opcode.take("red")) return nullptr;
    if (opcode.take("popc")) return reduce_in_block<Reduction::sum>;
    if (opcode.take("or")) return reduce_in_block<Reduction::any>;
    return opcode.take("and") ? reduce_in_block<Reduction::all> : nullptr;
}

Run find_shuffle(Opcode& opcode) {
    if (!opcode.take("sync") || opcode.type().bits != 32) return nullptr;
    if (opcode.take("up")) return shuffle<WarpOp::shuffle_up>;
    if (opcode.take("down")) return shuffle<WarpOp::shuffle_down>;
    if (opcode.take("bfly")) return shuffle<WarpOp::shuffle_xor>;
    return opcode.take("idx") ? shuffle<WarpOp::shuffle> : nullptr;
}

}  // namespace

Run find_exchange(Opcode& opcode, Instruction&) {
    const Type type = opcode.type();
    if (opcode.name == "bar" || opcode.name == "barrier") return find_barrier(opcode);
    if (opcode.name == "shfl") return find_shuffle(opcode);
    if (opcode.name == "activemask") return type.bits == 32 ? active_mask : nullptr;
    if (!opcode.take("sync")) return nullptr;
    if (opcode.name == "vote") {
        if (opcode.take("ballot")) return vote_ballot;
        if (opcode.take("any")) return vote_any;
        return opcode.take("all") ? vote_all : nullptr;
    }
    if (opcode.name == "match" && opcode.take("any")) {
        return type.bits == 32   ? match_any<std::uint32_t>
               : type.bits == 64 ? match_any<std::uint64_t>
                                 : nullptr;
    }
    if (opcode.name == "redux" && type.bits == 32) {
        return type.kind == Type::Kind::signed_integer ? find_reduction<std::int32_t>(opcode)
                                                       : find_reduction<std::uint32_t>(opcode);
    }
    return nullptr;
}

}  // namespace sy::emulation::ptx
