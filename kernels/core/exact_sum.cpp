#include "kernels/core/exact_sum.hpp"

#include <limits>

#include "kernels/core/error.hpp"

namespace sy {

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
        const std::array<std::int64_t, kNumWords> of_one = one.words();
        words.insert(words.end(), of_one.begin(), of_one.end());
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
