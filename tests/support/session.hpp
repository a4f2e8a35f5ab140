#pragma once

#include <cmath>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::test {

/// What operations need, for tests: owns the device.
struct TestSession {
    std::unique_ptr<CpuDevice> owned;
    CpuDevice& device;
    Context context;

    explicit TestSession(int num_threads = 1, NumericsMode numerics = NumericsMode::fast)
        : TestSession(std::make_unique<CpuDevice>(num_threads, index_t{4} << 20), numerics) {}
    TestSession(std::unique_ptr<CpuDevice> given, NumericsMode numerics)
        : owned(std::move(given)), device(*owned), context{device, device.compute(), numerics} {}
};

/// A matrix with its memory, filled with numbers that depend on `stream` alone.
struct TestMatrix {
    std::vector<float> values;
    index_t rows;
    index_t cols;

    TestMatrix(index_t rows_, index_t cols_, std::uint64_t stream = 0, float deviation = 1.0F)
        : values(static_cast<std::size_t>(rows_ * cols_)), rows(rows_), cols(cols_) {
        if (stream == 0) return;
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = deviation * normal({stream, 0, 0, RandomPurpose::test}, i);
        }
    }
    MatrixView<float> view() { return {values.data(), rows, cols}; }
    MatrixView<const float> view() const { return {values.data(), rows, cols}; }
};

/// Largest |a - b| divided by the largest |b| (at least 1e-30).
inline double relative_error(std::span<const float> a, std::span<const float> b) {
    double difference = 0.0;
    double scale = 1e-30;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference = std::fmax(difference, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
        if (!std::isfinite(a[i])) return HUGE_VAL;
        scale = std::fmax(scale, std::fabs(static_cast<double>(b[i])));
    }
    return difference / scale;
}

}  // namespace sy::test
