#include <algorithm>
#include <map>
#include <set>

#include "kernels/core/error.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/training_page.hpp"

namespace sy::runtime {
namespace {

/// Lines of a table of events; a run with more has the first of them there, and all in its figure.
constexpr std::size_t kMostLines = 100;

EventPlot event_plot(const RunStory& run, double last_step) {
    EventPlot plot;
    plot.title = concat(run.name, ": events");
    plot.x.label = "steps";
    plot.x.low = 0.0;
    plot.x.high = last_step;
    std::map<EventKind, std::vector<double>> places;
    for (const RunEvent& event : run.events) places[event.kind].push_back(event.step);
    plot.description = "What happened after which step:";
    for (auto& [kind, steps] : places) {
        const auto number = static_cast<std::size_t>(kind);
        const char* name = kEventNames[number];
        plot.description += concat(" ", steps.size(), " ", name, ";");
        plot.rows.push_back({concat(name, " (", steps.size(), ")"), std::move(steps), number});
    }
    return plot;
}

Table event_table(const RunStory& run) {
    Table table{
        concat(run.name, ": events, without checkpoints and skipped steps"), {"step", "what", "more"}, {}};
    std::size_t left_out = 0;
    for (const RunEvent& event : run.events) {
        if (event.kind == EventKind::checkpoint || event.kind == EventKind::skipped) continue;
        if (table.rows.size() == kMostLines) {
            ++left_out;
            continue;
        }
        table.rows.push_back(
            {fixed_text(event.step, 0), kEventName[static_cast<std::size_t>(event.kind)], event.text});
    }
    if (left_out > 0) table.caption += concat("; ", left_out, " later ones are in the figure alone");
    return table;
}

double last_step_of(std::span<const PageRow> rows) {
    double last = 1.0;
    for (const PageRow& row : rows) {
        for (const RunStory& run : row.runs) {
            if (!run.steps.empty()) last = std::max(last, run.steps.back().step);
            for (const RunEvent& event : run.events) last = std::max(last, event.step);
        }
    }
    return last;
}

using Settings = std::map<std::string, std::string>;

/// Settings that not all runs have alike: a line each, a column a run.
Table differences(const std::vector<const RunStory*>& runs) {
    Table table{"Settings that differ", {"setting"}, {}};
    std::vector<Settings> of_runs;
    std::set<std::string> names;
    for (const RunStory* run : runs) {
        table.head.push_back(run->name);
        of_runs.emplace_back(run->settings.begin(), run->settings.end());
        for (const auto& [name, value] : run->settings) names.insert(name);
    }
    for (const std::string& name : names) {
        std::vector<std::string> line{name};
        for (const Settings& settings : of_runs) {
            const auto found = settings.find(name);
            line.push_back(found == settings.end() ? "-" : found->second);
        }
        const bool alike = std::all_of(line.begin() + 1, line.end(),
                                       [&](const std::string& value) { return value == line[1]; });
        if (!alike) table.rows.push_back(std::move(line));
    }
    return table;
}

Table launch_table(const std::vector<const RunStory*>& runs) {
    Table table{"Starts of the program",
                {"run", "from step", "layout", "threads a rank", "host of rank 0", "instructions", "version",
                 "notes"},
                {}};
    for (const RunStory* run : runs) {
        for (const Launch& launch : run->launches) {
            std::string notes;
            for (const std::string& note : launch.notes) notes += (notes.empty() ? "" : "; ") + note;
            table.rows.push_back({run->name, concat(launch.first_step), launch.layout, launch.threads,
                                  launch.host, launch.isa, launch.version, notes});
        }
    }
    return table;
}

std::vector<const RunStory*> all_runs(std::span<const PageRow> rows) {
    std::vector<const RunStory*> runs;
    for (const PageRow& row : rows) {
        for (const RunStory& run : row.runs) runs.push_back(&run);
    }
    return runs;
}

}  // namespace

void add_events(Page& page, std::span<const PageRow> rows) {
    page.section("Events");
    const double last_step = last_step_of(rows);
    for (const RunStory* run : all_runs(rows)) {
        if (run->events.empty()) {
            page.paragraph(concat(run->name, ": none."));
            continue;
        }
        page.add(event_plot(*run, last_step));
        if (const Table table = event_table(*run); !table.rows.empty()) page.table(table);
    }
}

void add_settings(Page& page, std::span<const PageRow> rows) {
    page.section("Settings");
    const std::vector<const RunStory*> runs = all_runs(rows);
    page.table(launch_table(runs));
    if (runs.size() > 1) {
        const Table table = differences(runs);
        if (table.rows.empty()) page.paragraph("All runs have the same settings.");
        if (!table.rows.empty()) page.table(table);
    }
    for (const RunStory* run : runs) {
        Table table{"As the last start had them", {"setting", "value"}, {}};
        for (const auto& [name, value] : run->settings) table.rows.push_back({name, value});
        page.begin_fold(concat(run->name, ": all settings"));
        page.table(table);
        page.end_fold();
    }
}

}  // namespace sy::runtime
