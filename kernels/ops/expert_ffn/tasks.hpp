#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/core/offsets.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"

namespace sy::ops::detail {

/// Slots in one task: as many rows as share a packed panel of a weight.
inline constexpr index_t kTaskSlots = 480;

struct TaskAxis;

/// Consecutive slots of one expert.
struct SlotTask {
    index_t expert;
    Range slots;
};

/// Near-equal pieces of at most kTaskSlots; a function of the offsets alone.
inline Indexed<TaskAxis, SlotTask> slot_tasks(const ExpertSlots& slots) {
    Indexed<TaskAxis, SlotTask> tasks;
    for (index_t expert = 0; expert < slots.num_experts(); ++expert) {
        const Range all = group_of(slots.offsets, expert);
        const index_t pieces = ceil_div(all.size(), kTaskSlots);
        for (index_t piece = 0; piece < pieces; ++piece) {
            const Range some = row_part_of(all.size(), pieces, piece);
            tasks.push_back({expert, {all.begin + some.begin, all.begin + some.end}});
        }
    }
    return tasks;
}

/// Copies the input rows of `slots` in `range` to consecutive rows of `to`.
template <class In>
void gather(MatrixView<const In> x, const ExpertSlots& slots, Range range, MatrixView<In> to) {
    const PerSlotSpan<const std::int32_t> rows = part(slots.row, range);
    for (index_t slot = 0; slot < rows.size(); ++slot)
        std::ranges::copy(x.row_span(rows[slot]), to.row(slot));
}

/// Throws ShapeError when there are biases where none can be, or not all of them.
template <class In>
void check_biases(const ExpertWeights<In>& weights, const ExpertSlots& slots) {
    const ExpertBiases& biases = weights.biases;
    if (biases.gate.empty() && biases.up.empty() && biases.down.empty()) return;
    const auto has = [](std::span<const float> bias, index_t size) {
        return static_cast<index_t>(bias.size()) == size;
    };
    const index_t width = weights.up.cols;
    const bool dense = slots.row.empty() && slots.weight.empty() && slots.num_experts() == 1;
    if (!dense || !has(biases.gate, is_gated(weights.activation) ? width : 0) || !has(biases.up, width) ||
        !has(biases.down, weights.down.cols)) {
        throw ShapeError(concat("expert_ffn: biases of ", biases.gate.size(), ", ", biases.up.size(), " and ",
                                biases.down.size(), " for ", activation_name(weights.activation),
                                " of width ", width, " in ", slots.num_experts(),
                                " experts; only a dense feed-forward can have them, and then all of them"));
    }
}

/// Throws ShapeError when operands of a forward or backward do not fit each other.
template <class In>
void check_operands(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots) {
    const TensorView3<const In>& gate = weights.gate;
    const TensorView3<const In>& up = weights.up;
    const bool gate_fits = is_gated(weights.activation)
                               ? gate.count == up.count && gate.rows == up.rows && gate.cols == up.cols
                               : gate.data == nullptr;
    const bool good = !slots.offsets.empty() && gate_fits && up.count == slots.num_experts() &&
                      up.rows == x.cols && weights.down.count == up.count && weights.down.rows == up.cols &&
                      weights.down.cols == up.rows;
    if (!good) {
        throw ShapeError(concat("expert_ffn: x [", x.rows, ", ", x.cols, "], gate [", gate.count, ", ",
                                gate.rows, ", ", gate.cols, "], up [", up.count, ", ", up.rows, ", ", up.cols,
                                "], down [", weights.down.count, ", ", weights.down.rows, ", ",
                                weights.down.cols, "] for ", slots.offsets.empty() ? 0 : slots.num_experts(),
                                " experts with ", activation_name(weights.activation)));
    }
    check_biases(weights, slots);
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

inline bool is_one_gradient(const GradientView& gradient, index_t rows, index_t cols) {
    return gradient.rows == rows && gradient.cols == cols &&
           (gradient.f32 == nullptr) != (gradient.fixed == nullptr);
}

/// Throws ShapeError when there is not one gradient of the right sides for each expert and weight, and for each bias.
template <class In>
void check_gradients(const ExpertGradients& gradients, const ExpertWeights<In>& weights) {
    const index_t hidden = weights.up.rows;
    const index_t width = weights.up.cols;
    const auto fit = [&](std::span<const GradientView> list, index_t rows, index_t cols) {
        return static_cast<index_t>(list.size()) == weights.up.count &&
               std::all_of(list.begin(), list.end(), [&](const GradientView& gradient) {
                   return is_one_gradient(gradient, rows, cols);
               });
    };
    const bool gate_fits =
        is_gated(weights.activation) ? fit(gradients.gate, hidden, width) : gradients.gate.empty();
    if (!gate_fits || !fit(gradients.up, hidden, width) || !fit(gradients.down, width, hidden)) {
        throw ShapeError(concat("expert_ffn_backward: ", weights.up.count, " experts of ", hidden, " by ",
                                width, " with ", activation_name(weights.activation),
                                " need as many gradients of these sides, each in one representation; got ",
                                gradients.gate.size(), ", ", gradients.up.size(), " and ",
                                gradients.down.size()));
    }
    const auto bias_fits = [](std::span<const float> bias, const GradientView& gradient) {
        const auto size = static_cast<index_t>(bias.size());
        return size == 0 ? gradient.rows * gradient.cols == 0
                         : is_one_gradient(gradient, gradient.rows, gradient.cols) &&
                               gradient.rows * gradient.cols == size;
    };
    if (!bias_fits(weights.biases.gate, gradients.biases.gate) ||
        !bias_fits(weights.biases.up, gradients.biases.up) ||
        !bias_fits(weights.biases.down, gradients.biases.down)) {
        throw ShapeError(concat("expert_ffn_backward: biases of ", weights.biases.gate.size(), ", ",
                                weights.biases.up.size(), " and ", weights.biases.down.size(),
                                " need one gradient each of the same size, in one representation"));
    }
}

/// Throws ShapeError when fixed-point gradients are wanted and the blocks do not divide the slots of every expert.
inline void check_blocks(const ExpertSlots& slots, const ExpertGradients& gradients) {
    if (gradients.up.empty() || gradients.up[0].fixed == nullptr || slots.num_slots() == 0) return;
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
