#include <cmath>
#include <vector>

#include "kernels/ops/expert_ffn/expert_ffn.hpp"

namespace sy::ops::ref {
namespace {

template <class T>
double at(const MatrixView<T>& x, index_t row, index_t col) {
    return static_cast<double>(static_cast<float>(x(row, col)));
}

/// One slot in double: projections g and u, activation h.
template <class In>
struct Slot {
    index_t expert, row;
    double weight;
    std::vector<double> g, u, h;
};

template <class In>
Slot<In> forward_slot(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots,
                      index_t slot) {
    Slot<In> result;
    result.expert = 0;
    while (slot >= slots.offsets[static_cast<std::size_t>(result.expert) + 1]) ++result.expert;
    const auto s = static_cast<std::size_t>(slot);
    result.row = slots.row.empty() ? slot : slots.row[s];
    result.weight = slots.weight.empty() ? 1.0 : static_cast<double>(slots.weight[s]);
    const MatrixView<const In> gate = weights.gate[result.expert];
    const MatrixView<const In> up = weights.up[result.expert];
    for (index_t f = 0; f < gate.cols; ++f) {
        double g = 0.0;
        double u = 0.0;
        for (index_t i = 0; i < x.cols; ++i) {
            g += at(x, result.row, i) * at(gate, i, f);
            u += at(x, result.row, i) * at(up, i, f);
        }
        result.g.push_back(g);
        result.u.push_back(u);
        result.h.push_back(g / (1.0 + std::exp(-g)) * u);
    }
    return result;
}

void add(GradientView gradient, index_t row, index_t col, double value) {
    gradient.f32[row * gradient.cols + col] += static_cast<float>(value);
}

}  // namespace

template <class In>
void expert_ffn(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots,
                MatrixView<float> out) {
    for (index_t slot = 0; slot < slots.num_slots(); ++slot) {
        const Slot<In> forward = forward_slot(x, weights, slots, slot);
        const MatrixView<const In> down = weights.down[forward.expert];
        for (index_t i = 0; i < out.cols; ++i) {
            double sum = 0.0;
            for (index_t f = 0; f < down.rows; ++f)
                sum += forward.h[static_cast<std::size_t>(f)] * at(down, f, i);
            out(slot, i) = static_cast<float>(forward.weight * sum);
        }
    }
}

template <class In>
void expert_ffn_backward(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots,
                         const ExpertBackward<In>& backward) {
    for (index_t slot = 0; slot < slots.num_slots(); ++slot) {
        const Slot<In> forward = forward_slot(x, weights, slots, slot);
        const auto e = static_cast<std::size_t>(forward.expert);
        const MatrixView<const In> gate = weights.gate[forward.expert];
        const MatrixView<const In> up = weights.up[forward.expert];
        const MatrixView<const In> down = weights.down[forward.expert];
        double dweight = 0.0;
        std::vector<double> dx(static_cast<std::size_t>(x.cols), 0.0);
        for (index_t f = 0; f < gate.cols; ++f) {
            const auto fi = static_cast<std::size_t>(f);
            double dh = 0.0;
            for (index_t i = 0; i < x.cols; ++i) {
                dh += at(backward.dy, forward.row, i) * at(down, f, i);
                add(backward.gradients.down[e], f, i,
                    forward.weight * forward.h[fi] * at(backward.dy, forward.row, i));
            }
            dweight += dh * forward.h[fi];
            const double s = 1.0 / (1.0 + std::exp(-forward.g[fi]));
            const double dg = forward.weight * dh * forward.u[fi] * s * (1.0 + forward.g[fi] * (1.0 - s));
            const double du = forward.weight * dh * forward.g[fi] * s;
            for (index_t i = 0; i < x.cols; ++i) {
                dx[static_cast<std::size_t>(i)] += dg * at(gate, i, f) + du * at(up, i, f);
                add(backward.gradients.gate[e], i, f, dg * at(x, forward.row, i));
                add(backward.gradients.up[e], i, f, du * at(x, forward.row, i));
            }
        }
        for (index_t i = 0; i < x.cols; ++i) {
            backward.dx(slot, i) = static_cast<float>(dx[static_cast<std::size_t>(i)]);
        }
        if (!backward.dweight.empty())
            backward.dweight[static_cast<std::size_t>(slot)] = static_cast<float>(dweight);
    }
}

template void expert_ffn<float>(MatrixView<const float>, const ExpertWeights<float>&, const ExpertSlots&,
                                MatrixView<float>);
template void expert_ffn<bf16>(MatrixView<const bf16>, const ExpertWeights<bf16>&, const ExpertSlots&,
                               MatrixView<float>);
template void expert_ffn_backward<float>(MatrixView<const float>, const ExpertWeights<float>&,
                                         const ExpertSlots&, const ExpertBackward<float>&);
template void expert_ffn_backward<bf16>(MatrixView<const bf16>, const ExpertWeights<bf16>&,
                                        const ExpertSlots&, const ExpertBackward<bf16>&);

}  // namespace sy::ops::ref
