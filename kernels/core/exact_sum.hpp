#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/host_device.hpp"

namespace sy {

/// Sum of numbers that does not depend on their order or grouping: each addend is rounded to a multiple of 2^-36 (to
/// nearest even), and multiples are added as integers of 143 bits. An addend that is not finite makes the sum so, as
/// doubles would, and one of 2^64 or more counts as infinite; 2^42 addends of any size cannot wrap.
/// @par Source  order-independent sums by fixed point, Demmel and Nguyen (2015)
class ExactSum {
  public:
    SY_HOST_DEVICE void add(double addend) {
        // Written so that NaN takes the other branch.
        if (!(std::fabs(addend) < kSmall)) {
            add_large(addend);
            return;
        }
        // The last place of this sum is one unit, so its bits count units.
        digits_[2] += std::bit_cast<std::int64_t>(addend + kMagic) - std::bit_cast<std::int64_t>(kMagic);
        carry_if_large();
    }
    /// Adds a whole number of units of 2^-36, below 2^61 in size: for loops that have rounded their addends themselves.
    void add_units(std::int64_t units) {
        digits_[2] += units;
        carry_if_large();
    }
    ExactSum& operator+=(const ExactSum& other);

    /// The sum, rounded to a double: infinite or NaN when an addend was.
    double value() const;
    /// Whether every addend was finite and below 2^64.
    bool finite() const { return not_finite_ == 0; }
    /// Whether they are the same number, or not finite in the same way.
    friend bool operator==(const ExactSum& a, const ExactSum& b) {
        return a.carried().digits_ == b.carried().digits_ && a.not_finite_ == b.not_finite_;
    }

    static constexpr double kUnit = 0x1p-36;

    /// Integers that stand for the sum: the first three are added up with those of others, up to 2^20 of them, and of the last
    /// the bits are joined, or added up as well.
    static constexpr std::size_t kNumWords = 4;
    SY_HOST_DEVICE std::array<std::int64_t, kNumWords> words() const {
        const ExactSum sum = carried();
        return {sum.digits_[0], sum.digits_[1], sum.digits_[2], sum.not_finite_};
    }
    /// The words of sums, as ranks add them word by word.
    static std::vector<std::int64_t> to_words(std::span<const ExactSum> sums);
    /// The sums that the added words stand for.
    static void from_words(std::span<const std::int64_t> words, std::span<ExactSum> sums);

  private:
    static constexpr int kDigitBits = 40;
    static constexpr double kSmall = 0x1p15;
    static constexpr double kMagic = 0x1.8p16;
    static constexpr double kLimit = 0x1p64;
    static constexpr int kFlagBits = 21;
    static constexpr std::int64_t kNan = 1;
    static constexpr std::int64_t kPositive = std::int64_t{1} << kFlagBits;
    static constexpr std::int64_t kNegative = std::int64_t{1} << (2 * kFlagBits);

    SY_HOST_DEVICE void add_large(double addend);
    SY_HOST_DEVICE void carry_if_large() {
        constexpr std::int64_t kLarge = std::int64_t{1} << 61;
        if (digits_[2] >= kLarge || digits_[2] <= -kLarge) carry();
    }
    SY_HOST_DEVICE void carry() {
        for (std::size_t digit = 2; digit > 0; --digit) {
            const std::int64_t over = digits_[digit] >> kDigitBits;  // rounds down, also below zero
            digits_[digit - 1] += over;
            digits_[digit] -= over * (std::int64_t{1} << kDigitBits);
        }
    }
    SY_HOST_DEVICE ExactSum carried() const {
        ExactSum result = *this;
        result.carry();
        return result;
    }

    /// Base 2^40, highest first, in units of 2^-36. Once carried, all but the first are in [0, 2^40).
    std::array<std::int64_t, 3> digits_{};
    /// One bit for each way not to be finite, far enough apart for words of 2^20 ranks to be added.
    std::int64_t not_finite_ = 0;
};

SY_HOST_DEVICE inline void ExactSum::add_large(double addend) {
    if (std::isnan(addend)) {
        not_finite_ |= kNan;
        return;
    }
    if (std::fabs(addend) >= kLimit) {
        not_finite_ |= addend > 0.0 ? kPositive : kNegative;
        return;
    }
    // Digits are cut off the number, so the differences are exact; only the last is rounded.
    double rest = addend / kUnit;
    for (std::size_t digit = 0; digit < 2; ++digit) {
        const int shift = kDigitBits * static_cast<int>(2 - digit);
        const double whole = std::floor(std::ldexp(rest, -shift));
        digits_[digit] += static_cast<std::int64_t>(whole);
        rest -= std::ldexp(whole, shift);
    }
    digits_[2] += static_cast<std::int64_t>(std::nearbyint(rest));
    carry();
}

}  // namespace sy
