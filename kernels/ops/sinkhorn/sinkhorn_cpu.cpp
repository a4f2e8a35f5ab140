#include <algorithm>
#include <mutex>
#include <vector>

#include "kernels/core/profile.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/sinkhorn/sinkhorn.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

constexpr index_t kRowsOfTask = 64;

void powers_of_rows(MatrixView<const float> logits, Range rows, MatrixView<float> powers) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const from = logits.data + t * logits.stride;
            float* const to = powers.data + t * powers.stride;
            float highest = from[0];
            for (index_t e = 1; e < logits.cols; ++e) highest = std::max(highest, from[e]);
            simd::for_lanes(logits.cols, [&](index_t i, auto load, auto store)
                                             SY_BODY { store(to + i, simd::exp(load(from + i) - highest)); });
        }
    });
}

/// Adds up to kRowsOfTask rows of the plan, scaled to 1 each, to the sums of the columns in units of ExactSum.
void add_rows(MatrixView<const float> powers, Range rows, const double* factor, std::int64_t* sums) {
    simd::for_isa([=]() SY_BODY {
        for (index_t t = rows.begin; t < rows.end; ++t) {
            const float* const power = powers.data + t * powers.stride;
            double total = 0.0;
            for (index_t e = 0; e < powers.cols; ++e) total += factor[e] * static_cast<double>(power[e]);
            if (!(total > 0.0)) continue;
            const double scale = 1.0 / (total * ExactSum::kUnit);
            for (index_t e = 0; e < powers.cols; ++e) {
                // Not llrint: this form becomes one vector instruction.
                sums[e] += static_cast<std::int64_t>(factor[e] * static_cast<double>(power[e]) * scale + 0.5);
            }
        }
    });
}

}  // namespace

void on_cpu::sinkhorn_powers(ConstTensorRef logits, TensorRef powers, const Context& context) {
    const auto logits_te = host<const float>(logits);
    const auto powers_te = host<float>(powers);
    cpu(context).team().for_ranges(logits_te.rows, kRowsOfTask, [&](index_t begin, index_t end) {
        powers_of_rows(logits_te, {begin, end}, powers_te);
    });
}

void on_cpu::sinkhorn_columns(ConstTensorRef powers, std::span<const double> factor, TensorRef words,
                              const Context& context) {
    const auto powers_te = host<const float>(powers);
    std::vector<ExactSum> sums(factor.size());
    std::mutex adding;
    cpu(context).team().for_tasks(ceil_div(powers_te.rows, kRowsOfTask), [&](index_t task, int) {
        const Range rows{task * kRowsOfTask, std::min(powers_te.rows, (task + 1) * kRowsOfTask)};
        std::vector<std::int64_t> units(sums.size(), 0);
        add_rows(powers_te, rows, factor.data(), units.data());
        const std::lock_guard lock(adding);
        for (std::size_t e = 0; e < sums.size(); ++e) sums[e].add_units(units[e]);
    });
    std::ranges::copy(ExactSum::to_words(sums), host_values<std::int64_t>(words).begin());
}

void on_cpu::sinkhorn_log_plan(ConstTensorRef logits, std::span<const double> log_factor, TensorRef plan,
                               const Context& context) {
    const auto logits_te = host<const float>(logits);
    const auto plan_te = host<float>(plan);
    cpu(context).team().for_ranges(logits_te.rows, kRowsOfTask, [&](index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
            for (index_t e = 0; e < logits_te.cols; ++e)
                plan_te(t, e) = static_cast<float>(static_cast<double>(logits_te(t, e)) +
                                                   log_factor[static_cast<std::size_t>(e)]);
        }
    });
}

}  // namespace sy::ops
