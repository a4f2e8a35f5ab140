#include "kernels/core/exact_sum.hpp"

#include <limits>

#include "kernels/core/error.hpp"

namespace sy {
namespace {

constexpr double kLimit = 0x1p64;
constexpr int kFlagBits = 21;
constexpr std::int64_t kNan = 1;
constexpr std::int64_t kPositive = std::int64_t{1} << kFlagBits;
constexpr std::int64_t kNegative = std::int64_t{1} << (2 * kFlagBits);
constexpr std::size_t kNumWords = 4;

}  // namespace

void ExactSum::add_large(double addend) {
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

void ExactSum::carry() {
    for (std::size_t digit = 2; digit > 0; --digit) {
        const std::int64_t over = digits_[digit] >> kDigitBits;  // rounds down, also below zero
        digits_[digit - 1] += over;
        digits_[digit] -= over * (std::int64_t{1} << kDigitBits);
    }
}

ExactSum& ExactSum::operator+=(const ExactSum& other) {
    const ExactSum addend = other.carried();
    carry();
    for (std::size_t digit = 0; digit < digits_.size(); ++digit) digits_[digit] += addend.digits_[digit];
    carry();
    not_finite_ |= addend.not_finite_;
    return *this;
}

double ExactSum::value() const {
    if (not_finite_ == kPositive) return std::numeric_limits<double>::infinity();
    if (not_finite_ == kNegative) return -std::numeric_limits<double>::infinity();
    if (not_finite_ != 0) return std::numeric_limits<double>::quiet_NaN();
    const ExactSum sum = carried();
    const double high =
        std::ldexp(static_cast<double>(sum.digits_[0]), kDigitBits) + static_cast<double>(sum.digits_[1]);
    return kUnit * (std::ldexp(high, kDigitBits) + static_cast<double>(sum.digits_[2]));
}

std::vector<std::int64_t> ExactSum::to_words(std::span<const ExactSum> sums) {
    std::vector<std::int64_t> words;
    words.reserve(kNumWords * sums.size());
    for (const ExactSum& one : sums) {
        const ExactSum sum = one.carried();
        words.insert(words.end(), sum.digits_.begin(), sum.digits_.end());
        words.push_back(sum.not_finite_);
    }
    return words;
}

void ExactSum::from_words(std::span<const std::int64_t> words, std::span<ExactSum> sums) {
    SY_REQUIRE(words.size() == kNumWords * sums.size(), "exact sums: ", words.size(), " words for ",
               sums.size(), " sums of ", kNumWords);
    for (ExactSum& sum : sums) {
        for (std::size_t digit = 0; digit < sum.digits_.size(); ++digit) sum.digits_[digit] = words[digit];
        sum.carry();
        sum.not_finite_ = 0;
        for (const std::int64_t flag : {kNan, kPositive, kNegative}) {
            const std::int64_t count = words[3] / flag % kPositive;
            if (count != 0) sum.not_finite_ |= flag;
        }
        words = words.subspan(kNumWords);
    }
}

}  // namespace sy
