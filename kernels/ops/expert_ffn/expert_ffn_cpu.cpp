#include "kernels/core/profile.hpp"
#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/bias/on_this_thread.hpp"
#include "kernels/ops/expert_ffn/check.hpp"
#include "kernels/ops/expert_ffn/tasks.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// What one thread works in: gathered rows, float projections, activation. Without a gate there is one projection.
template <class In>
struct Workspace {
    In* rows;
    float* gate;
    float* up;
    In* h;

    static index_t num_projections(const HostExpertWeights<In>& weights) {
        return is_gated(weights.activation) ? 2 : 1;
    }
    static index_t bytes(const HostExpertWeights<In>& weights) {
        const index_t width_bytes = num_projections(weights) * index_t{sizeof(float)} + index_t{sizeof(In)};
        return detail::kTaskSlots * (weights.up.rows * index_t{sizeof(In)} + weights.up.cols * width_bytes) +
               256;
    }
    Workspace(std::byte* memory, const HostExpertWeights<In>& weights) {
        const index_t size = detail::kTaskSlots * weights.up.cols;
        gate = reinterpret_cast<float*>(memory);
        up = gate + (num_projections(weights) - 1) * size;
        h = reinterpret_cast<In*>(up + size);
        rows = h + size;
    }
};

/// Everything a task needs to know.
template <class In>
struct Call {
    MatrixView<const In> x;
    const HostExpertWeights<In>& weights;
    const ExpertSlots& slots;
    const HostExpertSaved<In>& saved;
    MatrixView<float> out;
    const Context& context;
};

/// h from the projections, which are kept where that is wanted.
template <class In>
MatrixView<const In> activate_task(const Call<In>& call, const detail::SlotTask& task, MatrixView<float> gate,
                                   MatrixView<float> up, In* memory) {
    const HostExpertBiases& biases = call.weights.biases;
    Activate<In> activation{.kind = call.weights.activation,
                            .gate = gate,
                            .up = up,
                            .gate_bias = biases.gate,
                            .up_bias = biases.up,
                            .weight = {},
                            .h = {memory, up.rows, up.cols},
                            .kept_gate = {},
                            .kept_up = {}};
    if (!call.slots.weight.is_null())
        activation.weight = part(host_values<const float>(call.slots.weight), task.slots);
    // Float projections are there already, without their biases.
    if (call.saved.up.data != nullptr && (std::is_same_v<In, bf16> || !biases.up.empty())) {
        activation.kept_gate = call.saved.gate.rows_of(task.slots);
        activation.kept_up = call.saved.up.rows_of(task.slots);
    }
    activate(activation);
    return activation.h;
}

template <class In>
void forward_task(const Call<In>& call, const detail::SlotTask& task, const Workspace<In>& work) {
    const HostExpertWeights<In>& weights = call.weights;
    const index_t width = weights.up.cols;
    const index_t count = task.slots.size();
    const bool dense = call.slots.row.empty();
    const bool gated = is_gated(weights.activation);
    const MatrixView<In> gathered(work.rows, count, call.x.cols);
    if (!dense) detail::gather(call.x, call.slots, task.slots, gathered);
    const MatrixView<const In> rows = dense ? call.x.rows_of(task.slots) : gathered;
    MatrixView<float> gate;
    if (gated) gate = {work.gate, count, width};
    MatrixView<float> up(work.up, count, width);
    // Float products are written where they are kept, bf16 ones are rounded on the way through the activation.
    if constexpr (std::is_same_v<In, float>) {
        if (call.saved.up.data != nullptr) {
            gate = call.saved.gate.rows_of(task.slots);
            up = call.saved.up.rows_of(task.slots);
        }
    }
    const auto multiply = [&](MatrixView<const In> a, const TensorView3<const In>& weight,
                              MatrixView<float> c) {
        multiply_on_this_thread<In>({a, Transpose::no, weight[task.expert], Transpose::no, c}, call.context);
    };
    if (gated) multiply(rows, weights.gate, gate);
    multiply(rows, weights.up, up);
    const MatrixView<float> out = call.out.rows_of(task.slots);
    multiply(activate_task(call, task, gate, up, work.h), weights.down, out);
    if (!weights.biases.down.empty()) add_bias_on_this_thread(weights.biases.down, out);
}

template <class In>
void compute(MatrixView<const In> x, const HostExpertWeights<In>& weights, const ExpertSlots& slots,
             const HostExpertSaved<In>& saved, MatrixView<float> out, const Context& context) {
    const Indexed<detail::TaskAxis, detail::SlotTask> tasks = detail::slot_tasks(slots);
    detail::ThreadScratch scratch(context, Workspace<In>::bytes(weights));
    const Call<In> call{x, weights, slots, saved, out, context};
    cpu(context).team().for_tasks(tasks.size(), [&](index_t task_idx, int thread_idx) {
        const Workspace<In> work(scratch.of(thread_idx), weights);
        forward_task(call, tasks[task_idx], work);
    });
}

}  // namespace

void on_cpu::expert_ffn(ConstTensorRef x, const ExpertWeights& weights, const ExpertSlots& slots,
                        const ExpertSaved& saved, TensorRef out, const Context& context) {
    dispatch_dtype(x.dtype(), [&]<class In>() {
        compute<In>(host<const In>(x), host_weights<In>(weights, slots.num_experts()), slots,
                    {host<In>(saved.gate), host<In>(saved.up)}, host<float>(out), context);
    });
}

}  // namespace sy::ops
