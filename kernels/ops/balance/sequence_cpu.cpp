#include <algorithm>
#include <vector>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/balance/balance.hpp"

namespace sy::ops {
namespace {

/// body(sequence, its tokens) on the threads.
template <class Body>
void for_sequences(index_t tokens, MatrixView<const double> frequency, const Context& context,
                   const Body& body) {
    const index_t sequences = frequency.rows;
    SY_FITS(sequences == 0 ? tokens == 0 : tokens % sequences == 0, "balance of sequences: ", tokens,
            " tokens are not ", sequences, " sequences");
    const Timed timed(context, OpKind::routing, 2.0 * static_cast<double>(tokens * frequency.cols));
    context.team.for_tasks(sequences, [&](index_t s, int) {
        const index_t length = tokens / sequences;
        body(s, Range{s * length, (s + 1) * length});
    });
}

}  // namespace

void sequence_frequencies(MatrixView<const std::int32_t> expert, double unit, MatrixView<double> frequency,
                          const Context& context) {
    for_sequences(expert.rows, frequency, context, [&](index_t s, Range tokens) {
        std::ranges::fill(frequency.row_span(s), 0.0);
        for (index_t t = tokens.begin; t < tokens.end; ++t) {
            for (const std::int32_t e : expert.row_span(t)) {
                if (e >= 0) frequency(s, e) += unit;
            }
        }
    });
}

void sequence_sum(Score kind, MatrixView<const float> scores, MatrixView<const double> frequency,
                  ExactSum& sum, const Context& context) {
    SY_FITS(scores.cols == frequency.cols, "sequence_sum: scores of ", scores.cols,
            " experts, frequencies of ", frequency.cols);
    std::vector<double> value(static_cast<std::size_t>(frequency.rows), 0.0);
    for_sequences(scores.rows, frequency, context, [&](index_t s, Range tokens) {
        double& of_sequence = value[static_cast<std::size_t>(s)];
        for (index_t t = tokens.begin; t < tokens.end; ++t) {
            double of_token = 0.0;
            for (index_t e = 0; e < scores.cols; ++e)
                of_token += frequency(s, e) * static_cast<double>(scores(t, e));
            of_sequence += of_token * detail::share_of_one(kind, scores, t);
        }
        of_sequence /= static_cast<double>(tokens.size());
    });
    for (const double of_sequence : value) sum.add(of_sequence);
}

void sequence_backward(double scale, MatrixView<const double> frequency, MatrixView<float> dshare,
                       const Context& context) {
    SY_FITS(dshare.cols == frequency.cols, "sequence_backward: gradients of ", dshare.cols,
            " experts, frequencies of ", frequency.cols);
    for_sequences(dshare.rows, frequency, context, [&](index_t s, Range tokens) {
        for (index_t t = tokens.begin; t < tokens.end; ++t) {
            for (index_t e = 0; e < dshare.cols; ++e)
                dshare(t, e) += static_cast<float>(scale * frequency(s, e));
        }
    });
}

}  // namespace sy::ops
