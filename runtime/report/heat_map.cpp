#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/core/error.hpp"
#include "runtime/report/drawing.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/plot.hpp"

namespace sy::runtime {
namespace {

/// Colours that a map has, from the lowest value to the highest. A path holds all cells of a colour, which is much shorter
/// than a rectangle each.
constexpr std::size_t kNumLevels = 33;

struct Colour {
    double red, green, blue;
};

/// Corners of the scales, evenly spaced. Sequential: viridis, of matplotlib. Diverging: after ColorBrewer's RdBu.
constexpr std::array kSequential{Colour{68, 1, 84}, Colour{59, 82, 139}, Colour{33, 145, 140},
                                 Colour{94, 201, 98}, Colour{253, 231, 37}};
constexpr std::array kDiverging{Colour{5, 48, 97}, Colour{67, 147, 195}, Colour{225, 225, 225},
                                Colour{214, 96, 77}, Colour{103, 0, 31}};

std::string hex(double value) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto whole = static_cast<std::size_t>(std::lround(value));
    return {kDigits[whole / 16], kDigits[whole % 16]};
}

std::string colour_of(Colours colours, std::size_t level) {
    const auto& corners = colours == Colours::sequential ? kSequential : kDiverging;
    const double place =
        static_cast<double>(level) * static_cast<double>(corners.size() - 1) / (kNumLevels - 1);
    const std::size_t left = std::min(static_cast<std::size_t>(place), corners.size() - 2);
    const double share = place - static_cast<double>(left);
    const auto mixed = [&](double Colour::*part) {
        return hex(corners[left].*part * (1.0 - share) + corners[left + 1].*part * share);
    };
    return concat("#", mixed(&Colour::red), mixed(&Colour::green), mixed(&Colour::blue));
}

void check(const HeatMap& map) {
    if (map.values.size() != map.rows.size() * map.columns.size()) {
        throw ShapeError(concat("figure ", map.title, ": ", map.values.size(), " values for ",
                                map.rows.size(), " rows of ", map.columns.size(), " columns"));
    }
}

std::string cell(double x, double y, double width, double height) {
    return concat("M", coordinate(x), " ", coordinate(y), "h", coordinate(width), "v", coordinate(height),
                  "h-", coordinate(width), "z");
}

/// As many rows as there is room for have a name.
std::string row_names(const HeatMap& map, const Frame& frame, double height) {
    std::string text;
    double taken = 0.0;
    for (std::size_t row = 0; row < map.rows.size(); ++row) {
        const double centre = frame.top + (static_cast<double>(row) + 0.5) * height;
        if (centre - 0.5 * kTextHeight < taken) continue;
        taken = centre + 0.5 * kTextHeight + 2.0;
        text += text_markup(frame.left - 5.0, centre + 0.35 * kTextHeight, "y name",
                            shortened(map.rows[row], frame.left - 5.0));
    }
    return text;
}

std::string column_names(const HeatMap& map, const Frame& frame, double width) {
    std::vector<PlacedName> names;
    for (std::size_t column = 0; column < map.columns.size(); ++column)
        names.push_back({frame.left + (static_cast<double>(column) + 0.5) * width,
                         shortened(map.columns[column], std::max(width, 60.0))});
    return x_names_markup(names, frame, map.x_label);
}

/// What the colours mean, with ticks below.
std::string scale_markup(const HeatMap& map, const PlacedAxis& axis, double top) {
    Frame frame{kWidth - 200.0, kWidth - 12.0, top, top + 10.0};
    std::string text = text_markup(0.0, top + 10.0, "label", shortened(map.value.label, frame.left - 8.0));
    const double width = (frame.right - frame.left) / static_cast<double>(kNumLevels);
    for (std::size_t level = 0; level < kNumLevels; ++level) {
        // Neighbours overlap a little, so that no line shows between them.
        text += concat("<path class=\"scale\" fill=\"", colour_of(map.colours, level), "\" d=\"",
                       cell(frame.left + static_cast<double>(level) * width, frame.top,
                            level + 1 < kNumLevels ? width + 0.5 : width, 10.0),
                       "\"/>");
    }
    text += "\n";
    std::vector<PlacedName> names;
    for (const Tick& tick : axis.ticks()) {
        const double place = frame.left + axis.share(tick.value) * (frame.right - frame.left);
        names.push_back({place, tick.label});
    }
    return text + x_names_markup(names, frame, "");
}

}  // namespace

std::string figure(const HeatMap& map) {
    check(map);
    const PlacedAxis axis(map.value, map.values, Ends::data, 0.0, 1.0);
    Frame frame;
    double widest = 0.0;
    for (const std::string& name : map.rows) widest = std::max(widest, text_width(name));
    frame.left = std::min(widest, 100.0) + 8.0;
    const double num_rows = static_cast<double>(std::max<std::size_t>(1, map.rows.size()));
    frame.bottom = frame.top + std::clamp(20.0 * num_rows, 60.0, 240.0);
    const double height = (frame.bottom - frame.top) / num_rows;
    const double width =
        (frame.right - frame.left) / static_cast<double>(std::max<std::size_t>(1, map.columns.size()));

    std::array<std::string, kNumLevels> paths;
    std::string missing;
    index_t left_out = 0;
    index_t beyond = 0;
    for (std::size_t i = 0; i < map.values.size(); ++i) {
        const double x = frame.left + static_cast<double>(i % map.columns.size()) * width;
        const double y = frame.top + static_cast<double>(i / map.columns.size()) * height;
        const double value = map.values[i];
        // Zero is below every logarithmic range, and has the colour of its end.
        const bool is_low = map.value.scale != Scale::linear && std::isfinite(value) && !axis.has(value);
        if (!axis.has(value) && !is_low) {
            missing += cell(x, y, width, height);
            ++left_out;
            continue;
        }
        if (is_low || axis.place(value) < -1e-9 || axis.place(value) > 1.0 + 1e-9) ++beyond;
        const double share = is_low ? 0.0 : axis.share(value);
        const auto level = static_cast<std::size_t>(std::lround(share * static_cast<double>(kNumLevels - 1)));
        paths[level] += cell(x, y, width, height);
    }

    Drawing drawing{map.title, map.description};
    drawing.height = frame.bottom + 77.0;
    drawing.content = text_markup(0.0, kTextHeight, "label", shortened(map.y_label, kWidth));
    if (!missing.empty()) drawing.content += concat("<path class=\"missing\" d=\"", missing, "\"/>\n");
    for (std::size_t level = 0; level < kNumLevels; ++level) {
        if (paths[level].empty()) continue;
        drawing.content += concat("<path class=\"cells\" fill=\"", colour_of(map.colours, level), "\" d=\"",
                                  paths[level], "\"/>\n");
    }
    drawing.content += row_names(map, frame, height) + column_names(map, frame, width) +
                       scale_markup(map, axis, frame.bottom + 44.0);
    if (const std::string note = left_out_note(left_out, Scale::linear); !note.empty())
        drawing.notes.push_back(note);
    if (beyond > 0)
        drawing.notes.push_back(concat(
            beyond,
            beyond == 1 ? " value lies beyond the scale and has" : " values lie beyond the scale and have",
            " the colour of its end."));
    return figure_markup(drawing);
}

}  // namespace sy::runtime
