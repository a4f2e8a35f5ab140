#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace sy {

/// Sum of numbers that does not depend on their order or grouping: each addend is rounded to a multiple of 2^-36 (to
/// nearest even), and multiples are added as integers of 143 bits. An addend that is not finite makes the sum so, as
/// doubles would, and one of 2^64 or more counts as infinite; 2^42 addends of any size cannot wrap.
/// @par Source  order-independent sums by fixed point, Demmel and Nguyen (2015)
class ExactSum {
  public:
    void add(double addend) {
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

    /// The sums as integers that ranks add (up to 2^20 of them), word by word.
    static std::vector<std::int64_t> to_words(std::span<const ExactSum> sums);
    /// The sums that the added words stand for.
    static void from_words(std::span<const std::int64_t> words, std::span<ExactSum> sums);

  private:
    static constexpr int kDigitBits = 40;
    static constexpr double kSmall = 0x1p15;
    static constexpr double kMagic = 0x1.8p16;

    void add_large(double addend);
    void carry_if_large() {
        constexpr std::int64_t kLarge = std::int64_t{1} << 61;
        if (digits_[2] >= kLarge || digits_[2] <= -kLarge) carry();
    }
    void carry();
    ExactSum carried() const {
        ExactSum result = *this;
        result.carry();
        return result;
    }

    /// Base 2^40, highest first, in units of 2^-36. Once carried, all but the first are in [0, 2^40).
    std::array<std::int64_t, 3> digits_{};
    /// One bit for each way not to be finite, far enough apart for words of 2^20 ranks to be added.
    std::int64_t not_finite_ = 0;
};

}  // namespace sy
