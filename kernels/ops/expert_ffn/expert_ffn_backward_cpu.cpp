// Two passes. First, over (expert x slots): dh' = dy Wdown^T, the backward of the activation in cache, dx. It leaves
// h, dgate, dup and the gathered rows in memory. Second, over (expert x tile of a weight): the three gradients. What
// belongs to the gate is absent where there is none; the biases' gradients are column sums of the first pass's values.
#include "kernels/core/profile.hpp"
#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/bias/bias.hpp"
#include "kernels/ops/expert_ffn/check.hpp"
#include "kernels/ops/expert_ffn/tasks.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// Values by slot that the first pass leaves for the second. x and dy are the caller's where slot s is row s.
template <class In>
struct Intermediate {
    MatrixView<In> h;            ///< [S, F] weighted activation
    MatrixView<In> dup;          ///< [S, F]
    MatrixView<In> dgate;        ///< [S, F]; null data when not gated
    MatrixView<In> gathered_x;   ///< [S, H] unless dense
    MatrixView<In> gathered_dy;  ///< [S, H] unweighted, unless dense
    MatrixView<const In> x;      ///< [S, H]
    MatrixView<const In> dy;     ///< [S, H]
};

/// Everything a task needs to know.
template <class In>
struct Call {
    MatrixView<const In> x;
    const HostExpertWeights<In>& weights;
    const ExpertSlots& slots;
    const HostExpertSaved<const In>& saved;
    const HostExpertBackward<In>& backward;
    const Context& context;
};

/// @param dh_memory  kTaskSlots rows of F floats
template <class In>
void data_task(const Call<In>& call, const Intermediate<In>& between, const detail::SlotTask& task,
               float* dh_memory) {
    const ExpertSlots& slots = call.slots;
    const index_t count = task.slots.size();
    if (!slots.row.empty()) {
        detail::gather(call.x, slots, task.slots, between.gathered_x.rows_of(task.slots));
        detail::gather(call.backward.dy, slots, task.slots, between.gathered_dy.rows_of(task.slots));
    }
    const MatrixView<float> dh(dh_memory, count, call.weights.up.cols);
    const auto multiply = [&](MatrixView<const In> a, const TensorView3<const In>& weight,
                              MatrixView<float> c, Write write) {
        multiply_on_this_thread<In>({a, Transpose::no, weight[task.expert], Transpose::yes, c, write},
                                    call.context);
    };
    multiply(between.dy.rows_of(task.slots), call.weights.down, dh, Write::overwrite);
    const auto of_task = [&](auto values) { return values.empty() ? values : part(values, task.slots); };
    const ActivateBackward<In> activation{.kind = call.weights.activation,
                                          .gate = call.saved.gate.rows_of(task.slots),
                                          .up = call.saved.up.rows_of(task.slots),
                                          .dh = dh,
                                          .weight = of_task(host_values<const float>(slots.weight)),
                                          .h = between.h.rows_of(task.slots),
                                          .dgate = between.dgate.rows_of(task.slots),
                                          .dup = between.dup.rows_of(task.slots),
                                          .dot = of_task(call.backward.dweight)};
    activate_backward(activation);
    const MatrixView<float> dx = call.backward.dx.rows_of(task.slots);
    const bool gated = is_gated(call.weights.activation);
    if (gated) multiply(activation.dgate, call.weights.gate, dx, Write::overwrite);
    multiply(activation.dup, call.weights.up, dx, gated ? Write::add : Write::overwrite);
}

/// gradient += left^T right over the slots of one expert, for a tile of it.
template <class In>
struct TileTask {
    MatrixView<const In> left;
    MatrixView<const In> right;
    GradientView gradient;
    Range slots;
    Range rows;
    Range cols;
};

/// Largest side of a tile.
constexpr index_t kTileSide = 384;

template <class In>
void append_tiles(const TileTask<In>& whole, Indexed<detail::TaskAxis, TileTask<In>>& tasks) {
    const GradientView& gradient = whole.gradient;
    const index_t row_parts = ceil_div(gradient.rows, kTileSide);
    const index_t col_parts = ceil_div(gradient.cols, kTileSide);
    for (index_t r = 0; r < row_parts; ++r) {
        for (index_t c = 0; c < col_parts; ++c) {
            tasks.push_back(whole);
            tasks.back().rows = part_of(gradient.rows, row_parts, r);
            tasks.back().cols = part_of(gradient.cols, col_parts, c);
        }
    }
}

template <class In>
Indexed<detail::TaskAxis, TileTask<In>> tile_tasks(const ExpertSlots& slots, const Intermediate<In>& between,
                                                   const ExpertGradients& gradients) {
    Indexed<detail::TaskAxis, TileTask<In>> tasks;
    const PerExpertSpan<const GradientRef> gate = gradients.gate;
    const PerExpertSpan<const GradientRef> up = gradients.up;
    const PerExpertSpan<const GradientRef> down = gradients.down;
    for (index_t expert = 0; expert < slots.num_experts(); ++expert) {
        const Range range = group_of(slots.offsets, expert);
        if (range.size() == 0) continue;
        if (!gate.empty())
            append_tiles<In>({between.x, between.dgate, host_gradient(gate[expert]), range, {}, {}}, tasks);
        append_tiles<In>({between.x, between.dup, host_gradient(up[expert]), range, {}, {}}, tasks);
        append_tiles<In>({between.h, between.dy, host_gradient(down[expert]), range, {}, {}}, tasks);
    }
    return tasks;
}

/// @param tile  kTileSide squared floats
template <class In>
void gradient_task(const TileTask<In>& task, std::span<const index_t> blocks, float* tile,
                   const Context& context) {
    const GradientView& gradient = task.gradient;
    if (gradient.fixed == nullptr) {
        const MatrixView<float> all(gradient.f32, gradient.rows, gradient.cols);
        multiply_on_this_thread<In>({task.left.rows_of(task.slots).cols_of(task.rows), Transpose::yes,
                                     task.right.rows_of(task.slots).cols_of(task.cols), Transpose::no,
                                     all.rows_of(task.rows).cols_of(task.cols), Write::add},
                                    context);
        return;
    }
    const auto first = std::lower_bound(blocks.begin(), blocks.end(), task.slots.begin);
    const auto last = std::lower_bound(first, blocks.end(), task.slots.end);
    add_to_gradient_on_this_thread<In>({task.left.cols_of(task.rows),
                                        task.right.cols_of(task.cols),
                                        {first, last + 1},
                                        gradient,
                                        task.rows.begin,
                                        task.cols.begin,
                                        {tile, task.rows.size(), task.cols.size()}},
                                       context);
}

template <class In>
void bias_gradients(const Call<In>& call, const Intermediate<In>& between) {
    const ExpertBiasGradients& gradients = call.backward.gradients.biases;
    if (call.weights.biases.up.empty()) return;
    const index_t all[] = {0, call.slots.num_slots()};
    const std::span<const index_t> blocks =
        call.slots.blocks.empty() ? std::span<const index_t>(all) : call.slots.blocks;
    if (is_gated(call.weights.activation)) bias_backward(between.dgate, blocks, gradients.gate, call.context);
    bias_backward(between.dup, blocks, gradients.up, call.context);
    bias_backward(between.dy, blocks, gradients.down, call.context);
}

template <class In>
void compute_gradients(const Call<In>& call) {
    const auto& [x, weights, slots, saved, backward, context] = call;
    const index_t num_slots = slots.num_slots();
    const auto dx_is_ready = [&] {
        if (backward.dx_ready) backward.dx_ready();
    };
    if (num_slots == 0) {
        dx_is_ready();
        return;
    }
    const index_t hidden = x.cols;
    const index_t width = weights.up.cols;
    const bool gated = is_gated(weights.activation);
    Tensor activations(context.device, dtype_of<In>::value, {gated ? 3 : 2, num_slots, width});
    In* const data = activations.values<In>().data();
    const bool dense = slots.row.empty();
    Tensor rows(context.device, dtype_of<In>::value, {dense ? 0 : 2, num_slots, hidden});
    In* const row_data = rows.values<In>().data();
    Intermediate<In> between{.h = {data, num_slots, width},
                             .dup = {data + num_slots * width, num_slots, width},
                             .dgate = {},
                             .gathered_x = {},
                             .gathered_dy = {},
                             .x = x,
                             .dy = backward.dy};
    if (gated) between.dgate = {data + 2 * num_slots * width, num_slots, width};
    if (!dense) {
        between.gathered_x = {row_data, num_slots, hidden};
        between.gathered_dy = {row_data + num_slots * hidden, num_slots, hidden};
        between.x = between.gathered_x;
        between.dy = between.gathered_dy;
    }
    const Indexed<detail::TaskAxis, detail::SlotTask> tasks = detail::slot_tasks(slots);
    const index_t scratch_floats = std::max(detail::kTaskSlots * width, kTileSide * kTileSide);
    detail::ThreadScratch scratch(context, scratch_floats * index_t{sizeof(float)});
    cpu(context).team().for_tasks(tasks.size(), [&](index_t task_idx, int thread_idx) {
        data_task(call, between, tasks[task_idx], reinterpret_cast<float*>(scratch.of(thread_idx)));
    });
    dx_is_ready();
    const Indexed<detail::TaskAxis, TileTask<In>> tiles = tile_tasks(slots, between, backward.gradients);
    cpu(context).team().for_tasks(tiles.size(), [&](index_t task_idx, int thread_idx) {
        gradient_task(tiles[task_idx], slots.blocks, reinterpret_cast<float*>(scratch.of(thread_idx)),
                      context);
    });
    bias_gradients(call, between);
}

}  // namespace

void on_cpu::expert_ffn_backward(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                                 const ExpertKept& kept, const ExpertBackward& backward,
                                 const Context& context) {
    dispatch_dtype(x.dtype(), [&]<class In>() {
        const HostExpertWeights<In> weight_views = host_weights<In>(weights, slots.num_experts());
        const HostExpertSaved<const In> kept_views{host<const In>(kept.gate), host<const In>(kept.up)};
        const HostExpertBackward<In> backward_views{host<const In>(backward.dy), host<float>(backward.dx),
                                                    host_values<float>(backward.dweight), backward.gradients,
                                                    backward.dx_ready};
        compute_gradients<In>({host<const In>(x), weight_views, slots, kept_views, backward_views, context});
    });
}

}  // namespace sy::ops
