#include <algorithm>
#include <cmath>

#include "kernels/core/error.hpp"
#include "runtime/report/training_page.hpp"

namespace sy::runtime {
namespace {

/// The colours of all load maps mean the same, so that maps of layers and runs can be compared.
Axis load_scale() {
    Axis scale;
    scale.label = "load over mean";
    scale.scale = Scale::log2;
    scale.low = 0.25;
    scale.high = 4.0;
    return scale;
}

std::vector<std::string> numbers_to(std::size_t count) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) names.push_back(concat(i));
    return names;
}

/// Layers with as many experts as the first, over their experts. Others, which a mixture of models may have, get none.
HeatMap layers_map(const std::string& title, const LoadHistory& history, const LoadSpan& span) {
    HeatMap map{
        title,
        "Choices of each expert over the mean of its layer: grey is balance, red is more, blue is less",
        "expert",
        "layer",
        {},
        {},
        {},
        load_scale(),
        Colours::diverging};
    std::size_t most = 0;
    for (const auto& loads : span.loads) most = std::max(most, loads.size());
    map.columns = numbers_to(most);
    for (std::size_t layer = 0; layer < span.loads.size(); ++layer) {
        map.rows.push_back(concat(history.layers()[layer]));
        std::vector<double> values = over_mean(span.loads[layer]);
        values.resize(most, std::nan(""));
        map.values.insert(map.values.end(), values.begin(), values.end());
    }
    return map;
}

/// The experts of one layer over time.
HeatMap time_map(const std::string& title, std::span<const LoadSpan> spans, std::size_t layer) {
    HeatMap map{
        title,
        "Choices of each expert over the mean of the layer, over the run: grey is balance, red is more, "
        "blue is less",
        "steps, each column from",
        "expert",
        {},
        {},
        {},
        load_scale(),
        Colours::diverging};
    const std::size_t experts = spans.front().loads[layer].size();
    map.rows = numbers_to(experts);
    map.values.resize(experts * spans.size());
    for (std::size_t column = 0; column < spans.size(); ++column) {
        map.columns.push_back(concat(spans[column].first_step));
        const std::vector<double> values = over_mean(spans[column].loads[layer]);
        for (std::size_t expert = 0; expert < experts; ++expert)
            map.values[expert * spans.size() + column] = values[expert];
    }
    return map;
}

/// The layer whose busiest expert is furthest above its mean.
std::size_t worst_layer(const LoadSpan& span) {
    std::size_t worst = 0;
    double highest = 0.0;
    for (std::size_t layer = 0; layer < span.loads.size(); ++layer) {
        const std::vector<double> values = over_mean(span.loads[layer]);
        const double load = values.empty() ? 0.0 : std::ranges::max(values);
        if (load > highest) worst = layer;
        highest = std::max(highest, load);
    }
    return worst;
}

/// Experts without any choice, by layer; empty when all had some.
std::string unused_experts(const LoadHistory& history, const LoadSpan& span) {
    std::string text;
    for (std::size_t layer = 0; layer < span.loads.size(); ++layer) {
        const auto unused = std::ranges::count(span.loads[layer], 0.0);
        if (unused > 0)
            text += concat(text.empty() ? "" : "; ", unused, " of ", span.loads[layer].size(), " in layer ",
                           history.layers()[layer]);
    }
    return text;
}

void add_loads(Page& page, const RunStory& run) {
    const LoadHistory& history = run.loads;
    if (history.layers().empty()) return;
    const std::vector<LoadSpan> spans = history.spans();
    const LoadSpan last = history.last_steps();
    const std::size_t worst = worst_layer(last);
    const auto time_title = [&](std::size_t layer) {
        return concat(run.name, ": load of experts over time, layer ", history.layers()[layer]);
    };
    page.add(
        layers_map(concat(run.name, ": load of experts, steps ", last.first_step, " to ", last.last_step),
                   history, last));
    page.add(
        time_map(concat(time_title(worst), history.layers().size() > 1 ? " (least balanced at the end)" : ""),
                 spans, worst));
    if (const std::string unused = unused_experts(history, last); !unused.empty())
        page.paragraph(concat(run.name, ": experts that no token chose in steps ", last.first_step, " to ",
                              last.last_step, ": ", unused, "."));
    if (history.layers().size() == 1) return;
    page.begin_fold(concat(run.name, ": the other layers over time"));
    for (std::size_t layer = 0; layer < history.layers().size(); ++layer) {
        if (layer != worst) page.add(time_map(time_title(layer), spans, layer));
    }
    page.end_fold();
}

}  // namespace

void add_routing(Page& page, std::span<const PageRow> rows) {
    page.section("Routing");
    const bool has_mixtures = std::ranges::any_of(rows, [](const PageRow& row) {
        return std::ranges::any_of(row.runs, [](const RunStory& run) { return !run.loads.layers().empty(); });
    });
    if (!has_mixtures) {
        page.paragraph("No run has mixtures of experts.");
        return;
    }
    page.add(
        step_plot(rows, {"Imbalance", "Highest load of an expert over the mean, worst layer of each step",
                         "highest load over mean, worst layer", &TrainingStep::imbalance}));
    page.add(step_plot(
        rows, {"Routing entropy",
               "Entropy of the experts' shares of the choices over that of equal shares, lowest layer "
               "of each step: 1 is balance, 0 is one expert for all",
               "share of the entropy of balance, lowest layer", &TrainingStep::entropy}));
    page.add(step_plot(rows, {"Dropped choices", "Choices that got no slot, per cent of all of the step",
                              "per cent", &TrainingStep::dropped}));
    page.paragraph(
        "Maps: choices of each expert over the mean of its layer. Grey is balance, red experts are chosen "
        "more "
        "often, blue ones less; the colours mean the same in all maps.");
    for (const PageRow& row : rows) {
        for (const RunStory& run : row.runs) add_loads(page, run);
    }
}

}  // namespace sy::runtime
