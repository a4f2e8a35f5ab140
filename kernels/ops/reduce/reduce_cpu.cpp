#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// Element i goes to partial sum i mod 32 (enough to hide the latency of an addition), then a fixed tree.
double squares_of_row(const float* row, index_t count) {
    return simd::for_isa([=]() SY_BODY {
        constexpr index_t kSums = 32;
        double sums[kSums] = {};
        index_t i = 0;
        for (; i + kSums <= count; i += kSums) {
#pragma omp simd
            for (index_t lane = 0; lane < kSums; ++lane) {
                const auto value = static_cast<double>(row[i + lane]);
                sums[lane] += value * value;
            }
        }
        for (index_t lane = 0; i < count; ++i, ++lane) {
            const auto value = static_cast<double>(row[i]);
            sums[lane] += value * value;
        }
        for (index_t width = kSums / 2; width >= 1; width /= 2) {
            for (index_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
        }
        return sums[0];
    });
}

void add_range(const float* x, const float* z, float* y, index_t count) {
    simd::for_isa([=]() SY_BODY {
        for (index_t i = 0; i < count; ++i) y[i] = x[i] + z[i];
    });
}

void scale_range(float factor, const float* x, float* y, index_t count) {
    simd::for_isa([=]() SY_BODY {
        for (index_t i = 0; i < count; ++i) y[i] = factor * x[i];
    });
}

}  // namespace

void on_cpu::row_sums_of_squares(ConstTensorRef rows, TensorRef of_rows, const Context& context) {
    const auto x = host<const float>(rows);
    const auto sums = host_values<double>(of_rows);
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r)
            sums[static_cast<std::size_t>(r)] = squares_of_row(x.row(r), x.cols);
    });
}

void on_cpu::add(ConstTensorRef first, ConstTensorRef second, TensorRef total, const Context& context) {
    const auto x = host<const float>(first);
    const auto z = host<const float>(second);
    const auto y = host<float>(total);
    if (x.is_contiguous() && z.is_contiguous() && y.is_contiguous()) {
        cpu(context).team().for_ranges(x.rows * x.cols, 4096, [&](index_t begin, index_t end) {
            add_range(x.data + begin, z.data + begin, y.data + begin, end - begin);
        });
        return;
    }
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) add_range(x.row(r), z.row(r), y.row(r), x.cols);
    });
}

void on_cpu::scale(float factor, ConstTensorRef from, TensorRef to, const Context& context) {
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) scale_range(factor, x.row(r), y.row(r), x.cols);
    });
}

void on_cpu::scale_rows(ConstTensorRef factors, ConstTensorRef from, TensorRef to, const Context& context) {
    const auto factor = host_values<const float>(factors);
    const auto x = host<const float>(from);
    const auto y = host<float>(to);
    cpu(context).team().for_ranges(x.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r)
            scale_range(factor[static_cast<std::size_t>(r)], x.row(r), y.row(r), x.cols);
    });
}

}  // namespace sy::ops
