#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/gemm/gemm.hpp"

namespace sy::ops::detail {

/// Slots in one task: its gathered rows and projections stay in the second-level cache.
inline constexpr index_t kTaskSlots = 144;

/// Consecutive slots of one expert.
struct SlotTask {
    index_t expert;
    Range slots;
};

/// Near-equal pieces of at most kTaskSlots; a function of the offsets alone.
inline std::vector<SlotTask> slot_tasks(const ExpertSlots& slots) {
    std::vector<SlotTask> tasks;
    for (index_t expert = 0; expert < slots.num_experts(); ++expert) {
        const index_t begin = slots.offsets[static_cast<std::size_t>(expert)];
        const index_t count = slots.offsets[static_cast<std::size_t>(expert) + 1] - begin;
        const index_t pieces = ceil_div(count, kTaskSlots);
        for (index_t piece = 0; piece < pieces; ++piece) {
            const Range part = part_of(count, pieces, piece);
            tasks.push_back({expert, {begin + part.begin, begin + part.end}});
        }
    }
    return tasks;
}

/// Rows of the slots: a view when slot s is row s, else gathered into `buffer`.
template <class In>
MatrixView<const In> rows_of_slots(MatrixView<const In> x, const ExpertSlots& slots, Range range,
                                   In* buffer) {
    if (slots.row.empty()) return x.rows_of(range);
    for (index_t slot = range.begin; slot < range.end; ++slot) {
        std::memcpy(buffer + (slot - range.begin) * x.cols, x.row(slots.row[static_cast<std::size_t>(slot)]),
                    static_cast<std::size_t>(x.cols) * sizeof(In));
    }
    return {buffer, range.size(), x.cols};
}

/// Throws ShapeError when operands of a forward or backward do not fit each other.
template <class In>
void check_operands(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots) {
    const TensorView3<const In>& gate = weights.gate;
    const bool good = !slots.offsets.empty() && gate.count == slots.num_experts() && gate.rows == x.cols &&
                      weights.up.count == gate.count && weights.up.rows == gate.rows &&
                      weights.up.cols == gate.cols && weights.down.count == gate.count &&
                      weights.down.rows == gate.cols && weights.down.cols == gate.rows;
    if (!good) {
        throw ShapeError(concat("expert_ffn: x [", x.rows, ", ", x.cols, "], gate [", gate.count, ", ",
                                gate.rows, ", ", gate.cols, "], up [", weights.up.count, ", ",
                                weights.up.rows, ", ", weights.up.cols, "], down [", weights.down.count, ", ",
                                weights.down.rows, ", ", weights.down.cols, "] for ",
                                slots.offsets.empty() ? 0 : slots.num_experts(), " experts"));
    }
    const auto num_slots = static_cast<std::size_t>(slots.num_slots());
    if ((!slots.row.empty() && slots.row.size() != num_slots) ||
        (slots.row.empty() && slots.num_slots() != x.rows) ||
        (!slots.weight.empty() && slots.weight.size() != num_slots)) {
        throw ShapeError(concat("expert_ffn: ", num_slots, " slots with ", slots.row.size(), " rows listed, ",
                                slots.weight.size(), " weights and ", x.rows, " input rows"));
    }
}

/// A matrix of float32 scratch for one thread.
class ThreadScratch {
  public:
    ThreadScratch(const Context& context, index_t bytes_each)
        : stride_(round_up(bytes_each, 4096)),
          memory_(context.arena.allocate(std::max<index_t>(1, stride_ * context.team.size()))) {}
    std::byte* of(int thread_idx) { return memory_.data() + stride_ * thread_idx; }

  private:
    index_t stride_;
    Buffer memory_;
};

}  // namespace sy::ops::detail
