#include "kernels/core/gradient.hpp"

#include <cmath>

#include "kernels/core/simd.hpp"

namespace sy {
namespace {

SY_MULTIVERSION bool accumulate_fixed(const float* addends, index_t count, std::int64_t* sums) {
    // 1.5 * 2^52: adding it rounds a double below 2^51 to an integer that stands in the low bits.
    constexpr double kMagic = 6755399441055744.0;
    constexpr double kScale = 1.0 / kGradientUnit;
    int out_of_range = 0;
    for (index_t i = 0; i < count; ++i) {
        // |addend| < 2^10 makes 2^56 units: the upper and the lower part are rounded separately, exactly.
        const double scaled = static_cast<double>(addends[i]) * kScale;
        const double upper = (scaled * 0x1p-24 + kMagic) - kMagic;
        const double lower = (scaled - upper * 0x1p24 + kMagic) - kMagic;
        const bool good = std::fabs(addends[i]) < kGradientLimit;
        out_of_range |= static_cast<int>(!good);
        const auto upper_units = static_cast<std::int64_t>(good ? upper : 0.0);
        const auto lower_units = static_cast<std::int64_t>(good ? lower : 0.0);
        sums[i] += (upper_units << 24) + lower_units;
    }
    return out_of_range != 0;
}

SY_MULTIVERSION void accumulate_f32(const float* addends, index_t count, float* sums) {
    for (index_t i = 0; i < count; ++i) sums[i] += addends[i];
}

SY_MULTIVERSION void convert_fixed(const std::int64_t* sums, index_t count, float* values) {
    for (index_t i = 0; i < count; ++i)
        values[i] = static_cast<float>(static_cast<double>(sums[i]) * kGradientUnit);
}

}  // namespace

void accumulate(std::span<const float> addends, index_t first, GradientView gradient) {
    const auto count = static_cast<index_t>(addends.size());
    SY_REQUIRE(first >= 0 && first + count <= gradient.rows * gradient.cols, "accumulate: elements ", first,
               " to ", first + count, " of a gradient of ", gradient.rows * gradient.cols);
    if (gradient.fixed == nullptr) {
        accumulate_f32(addends.data(), count, gradient.f32 + first);
    } else if (accumulate_fixed(addends.data(), count, gradient.fixed + first)) {
        // Threads may set it at once: an atomic store of the same value.
        __atomic_store_n(gradient.overflow, true, __ATOMIC_RELAXED);
    }
}

void from_fixed_point(std::span<const std::int64_t> sums, std::span<float> values) {
    SY_REQUIRE(sums.size() == values.size(), "from_fixed_point: ", sums.size(), " sums for ", values.size(),
               " values");
    convert_fixed(sums.data(), static_cast<index_t>(sums.size()), values.data());
}

}  // namespace sy
