#include "kernels/core/gradient.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/expert_ffn/host_operands.hpp"

namespace sy::ops::ref {
namespace {

template <class T>
double at(const MatrixView<T>& x, index_t row, index_t col) {
    return static_cast<double>(static_cast<float>(x(row, col)));
}

struct WidthAxis;

double bias_at(IndexedSpan<WidthAxis, const float> bias, index_t i) {
    return bias.empty() ? 0.0 : static_cast<double>(bias[i]);
}

/// A projection x W + b of one row in double.
template <class In>
double projection(MatrixView<const In> x, index_t row, MatrixView<const In> weight, index_t col) {
    double sum = 0.0;
    for (index_t i = 0; i < x.cols; ++i) sum += at(x, row, i) * at(weight, i, col);
    return sum;
}

/// One slot in double: projections g and u, activation h and its derivatives by them.
template <class In>
struct Slot {
    index_t expert, row;
    double weight;
    Indexed<WidthAxis, double> h, h_by_g, h_by_u;
};

template <class In>
Slot<In> forward_slot(MatrixView<const In> x, const HostExpertWeights<In>& weights, const ExpertSlots& slots,
                      index_t slot) {
    Slot<In> result;
    result.expert = 0;
    while (slot >= group_of(slots.offsets, result.expert).end) ++result.expert;
    const PerSlotSpan<const std::int32_t> row = slots.row;
    const PerSlotSpan<const float> weight = host_values<const float>(slots.weight);
    result.row = row.empty() ? slot : row[slot];
    result.weight = weight.empty() ? 1.0 : static_cast<double>(weight[slot]);
    const Activation kind = weights.activation;
    for (index_t f = 0; f < weights.up.cols; ++f) {
        const double u =
            projection(x, result.row, weights.up[result.expert], f) + bias_at(weights.biases.up, f);
        if (is_gated(kind)) {
            const double g =
                projection(x, result.row, weights.gate[result.expert], f) + bias_at(weights.biases.gate, f);
            result.h.push_back(nonlinearity(kind, g) * u);
            result.h_by_g.push_back(nonlinearity_slope(kind, g) * u);
            result.h_by_u.push_back(nonlinearity(kind, g));
        } else {
            result.h.push_back(nonlinearity(kind, u));
            result.h_by_u.push_back(nonlinearity_slope(kind, u));
        }
    }
    return result;
}

void add(const GradientRef& into, index_t row, index_t col, double value) {
    const GradientView gradient = host_gradient(into);
    gradient.f32[row * gradient.cols + col] += static_cast<float>(value);
}

}  // namespace

template <class In>
void expert_ffn(MatrixView<const In> x, const HostExpertWeights<In>& weights, const ExpertSlots& slots,
                MatrixView<float> out) {
    for (index_t slot = 0; slot < slots.num_slots(); ++slot) {
        const Slot<In> forward = forward_slot(x, weights, slots, slot);
        const MatrixView<const In> down = weights.down[forward.expert];
        for (index_t i = 0; i < out.cols; ++i) {
            double sum = 0.0;
            for (index_t f = 0; f < down.rows; ++f) sum += forward.h[f] * at(down, f, i);
            out(slot, i) = static_cast<float>(forward.weight * sum + bias_at(weights.biases.down, i));
        }
    }
}

template <class In>
void expert_ffn_backward(MatrixView<const In> x, const HostExpertWeights<In>& weights,
                         const ExpertSlots& slots, const HostExpertBackward<In>& backward) {
    for (index_t slot = 0; slot < slots.num_slots(); ++slot) {
        const Slot<In> forward = forward_slot(x, weights, slots, slot);
        const ExpertGradients& gradients = backward.gradients;
        const auto of_expert = [&](PerExpertSpan<const GradientRef> all) { return all[forward.expert]; };
        const MatrixView<const In> up = weights.up[forward.expert];
        const MatrixView<const In> down = weights.down[forward.expert];
        double dweight = 0.0;
        Indexed<WidthAxis, double> dx(x.cols, 0.0);
        const auto into_projection = [&](double slope, MatrixView<const In> weight,
                                         const GradientRef& gradient, index_t f) {
            for (index_t i = 0; i < x.cols; ++i) {
                dx[i] += slope * at(weight, i, f);
                add(gradient, i, f, slope * at(x, forward.row, i));
            }
        };
        for (index_t f = 0; f < up.cols; ++f) {
            double dh = 0.0;
            for (index_t i = 0; i < x.cols; ++i) {
                dh += at(backward.dy, forward.row, i) * at(down, f, i);
                add(of_expert(gradients.down), f, i,
                    forward.weight * forward.h[f] * at(backward.dy, forward.row, i));
            }
            dweight += dh * forward.h[f];
            const double du = forward.weight * dh * forward.h_by_u[f];
            into_projection(du, up, of_expert(gradients.up), f);
            if (!weights.biases.up.empty()) add(gradients.biases.up, 0, f, du);
            if (!is_gated(weights.activation)) continue;
            const double dg = forward.weight * dh * forward.h_by_g[f];
            into_projection(dg, weights.gate[forward.expert], of_expert(gradients.gate), f);
            if (!weights.biases.gate.empty()) add(gradients.biases.gate, 0, f, dg);
        }
        if (!weights.biases.down.empty()) {
            for (index_t i = 0; i < x.cols; ++i)
                add(gradients.biases.down, 0, i, at(backward.dy, forward.row, i));
        }
        for (index_t i = 0; i < x.cols; ++i) {
            backward.dx(slot, i) = static_cast<float>(dx[i]);
        }
        const PerSlotSpan<float> dweights = backward.dweight;
        if (!dweights.empty()) dweights[slot] = static_cast<float>(dweight);
    }
}

template void expert_ffn<float>(MatrixView<const float>, const HostExpertWeights<float>&, const ExpertSlots&,
                                MatrixView<float>);
template void expert_ffn<bf16>(MatrixView<const bf16>, const HostExpertWeights<bf16>&, const ExpertSlots&,
                               MatrixView<float>);
template void expert_ffn_backward<float>(MatrixView<const float>, const HostExpertWeights<float>&,
                                         const ExpertSlots&, const HostExpertBackward<float>&);
template void expert_ffn_backward<bf16>(MatrixView<const bf16>, const HostExpertWeights<bf16>&,
                                        const ExpertSlots&, const HostExpertBackward<bf16>&);

}  // namespace sy::ops::ref
