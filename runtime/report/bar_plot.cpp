#include <algorithm>

#include "kernels/core/error.hpp"
#include "runtime/report/drawing.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/plot.hpp"

namespace sy::runtime {
namespace {

void check(const BarPlot& plot) {
    for (const BarPart& part : plot.parts) {
        if (part.values.size() != plot.bars.size()) {
            throw ShapeError(concat("figure ", plot.title, ": part ", part.name, " has ", part.values.size(),
                                    " values for ", plot.bars.size(), " bars"));
        }
    }
}

bool can_stack(const PlacedAxis& axis, double value) {
    return axis.has(value) && value >= 0.0;
}

/// Height of each bar.
std::vector<double> sums(const BarPlot& plot) {
    const PlacedAxis any(Axis{}, {}, Ends::data, 0.0, 1.0);
    std::vector<double> heights(plot.bars.size(), 0.0);
    for (const BarPart& part : plot.parts) {
        for (std::size_t bar = 0; bar < heights.size(); ++bar) {
            if (can_stack(any, part.values[bar])) heights[bar] += part.values[bar];
        }
    }
    return heights;
}

std::string rectangle(double x, double width, double from, double to, std::size_t colour,
                      const std::string& tooltip) {
    return concat("<rect class=\"", colour_class(colour), "\" x=\"", coordinate(x), "\" y=\"", coordinate(to),
                  "\" width=\"", coordinate(width), "\" height=\"", coordinate(from - to), "\"><title>",
                  escape(tooltip), "</title></rect>\n");
}

}  // namespace

std::string figure(const BarPlot& plot) {
    check(plot);
    const std::vector<double> heights = sums(plot);
    Frame frame;
    frame.top += kTextHeight;  // for the sums
    std::vector<double> values = heights;
    values.push_back(0.0);
    const PlacedAxis axis(Axis{plot.y_label}, values, Ends::ticks, frame.bottom, frame.top);
    frame.left = room_for(axis.ticks());

    Drawing drawing{plot.title, plot.description};
    drawing.content = y_axis_markup(axis, frame, plot.y_label);
    const double slot =
        (frame.right - frame.left) / static_cast<double>(std::max<std::size_t>(1, heights.size()));
    const double width = std::min(0.7 * slot, 60.0);
    std::vector<PlacedName> names;
    index_t left_out = 0;
    for (std::size_t bar = 0; bar < heights.size(); ++bar) {
        const double centre = frame.left + (static_cast<double>(bar) + 0.5) * slot;
        double below = 0.0;
        for (std::size_t i = 0; i < plot.parts.size(); ++i) {
            const double value = plot.parts[i].values[bar];
            if (!can_stack(axis, value)) {
                ++left_out;
                continue;
            }
            drawing.content +=
                rectangle(centre - 0.5 * width, width, axis.place(below), axis.place(below + value), i,
                          concat(plot.bars[bar], ", ", plot.parts[i].name, ": ", short_number(value)));
            below += value;
        }
        if (const std::string sum = short_number(heights[bar]); heights[bar] > 0.0 && text_width(sum) <= slot)
            drawing.content += text_markup(centre, axis.place(heights[bar]) - 4.0, "x name sum", sum);
        names.push_back({centre, shortened(plot.bars[bar], std::max(slot - 4.0, 40.0))});
    }
    drawing.content += x_names_markup(names, frame, plot.x_label);
    for (std::size_t i = 0; i < plot.parts.size(); ++i)
        drawing.legend.push_back({"area " + colour_class(i), plot.parts[i].name});
    if (std::ranges::all_of(heights, [](double height) { return height == 0.0; }))
        drawing.notes.emplace_back("There are no values to draw.");
    if (left_out > 0)
        drawing.notes.push_back(concat(left_out, left_out == 1 ? " value is" : " values are",
                                       " not finite or below zero and left out."));
    return figure_markup(drawing);
}

}  // namespace sy::runtime
