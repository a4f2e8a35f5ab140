#include <algorithm>
#include <bit>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/top_tokens/top_tokens.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

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
    cpu(context).team().for_ranges(scores.cols, 1, [&](index_t begin, index_t end) {
        for (index_t t = 0; t < scores.rows; ++t) {
            for (index_t e = begin; e < end; ++e) body(t, e);
        }
    });
}

}  // namespace

void on_cpu::count_key_digits(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds,
                              int shift, TensorRef counts, const Context& context) {
    const auto scores_te = host<const float>(scores);
    const auto counts_ed = host<index_t>(counts);
    std::fill_n(counts_ed.data, counts_ed.rows * counts_ed.cols, 0);
    for_columns(scores_te, context, [&](index_t t, index_t e) {
        const std::uint64_t key = key_of(scores_te(t, e));
        if (key >> (shift + kKeyDigitBits) == thresholds[e].key)
            ++counts_ed(e, static_cast<index_t>((key >> shift) % static_cast<std::uint64_t>(kKeyDigits)));
    });
}

void on_cpu::take_top_tokens(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds,
                             PerExpertSpan<const index_t> earlier, TensorRef taken, const Context& context) {
    const auto scores_te = host<const float>(scores);
    const auto taken_te = host<std::uint8_t>(taken);
    PerExpert<index_t> tie(scores_te.cols);
    std::ranges::copy(earlier, tie.begin());
    for_columns(scores_te, context, [&](index_t t, index_t e) {
        const std::uint64_t key = key_of(scores_te(t, e));
        const TokenThreshold& end = thresholds[e];
        taken_te(t, e) = key > end.key || (key == end.key && tie[e]++ < end.ties) ? 1 : 0;
    });
}

void on_cpu::list_takers(ConstTensorRef scores, ConstTensorRef taken, TensorRef expert,
                         const Context& context) {
    const auto scores_te = host<const float>(scores);
    const auto taken_te = host<const std::uint8_t>(taken);
    const auto expert_tk = host<std::int32_t>(expert);
    cpu(context).team().for_ranges(scores_te.rows, 16, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            index_t count = 0;
            for (index_t e = 0; e < scores_te.cols; ++e) {
                if (taken_te(t, e) == 0) continue;
                SY_FITS(count < expert_tk.cols, "list_takers: more than ", expert_tk.cols,
                        " experts take token ", t);
                expert_tk(t, count++) = static_cast<std::int32_t>(e);
            }
            std::int32_t* const list = expert_tk.row(t);
            std::stable_sort(list, list + count, [&](std::int32_t a, std::int32_t b) {
                return key_of(scores_te(t, a)) > key_of(scores_te(t, b));
            });
            std::fill(list + count, list + expert_tk.cols, -1);
        }
    });
}

}  // namespace sy::ops
