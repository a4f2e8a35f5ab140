#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/gemm/gemm.hpp"

namespace sy::ops::detail {

/// Slots in one task: its gathered rows and projections stay in the second-level cache.
inline constexpr index_t kTaskSlots = 192;

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

/// Copies the input rows of `slots` in `range` to consecutive rows of `to`.
template <class In>
void gather(MatrixView<const In> x, const ExpertSlots& slots, Range range, MatrixView<In> to) {
    for (index_t slot = range.begin; slot < range.end; ++slot) {
        std::memcpy(to.row(slot - range.begin), x.row(slots.row[static_cast<std::size_t>(slot)]),
                    static_cast<std::size_t>(x.cols) * sizeof(In));
    }
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
    if (slots.offsets.front() != 0 || !std::is_sorted(slots.offsets.begin(), slots.offsets.end()))
        throw ShapeError("expert_ffn: the offsets of the experts must ascend from 0");
    for (const std::int32_t row : slots.row) {
        if (row < 0 || row >= x.rows)
            throw ShapeError(concat("expert_ffn: a slot of row ", row, ", there are ", x.rows));
    }
}

/// Throws ShapeError when there is not one gradient of the right sides for each expert and weight.
inline void check_gradients(const ExpertGradients& gradients, index_t num_experts, index_t hidden,
                            index_t width) {
    const auto fit = [&](std::span<const GradientView> list, index_t rows, index_t cols) {
        if (static_cast<index_t>(list.size()) != num_experts) return false;
        return std::all_of(list.begin(), list.end(), [&](const GradientView& gradient) {
            return gradient.rows == rows && gradient.cols == cols &&
                   (gradient.f32 == nullptr) != (gradient.fixed == nullptr);
        });
    };
    if (!fit(gradients.gate, hidden, width) || !fit(gradients.up, hidden, width) ||
        !fit(gradients.down, width, hidden)) {
        throw ShapeError(concat("expert_ffn_backward: ", num_experts, " experts of ", hidden, " by ", width,
                                " need as many gradients of these sides, each in one representation; got ",
                                gradients.gate.size(), ", ", gradients.up.size(), " and ",
                                gradients.down.size()));
    }
}

/// Throws ShapeError when fixed-point gradients are wanted and the blocks do not divide the slots of every expert.
inline void check_blocks(const ExpertSlots& slots, const ExpertGradients& gradients) {
    if (gradients.gate.empty() || gradients.gate[0].fixed == nullptr || slots.num_slots() == 0) return;
    const std::span<const index_t> blocks = slots.blocks;
    const auto is_boundary = [&](index_t offset) {
        return std::binary_search(blocks.begin(), blocks.end(), offset);
    };
    if (!std::is_sorted(blocks.begin(), blocks.end()) ||
        !std::all_of(slots.offsets.begin(), slots.offsets.end(), is_boundary)) {
        throw ShapeError(concat("expert_ffn_backward: ", blocks.size(), " block boundaries for ",
                                slots.num_slots(), " slots must ascend and include every offset"));
    }
}

/// A piece of scratch memory for each thread, allocated before the threads start.
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
