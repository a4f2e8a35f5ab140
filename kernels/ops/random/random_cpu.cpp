#include "kernels/ops/random/random.hpp"

#include <algorithm>

#include "kernels/core/philox_lanes.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// values[i] for global elements first + i; two words an element.
void normal_range(const RandomKey& key, index_t first, float deviation, float* values, index_t count) {
    simd::for_isa([=, &key]() SY_BODY {
        constexpr index_t kStep = simd::kPhiloxWords / 2;
        simd::PhiloxWords words;
        for (index_t start = first - first % 2; start < first + count; start += kStep) {
            simd::philox_words(key, static_cast<std::uint64_t>(start / 2), words);
            for (index_t i = std::max(start, first); i < std::min(start + kStep, first + count); ++i) {
                const auto pair = static_cast<std::size_t>(2 * (i - start));
                values[i - first] = deviation * normal_from(words[pair], words[pair + 1]);
            }
        }
    });
}

void gumbel_range(const RandomKey& key, index_t first, float scale, float* values, index_t count) {
    simd::for_isa([=, &key]() SY_BODY {
        simd::PhiloxWords words;
        for (index_t start = first - first % 4; start < first + count; start += simd::kPhiloxWords) {
            simd::philox_words(key, static_cast<std::uint64_t>(start / 4), words);
            const index_t end = std::min(start + simd::kPhiloxWords, first + count);
            for (index_t i = std::max(start, first); i < end; ++i)
                values[i - first] =
                    scale * static_cast<float>(gumbel_from(words[static_cast<std::size_t>(i - start)]));
        }
    });
}

void jitter_rows(MatrixView<const float> x, const RandomKey& key, index_t first_token, float eps, Range rows,
                 MatrixView<float> y) {
    simd::for_isa([=, &key]() SY_BODY {
        simd::PhiloxWords words;
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const index_t first = (first_token + t) * x.cols;
            const float* const source = x.data + t * x.stride;
            float* const target = y.data + t * y.stride;
            for (index_t start = first - first % 4; start < first + x.cols; start += simd::kPhiloxWords) {
                simd::philox_words(key, static_cast<std::uint64_t>(start / 4), words);
                const index_t end = std::min(start + simd::kPhiloxWords, first + x.cols);
                for (index_t i = std::max(start, first); i < end; ++i) {
                    const float u = uniform_from(words[static_cast<std::size_t>(i - start)]);
                    target[i - first] = source[i - first] * (1.0F + eps * (2.0F * u - 1.0F));
                }
            }
        }
    });
}

}  // namespace

void on_cpu::fill_normal(const RandomKey& key, index_t first, float deviation, TensorRef values,
                         const Context& context) {
    const auto elements = host_values<float>(values);
    cpu(context).team().for_ranges(
        static_cast<index_t>(elements.size()), 1024, [&](index_t begin, index_t end) {
            normal_range(key, first + begin, deviation, elements.data() + begin, end - begin);
        });
}

void on_cpu::fill_gumbel(const RandomKey& key, index_t first, float scale, TensorRef values,
                         const Context& context) {
    const auto elements = host_values<float>(values);
    cpu(context).team().for_ranges(
        static_cast<index_t>(elements.size()), 1024, [&](index_t begin, index_t end) {
            gumbel_range(key, first + begin, scale, elements.data() + begin, end - begin);
        });
}

void on_cpu::jitter(ConstTensorRef x, const RandomKey& key, index_t first_token, float eps, TensorRef y,
                    const Context& context) {
    const auto x_th = host<const float>(x);
    const auto y_th = host<float>(y);
    cpu(context).team().for_ranges(x_th.rows, 8, [&](index_t begin, index_t end) {
        jitter_rows(x_th, key, first_token, eps, {begin, end}, y_th);
    });
}

}  // namespace sy::ops
