#include <algorithm>
#include <bit>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/top_tokens/top_tokens.hpp"

namespace sy::ops {
namespace {

/// 64 bits, so that all 32 of it can be shifted away.
std::uint64_t key_of(float score) {
    const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}

/// body(t, e) for every score, with each expert's tokens in order on one thread.
template <class Body>
void for_columns(MatrixView<const float> scores, const Context& context, const Body& body) {
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows * scores.cols));
    context.team.for_ranges(scores.cols, 1, [&](index_t begin, index_t end) {
        for (index_t t = 0; t < scores.rows; ++t) {
            for (index_t e = begin; e < end; ++e) body(t, e);
        }
    });
}

bool same_shape(MatrixView<const float> scores, MatrixView<const std::uint8_t> taken) {
    return scores.rows == taken.rows && scores.cols == taken.cols;
}

}  // namespace

void count_key_digits(MatrixView<const float> scores, PerExpertSpan<const TokenThreshold> thresholds,
                      int shift, MatrixView<index_t> counts, const Context& context) {
    SY_FITS(thresholds.size() == scores.cols && counts.rows == scores.cols && counts.cols == kKeyDigits &&
                counts.is_contiguous() && shift >= 0 && shift <= kKeyBits - kKeyDigitBits,
            "count_key_digits: ", thresholds.size(), " thresholds and counts [", counts.rows, ", ",
            counts.cols, "] of ", scores.cols, " experts, shift ", shift);
    std::fill_n(counts.data, counts.rows * counts.cols, 0);
    for_columns(scores, context, [&](index_t t, index_t e) {
        const std::uint64_t key = key_of(scores(t, e));
        if (key >> (shift + kKeyDigitBits) == thresholds[e].key)
            ++counts(e, static_cast<index_t>((key >> shift) % static_cast<std::uint64_t>(kKeyDigits)));
    });
}

void take_top_tokens(MatrixView<const float> scores, PerExpertSpan<const TokenThreshold> thresholds,
                     PerExpertSpan<const index_t> earlier, MatrixView<std::uint8_t> taken,
                     const Context& context) {
    SY_FITS(thresholds.size() == scores.cols && earlier.size() == scores.cols && same_shape(scores, taken),
            "take_top_tokens: ", thresholds.size(), " thresholds and ", earlier.size(), " counts for [",
            scores.rows, ", ", scores.cols, "] into [", taken.rows, ", ", taken.cols, "]");
    PerExpert<index_t> tie(scores.cols);
    std::ranges::copy(earlier, tie.begin());
    for_columns(scores, context, [&](index_t t, index_t e) {
        const std::uint64_t key = key_of(scores(t, e));
        const TokenThreshold& end = thresholds[e];
        taken(t, e) = key > end.key || (key == end.key && tie[e]++ < end.ties) ? 1 : 0;
    });
}

void list_takers(MatrixView<const float> scores, MatrixView<const std::uint8_t> taken,
                 MatrixView<std::int32_t> expert, const Context& context) {
    SY_FITS(same_shape(scores, taken) && expert.rows == scores.rows, "list_takers: scores [", scores.rows,
            ", ", scores.cols, "], taken [", taken.rows, ", ", taken.cols, "] into [", expert.rows, ", ",
            expert.cols, "]");
    const Timed timed(context, OpKind::routing, static_cast<double>(scores.rows * scores.cols));
    context.team.for_ranges(scores.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            index_t count = 0;
            for (index_t e = 0; e < scores.cols; ++e) {
                if (taken(t, e) == 0) continue;
                SY_FITS(count < expert.cols, "list_takers: more than ", expert.cols, " experts take token ",
                        t);
                expert(t, count++) = static_cast<std::int32_t>(e);
            }
            std::int32_t* const list = expert.row(t);
            std::stable_sort(list, list + count, [&](std::int32_t a, std::int32_t b) {
                return key_of(scores(t, a)) > key_of(scores(t, b));
            });
            std::fill(list + count, list + expert.cols, -1);
        }
    });
}

}  // namespace sy::ops
