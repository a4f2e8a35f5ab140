#include "runtime/bench/operations/operations.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace sy::runtime::bench {
namespace operation {
namespace {

/// The table: in the order of the report.
constexpr std::array kOperations{norms,     activations,    biases,    rotations,     attention, heads,
                                 dropout,   soft_cap,       pointwise, cross_entropy, router,    rows,
                                 embedding, position_table, adamw,     casts_and_sums};

}  // namespace

double largest_error(std::span<const float> got, std::span<const float> expected) {
    double error = 0.0;
    double scale = 1e-30;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const auto target = static_cast<double>(expected[i]);
        const double difference = std::fabs(static_cast<double>(got[i]) - target);
        error = std::isfinite(difference) ? std::max(error, difference) : HUGE_VAL;
        scale = std::max(scale, std::fabs(target));
    }
    return error / scale;
}

Bench::Bench(const BenchOptions& options, Report& report)
    : options_(options),
      machine_(options.threads),
      report_(report),
      bandwidth_(measure_bandwidth(options, machine_)) {
    report.note(concat(options.threads, " threads; copying of large arrays: ", bandwidth_ / 1e9,
                       " GB/s; T = ", kTokens, ", H = ", kHidden, ", E = ", kExperts, ", K = ", kTopK,
                       ", V = ", kVocabulary));
}

void Bench::time(const std::string& name, const std::string& pass, double bytes, double tolerance,
                 const std::function<void()>& body, const std::function<double()>& error) {
    BenchRow row;
    row.what = "ops";
    row.shape = name;
    row.dtype = "f32";
    row.mode = "fast";
    row.pass = pass;
    row.threads = machine_.device.num_threads();
    row.times = time_repeatedly(options_, body);
    row.rate = 1e-6 * bytes / row.times.best_ms;
    row.share = 1e9 * row.rate / bandwidth_;
    row.error = error();
    row.tolerance = tolerance;
    report_.row(row);
}

}  // namespace operation

void operations(const BenchOptions& options, Report& report) {
    operation::Bench bench(options, report);
    for (const auto time_rows : operation::kOperations) time_rows(bench);
}

}  // namespace sy::runtime::bench
