#include "kernels/core/profile.hpp"
#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/expert_ffn/tasks.hpp"

namespace sy::ops {
namespace {

/// What one thread works in: gathered rows, float projections, activation.
template <class In>
struct Workspace {
    In* rows;
    float* gate;
    float* up;
    In* h;

    static index_t bytes(index_t hidden, index_t width) {
        return detail::kTaskSlots *
                   (hidden * index_t{sizeof(In)} + width * index_t{2 * sizeof(float) + sizeof(In)}) +
               256;
    }
    Workspace(std::byte* memory, index_t width) {
        gate = reinterpret_cast<float*>(memory);
        up = gate + detail::kTaskSlots * width;
        h = reinterpret_cast<In*>(up + detail::kTaskSlots * width);
        rows = h + detail::kTaskSlots * width;
    }
};

template <class In>
void forward_task(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots,
                  ExpertSaved<In> saved, MatrixView<float> out, const detail::SlotTask& task,
                  const Workspace<In>& work, const Context& context) {
    const index_t width = weights.gate.cols;
    const index_t count = task.slots.size();
    const bool dense = slots.row.empty();
    const MatrixView<In> gathered(work.rows, count, x.cols);
    if (!dense) detail::gather(x, slots, task.slots, gathered);
    const MatrixView<const In> rows = dense ? x.rows_of(task.slots) : gathered;
    MatrixView<float> gate(work.gate, count, width);
    MatrixView<float> up(work.up, count, width);
    // Float products are written where they are kept, bf16 ones are rounded on the way through the activation.
    if constexpr (std::is_same_v<In, float>) {
        if (saved.gate.data != nullptr) {
            gate = saved.gate.rows_of(task.slots);
            up = saved.up.rows_of(task.slots);
        }
    }
    const auto multiply = [&](MatrixView<const In> a, const TensorView3<const In>& weight,
                              MatrixView<float> c) {
        multiply_on_this_thread<In>({a, Transpose::no, weight[task.expert], Transpose::no, c, 0.0F},
                                    context.numerics, context);
    };
    multiply(rows, weights.gate, gate);
    multiply(rows, weights.up, up);
    Swiglu<In> activation{gate, up, {}, {work.h, count, width}, {}, {}};
    if (!slots.weight.empty()) {
        activation.weight =
            slots.weight.subspan(static_cast<std::size_t>(task.slots.begin), static_cast<std::size_t>(count));
    }
    if (std::is_same_v<In, bf16> && saved.gate.data != nullptr) {
        activation.kept_gate = saved.gate.rows_of(task.slots);
        activation.kept_up = saved.up.rows_of(task.slots);
    }
    swiglu(activation);
    multiply(activation.h, weights.down, out.rows_of(task.slots));
}

}  // namespace

template <class In>
void expert_ffn(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots,
                ExpertSaved<In> saved, MatrixView<float> out, const Context& context) {
    detail::check_operands(x, weights, slots);
    SY_REQUIRE(out.rows == slots.num_slots() && out.cols == x.cols, "expert_ffn: out [", out.rows, ", ",
               out.cols, "] for ", slots.num_slots(), " slots of width ", x.cols);
    const Timed timed(context, OpKind::elementwise,
                      7.0 * static_cast<double>(slots.num_slots() * weights.gate.cols));
    const std::vector<detail::SlotTask> tasks = detail::slot_tasks(slots);
    detail::ThreadScratch scratch(context, Workspace<In>::bytes(x.cols, weights.gate.cols));
    context.team.for_tasks(static_cast<index_t>(tasks.size()), [&](index_t task_idx, int thread_idx) {
        const Workspace<In> work(scratch.of(thread_idx), weights.gate.cols);
        forward_task(x, weights, slots, saved, out, tasks[static_cast<std::size_t>(task_idx)], work, context);
    });
}

template void expert_ffn<float>(MatrixView<const float>, const ExpertWeights<float>&, const ExpertSlots&,
                                ExpertSaved<float>, MatrixView<float>, const Context&);
template void expert_ffn<bf16>(MatrixView<const bf16>, const ExpertWeights<bf16>&, const ExpertSlots&,
                               ExpertSaved<bf16>, MatrixView<float>, const Context&);

}  // namespace sy::ops
