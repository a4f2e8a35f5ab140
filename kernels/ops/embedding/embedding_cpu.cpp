#include <cmath>

#include "kernels/core/fits.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/readable_list.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/embedding/embedding.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

template <class In>
void widen_row(const In* from, float* to, index_t count) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(count,
                        [&](index_t i, auto load, auto store) SY_BODY { store(to + i, load(from + i)); });
    });
}

template <class In>
void add_widened(const In* from, float* to, index_t count) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(count, [&](index_t i, auto load, auto store)
                                   SY_BODY { store(to + i, load(to + i) + load(from + i)); });
    });
}

template <class In>
void widen_rows(MatrixView<const In> table, std::span<const std::int32_t> ids, MatrixView<float> out,
                const Context& context) {
    cpu(context).team().for_ranges(out.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t)
            widen_row(table.row(ids[static_cast<std::size_t>(t)]), out.row(t), out.cols);
    });
}

template <class In>
void add_rows(MatrixView<const In> table, std::span<const std::int32_t> positions, MatrixView<float> x,
              const Context& context) {
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t)
            add_widened(table.row(positions[static_cast<std::size_t>(t)]), x.row(t), x.cols);
    });
}

}  // namespace

void on_cpu::embedding(ConstTensorRef table, List<std::int32_t> ids, TensorRef out, const Context& context) {
    dispatch_dtype(table.dtype(), [&]<class In>() {
        widen_rows(host<const In>(table), host_values(ids), host<float>(out), context);
    });
}

void on_cpu::add_positions(ConstTensorRef table, List<std::int32_t> positions, TensorRef x,
                           const Context& context) {
    dispatch_dtype(table.dtype(), [&]<class In>() {
        add_rows(host<const In>(table), host_values(positions), host<float>(x), context);
    });
}

void on_cpu::sine_table(TensorRef out, const Context& context) {
    const auto table = host<float>(out);
    const auto width = static_cast<double>(table.cols);
    cpu(context).team().for_ranges(table.rows, 16, [&](index_t begin, index_t end) {
        for (index_t col = 0; col < table.cols; ++col) {
            const bool even = col % 2 == 0;
            const double frequency = std::pow(10000.0, -static_cast<double>(even ? col : col - 1) / width);
            for (index_t p = begin; p < end; ++p) {
                const double angle = static_cast<double>(p) * frequency;
                table(p, col) = static_cast<float>(even ? std::sin(angle) : std::cos(angle));
            }
        }
    });
}

void on_cpu::embedding_backward(std::span<const std::int32_t> ids, ConstTensorRef out_gradient,
                                GradientRef sums, const Context& context) {
    const auto dout = host<const float>(out_gradient);
    const GradientView gradient = host_gradient(sums);
    // Threads own columns, so that equal ids meet in one thread and in order of t.
    cpu(context).team().for_ranges(dout.cols, 64, [&](index_t begin, index_t end) {
        for (index_t t = 0; t < dout.rows; ++t) {
            const std::span<const float> part(dout.row(t) + begin, static_cast<std::size_t>(end - begin));
            accumulate(part, ids[static_cast<std::size_t>(t)] * gradient.cols + begin, gradient);
        }
    });
}

}  // namespace sy::ops
