#include "runtime/report/training_page.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/error.hpp"
#include "runtime/report/table.hpp"

namespace sy::runtime {
namespace {

std::string title_of(std::span<const PageRow> rows) {
    constexpr std::size_t kMostNames = 4;
    std::string title = "Training: ";
    for (std::size_t i = 0; i < std::min(rows.size(), kMostNames); ++i)
        title += concat(i == 0 ? "" : ", ", rows[i].summary.name);
    if (rows.size() > kMostNames) title += concat(" and ", rows.size() - kMostNames, " more");
    return title;
}

void add_summary(Page& page, std::span<const PageRow> rows) {
    std::vector<RunRow> summaries;
    for (const PageRow& row : rows) summaries.push_back(row.summary);
    page.section("Summary");
    std::vector<std::vector<std::string>> cells = table_cells(summaries);
    std::vector<std::string> head = std::move(cells.front());
    cells.erase(cells.begin());
    page.table({"Runs", std::move(head), std::move(cells)});
    page.paragraph(table_legend());
    page.paragraph(remark(summaries));
}

Axis axis_of(std::string label) {
    Axis axis;
    axis.label = std::move(label);
    return axis;
}

/// A line for each run, in the colour of its row. @param fill  gives it its points
template <class Fill>
void add_lines(LinePlot& plot, std::span<const PageRow> rows, Fill&& fill) {
    for (std::size_t row = 0; row < rows.size(); ++row) {
        for (const RunStory& run : rows[row].runs) {
            Series series;
            series.name = rows[row].summary.name;
            series.colour = row;
            fill(run, series);
            plot.series.push_back(std::move(series));
        }
    }
}

/// The means of the values that are numbers, of so many to either side of each, fewer at the ends, so that nothing seems to
/// lag; NaN where its own is none.
std::vector<double> smoothed(const std::vector<double>& values, std::size_t steps_aside) {
    std::vector<double> means;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t aside = std::min({steps_aside, i, values.size() - 1 - i});
        double sum = 0.0;
        double count = 0.0;
        for (std::size_t j = i - aside; j <= i + aside; ++j) {
            if (!std::isfinite(values[j])) continue;
            sum += values[j];
            count += 1.0;
        }
        means.push_back(std::isfinite(values[i]) ? sum / count : std::numeric_limits<double>::quiet_NaN());
    }
    return means;
}

LinePlot validation_plot(std::span<const PageRow> rows, double ValidationLoss::*x, const char* over) {
    LinePlot plot{concat("Validation loss over ", over),
                  concat("Mean cross entropy of the validation text in nats a token, over ", over),
                  axis_of(over), axis_of("nats a token")};
    add_lines(plot, rows, [x](const RunStory& run, Series& series) {
        for (const ValidationLoss& validation : run.validations) {
            series.x.push_back(validation.*x);
            series.y.push_back(validation.loss);
        }
    });
    return plot;
}

}  // namespace

LinePlot step_plot(std::span<const PageRow> rows, const StepFigure& figure) {
    LinePlot plot{figure.title, figure.description, axis_of(figure.x_label), axis_of(figure.y_label)};
    add_lines(plot, rows, [&](const RunStory& run, Series& series) {
        for (const TrainingStep& step : run.steps) {
            if (figure.y == &TrainingStep::token_loss && !step.has_targets) continue;
            series.x.push_back(step.*figure.x);
            series.y.push_back(step.*figure.y);
        }
    });
    std::vector<Series> faint;
    for (Series& series : plot.series) {
        if (figure.steps_aside == 0 || series.y.size() < 8 * figure.steps_aside) continue;
        faint.push_back(series);
        faint.back().name.clear();
        faint.back().weight = Weight::faint;
        series.y = smoothed(series.y, figure.steps_aside);
    }
    plot.series.insert(plot.series.begin(), faint.begin(), faint.end());
    return plot;
}

void add_losses(Page& page, std::span<const PageRow> rows) {
    page.section("Loss");
    page.paragraph(concat("Pale lines are single steps, full lines the mean of each and of ", kStepsAside,
                          " steps to either side. Losses are mean cross entropies, in nats a token."));
    page.add(step_plot(rows, {"Training loss over steps", "Mean cross entropy of each step in nats a token",
                              "nats a token", &TrainingStep::token_loss}));
    page.add(step_plot(rows, {"Training loss over tokens", "Mean cross entropy of each step in nats a token",
                              "nats a token", &TrainingStep::token_loss, "tokens", &TrainingStep::tokens}));
    const bool has_validations = std::ranges::any_of(rows, [](const PageRow& row) {
        return std::ranges::any_of(row.runs, [](const RunStory& run) { return !run.validations.empty(); });
    });
    if (has_validations) {
        page.add(validation_plot(rows, &ValidationLoss::step, "steps"));
        page.add(validation_plot(rows, &ValidationLoss::tokens, "tokens"));
    } else {
        page.paragraph("No run has a validation.");
    }
    page.add(step_plot(rows, {"Gradient norm", "Norm of the whole gradient before clipping, each step",
                              "norm", &TrainingStep::gradient_norm}));
    page.add(step_plot(rows, {"Learning rate", "Learning rate of each step", "learning rate",
                              &TrainingStep::learning_rate, "steps", &TrainingStep::step, 0}));
}

Page training_page(std::span<const PageRow> rows) {
    Page page(title_of(rows));
    add_summary(page, rows);
    add_losses(page, rows);
    add_routing(page, rows);
    add_speed(page, rows);
    add_events(page, rows);
    add_settings(page, rows);
    return page;
}

void write_training_page(const std::filesystem::path& path, std::span<const RunRow> rows) {
    std::vector<PageRow> page_rows;
    for (const RunRow& row : rows) {
        PageRow& page_row = page_rows.emplace_back(PageRow{row, {}});
        for (const std::filesystem::path& folder : row.folders) {
            const bool is_alone = row.folders.size() == 1;
            page_row.runs.push_back(
                read_story(folder, is_alone ? row.name : concat(row.name, "/", folder.filename().string())));
        }
    }
    write_page(path, training_page(page_rows));
}

}  // namespace sy::runtime
