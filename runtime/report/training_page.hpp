#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "runtime/report/page.hpp"
#include "runtime/report/run_story.hpp"
#include "runtime/report/summary.hpp"

namespace sy::runtime {

/// A row of the summary with the stories of its runs, one a seed. The runs of a row have its colour.
struct PageRow {
    RunRow summary;
    std::vector<RunStory> runs;
};

/// Training runs side by side: summary, losses, routing, speed, events, settings.
Page training_page(std::span<const PageRow> rows);

/// Reads the runs of these rows once more, whole, and writes their page.
/// @throws IoError when a run cannot be read or the page not be written; ConfigError when another file is there
void write_training_page(const std::filesystem::path& path, std::span<const RunRow> rows);

/// The parts of that page.
void add_losses(Page& page, std::span<const PageRow> rows);
void add_routing(Page& page, std::span<const PageRow> rows);
void add_speed(Page& page, std::span<const PageRow> rows);
void add_events(Page& page, std::span<const PageRow> rows);
void add_settings(Page& page, std::span<const PageRow> rows);

/// What leaps from step to step is drawn as the mean of each and of so many steps to either side, with the steps pale behind
/// it; runs of fewer than eight times as many as they are.
inline constexpr std::size_t kStepsAside = 16;

/// A figure of a number that every step has.
struct StepFigure {
    std::string title;
    std::string description;
    std::string y_label;
    double TrainingStep::*y = nullptr;
    std::string x_label = "steps";
    double TrainingStep::*x = &TrainingStep::step;
    std::size_t steps_aside = kStepsAside;  ///< 0: it is drawn as it is
};

/// That figure of all runs, long ones smoothed. Steps without targets have no loss.
LinePlot step_plot(std::span<const PageRow> rows, const StepFigure& figure);

}  // namespace sy::runtime
