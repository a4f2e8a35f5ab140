#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/core/profile.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/balance/operands.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// body(rows, sums) on the threads, each with sums of its own. @param words  [G, 4] of the sums
template <class Body>
void add_exactly(index_t rows, TensorRef words, const Context& context, const Body& body) {
    std::mutex adding;
    std::vector<ExactSum> sums(static_cast<std::size_t>(words.rows()));
    cpu(context).team().for_ranges(rows, 64, [&](index_t begin, index_t end) {
        std::vector<ExactSum> own(sums.size());
        body(Range{begin, end}, std::span(own));
        const std::lock_guard lock(adding);
        for (std::size_t i = 0; i < own.size(); ++i) sums[i] += own[i];
    });
    detail::add_to_words(sums, words);
}

/// body(t, j, expert) for every choice in rows.
template <class Body>
void for_choices(MatrixView<const std::int32_t> expert, Range rows, const Body& body) {
    for (index_t t = rows.begin; t < rows.end; ++t) {
        for (index_t j = 0; j < expert.cols; ++j) {
            if (expert(t, j) >= 0) body(t, j, static_cast<std::size_t>(expert(t, j)));
        }
    }
}

}  // namespace

double detail::share_of_one(Score kind, MatrixView<const float> scores, index_t token) {
    if (kind == Score::softmax) return 1.0;
    auto sum = static_cast<double>(kLeastScoreSum);
    for (const float score : scores.row_span(token)) sum += static_cast<double>(score);
    return 1.0 / sum;
}

void detail::add_to_words(std::span<const ExactSum> sums, TensorRef words) {
    std::vector<ExactSum> total = exact_sums(words);
    for (std::size_t i = 0; i < sums.size(); ++i) total[i] += sums[i];
    std::ranges::copy(ExactSum::to_words(total), host_values<std::int64_t>(words).begin());
}

void on_cpu::share_sums(Score kind, ConstTensorRef scores, TensorRef sums, const Context& context) {
    const auto scores_te = host<const float>(scores);
    const index_t size = scores_te.cols / sums.rows();
    add_exactly(scores_te.rows, sums, context, [&](Range rows, std::span<ExactSum> own) {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* score = scores_te.row(t);
            const double unit = detail::share_of_one(kind, scores_te, t);
            for (ExactSum& sum : own) {
                double total = 0.0;
                for (index_t e = 0; e < size; ++e) total += static_cast<double>(*score++);
                sum.add(unit * total);
            }
        }
    });
}

void on_cpu::choice_sums(ConstTensorRef expert, ConstTensorRef value, TensorRef sums,
                         const Context& context) {
    const auto expert_tk = host<const std::int32_t>(expert);
    const auto value_tk = host<const float>(value);
    add_exactly(expert_tk.rows, sums, context, [&](Range rows, std::span<ExactSum> own) {
        for_choices(expert_tk, rows, [&](index_t t, index_t j, std::size_t e) {
            own[e].add(static_cast<double>(value_tk(t, j)));
        });
    });
}

void on_cpu::add_to_choices(ConstTensorRef expert, std::span<const float> factor, TensorRef values,
                            const Context& context) {
    const auto expert_tk = host<const std::int32_t>(expert);
    const auto values_tk = host<float>(values);
    cpu(context).team().for_ranges(expert_tk.rows, 64, [&](index_t begin, index_t end) {
        for_choices(expert_tk, {begin, end},
                    [&](index_t t, index_t j, std::size_t e) { values_tk(t, j) += factor[e]; });
    });
}

void on_cpu::count_reached(ConstTensorRef expert, index_t run_size, TensorRef sums, const Context& context) {
    const auto expert_tk = host<const std::int32_t>(expert);
    add_exactly(expert_tk.rows, sums, context, [&](Range rows, std::span<ExactSum> own) {
        std::vector<index_t> last_token(own.size(), -1);
        for_choices(expert_tk, rows, [&](index_t t, index_t, std::size_t e) {
            const std::size_t run = e / static_cast<std::size_t>(run_size);
            if (std::exchange(last_token[run], t) != t) own[run].add(1.0);
        });
    });
}

void on_cpu::square_sum(ConstTensorRef values, TensorRef sum, const Context& context) {
    const auto values_t = host_values<const float>(values);
    add_exactly(static_cast<index_t>(values_t.size()), sum, context,
                [&](Range rows, std::span<ExactSum> own) {
                    for (const float value : values_t.subspan(static_cast<std::size_t>(rows.begin),
                                                              static_cast<std::size_t>(rows.size())))
                        own[0].add(static_cast<double>(value) * static_cast<double>(value));
                });
}

void on_cpu::add_scaled(double factor, ConstTensorRef x, TensorRef y, const Context& context) {
    const auto x_t = host_values<const float>(x);
    const auto y_t = host_values<float>(y);
    cpu(context).team().for_ranges(static_cast<index_t>(x_t.size()), 1024, [&](index_t begin, index_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
            y_t[i] += static_cast<float>(factor * static_cast<double>(x_t[i]));
    });
}

}  // namespace sy::ops
