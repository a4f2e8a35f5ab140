#include <cmath>
#include <fstream>
#include <map>

#include "kernels/core/error.hpp"
#include "runtime/report/table.hpp"

namespace sy::runtime {
namespace {

/// What leaps from step to step is drawn as its mean over this many steps up to each.
constexpr std::size_t kSmoothedSteps = 32;

void close(std::ofstream& file, const std::filesystem::path& path) {
    file.flush();
    if (!file) throw IoError(concat("report: cannot write ", path.string()));
}

double trailing_mean(const std::vector<StepPoint>& steps, std::size_t last, double StepPoint::*number) {
    const std::size_t first = last + 1 > kSmoothedSteps ? last + 1 - kSmoothedSteps : 0;
    double sum = 0.0;
    for (std::size_t i = first; i <= last; ++i) sum += steps[i].*number;
    return sum / static_cast<double>(last + 1 - first);
}

/// A run that went on from another's checkpoint is drawn from its own first step.
index_t steps_before(const RunHistory& history) {
    return history.steps.empty() ? 0 : history.steps.front().step - 1;
}

void write_steps(const std::filesystem::path& path, const RunRow& row) {
    using Values = std::vector<double>;
    // The columns of each seed, by step.
    std::map<index_t, std::vector<Values>> table;
    for (const RunHistory& history : row.histories) {
        for (std::size_t i = 0; i < history.steps.size(); ++i) {
            const StepPoint& point = history.steps[i];
            const auto smooth = [&](double StepPoint::*number) {
                return trailing_mean(history.steps, i, number);
            };
            table[point.step - steps_before(history)].push_back(
                {smooth(&StepPoint::token_loss), point.token_loss, point.gradient_norm,
                 smooth(&StepPoint::load), smooth(&StepPoint::dropped), point.logsumexp});
        }
    }
    std::ofstream file(path);
    file << "# step smoothed_loss loss gradient_norm smoothed_load smoothed_dropped logsumexp\n";
    for (const auto& [step, seeds] : table) {
        file << step;
        for (std::size_t column = 0; column < seeds[0].size(); ++column) {
            double sum = 0.0;
            for (const Values& values : seeds) sum += values[column];
            const double mean = sum / static_cast<double>(seeds.size());
            // A NaN may be printed with a sign.
            file << " " << (std::isnan(mean) ? std::string("nan") : concat(mean));
        }
        file << "\n";
    }
    close(file, path);
}

void write_validations(const std::filesystem::path& path, const RunRow& row) {
    std::map<index_t, std::vector<double>> table;
    for (const RunHistory& history : row.histories) {
        for (const ValidationPoint& point : history.validations)
            table[point.step - steps_before(history)].push_back(point.bits_per_byte);
    }
    std::ofstream file(path);
    file << "# step bits_per_byte deviation_over_seeds\n";
    for (const auto& [step, values] : table) {
        const Statistic bits = statistic(values);
        file << step << " " << bits.mean << " " << (values.size() > 1 ? bits.deviation : 0.0) << "\n";
    }
    close(file, path);
}

}  // namespace

void write_data(const std::filesystem::path& folder, std::span<const RunRow> rows) {
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) throw IoError(concat("report: cannot create ", folder.string(), ": ", failure.message()));
    for (const RunRow& row : rows) {
        write_steps(folder / concat(row.name, ".steps.dat"), row);
        write_validations(folder / concat(row.name, ".validation.dat"), row);
    }
}

}  // namespace sy::runtime
