#include <algorithm>
#include <vector>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/balance/operands.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// body(sequence, its tokens) on the threads.
template <class Body>
void for_sequences(index_t tokens, MatrixView<const double> frequency, const Context& context,
                   const Body& body) {
    const index_t sequences = frequency.rows;
    cpu(context).team().for_tasks(sequences, [&](index_t s, int) {
        const index_t length = tokens / sequences;
        body(s, Range{s * length, (s + 1) * length});
    });
}

}  // namespace

void on_cpu::sequence_frequencies(ConstTensorRef expert, double unit, TensorRef frequency,
                                  const Context& context) {
    const auto expert_tk = host<const std::int32_t>(expert);
    const auto frequency_se = host<double>(frequency);
    for_sequences(expert_tk.rows, frequency_se, context, [&](index_t s, Range tokens) {
        std::ranges::fill(frequency_se.row_span(s), 0.0);
        for (index_t t = tokens.begin; t < tokens.end; ++t) {
            for (const std::int32_t e : expert_tk.row_span(t)) {
                if (e >= 0) frequency_se(s, e) += unit;
            }
        }
    });
}

void on_cpu::sequence_sum(Score kind, ConstTensorRef scores, ConstTensorRef frequency, TensorRef words,
                          const Context& context) {
    const auto scores_te = host<const float>(scores);
    const auto frequency_se = host<const double>(frequency);
    std::vector<double> value(static_cast<std::size_t>(frequency_se.rows), 0.0);
    for_sequences(scores_te.rows, frequency_se, context, [&](index_t s, Range tokens) {
        double& of_sequence = value[static_cast<std::size_t>(s)];
        for (index_t t = tokens.begin; t < tokens.end; ++t) {
            double of_token = 0.0;
            for (index_t e = 0; e < scores_te.cols; ++e)
                of_token += frequency_se(s, e) * static_cast<double>(scores_te(t, e));
            of_sequence += of_token * detail::share_of_one(kind, scores_te, t);
        }
        of_sequence /= static_cast<double>(tokens.size());
    });
    ExactSum sum;
    for (const double of_sequence : value) sum.add(of_sequence);
    detail::add_to_words({&sum, 1}, words);
}

void on_cpu::sequence_backward(double scale, ConstTensorRef frequency, TensorRef dshare,
                               const Context& context) {
    const auto frequency_se = host<const double>(frequency);
    const auto dshare_te = host<float>(dshare);
    for_sequences(dshare_te.rows, frequency_se, context, [&](index_t s, Range tokens) {
        for (index_t t = tokens.begin; t < tokens.end; ++t) {
            for (index_t e = 0; e < dshare_te.cols; ++e)
                dshare_te(t, e) += static_cast<float>(scale * frequency_se(s, e));
        }
    });
}

}  // namespace sy::ops
