#include <algorithm>
#include <type_traits>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/offsets.hpp"
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

/// One of the addends may be `sum` itself.
template <class T>
void add_range(std::span<const ConstTensorRef> addends, std::span<T> sum, Range range) {
    // Integers are added modulo 2^64.
    using Number = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
    constexpr index_t kBlock = 256;
    for (index_t first = range.begin; first < range.end; first += kBlock) {
        // In memory that nothing else points to, so that the compiler may use vectors.
        T total[kBlock];
        const Range block{first, std::min(first + kBlock, range.end)};
        std::ranges::copy(part(host_values<const T>(addends[0]), block), total);
        for (const ConstTensorRef& addend : addends.subspan(1)) {
            const T* const values = host_values<const T>(addend).data() + first;
            for (index_t i = 0; i < block.size(); ++i)
                total[i] = static_cast<T>(static_cast<Number>(total[i]) + static_cast<Number>(values[i]));
        }
        std::copy_n(total, block.size(), sum.data() + first);
    }
}

}  // namespace

void on_cpu::add_in_order(std::span<const ConstTensorRef> addends, TensorRef sum, const Context& context) {
    const auto add_all = [&]<class T>(std::span<T> total) {
        cpu(context).team().for_ranges(sum.num_elements(), 4096, [&](index_t begin, index_t end) {
            add_range<T>(addends, total, {begin, end});
        });
    };
    if (sum.dtype() == DType::i64) {
        add_all(host_values<std::int64_t>(sum));
    } else {
        add_all(host_values<float>(sum));
    }
}

void on_cpu::round_fixed_point(ConstTensorRef sums, TensorRef values, const Context& context) {
    const auto from = host_values<const std::int64_t>(sums);
    const auto to = host_values<float>(values);
    cpu(context).team().for_ranges(values.num_elements(), 4096, [&](index_t begin, index_t end) {
        from_fixed_point(part(from, {begin, end}), part(to, {begin, end}));
    });
}

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
