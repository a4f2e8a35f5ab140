#include <algorithm>
#include <set>

#include "kernels/core/error.hpp"
#include "runtime/report/drawing.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/plot.hpp"

namespace sy::runtime {

std::string figure(const EventPlot& plot) {
    Frame frame;
    constexpr double kRowHeight = 22.0;
    double widest = 0.0;
    std::vector<double> all;
    for (const EventRow& row : plot.rows) {
        widest = std::max(widest, text_width(row.name));
        all.insert(all.end(), row.x.begin(), row.x.end());
    }
    frame.left = std::min(widest, 180.0) + 8.0;
    frame.top = 4.0;
    frame.bottom = frame.top + kRowHeight * static_cast<double>(std::max<std::size_t>(1, plot.rows.size()));
    const PlacedAxis axis(plot.x, all, Ends::data, frame.left, frame.right);

    Drawing drawing{plot.title, plot.description};
    drawing.height = frame.bottom + 40.0;
    index_t left_out = 0;
    for (std::size_t i = 0; i < plot.rows.size(); ++i) {
        const EventRow& row = plot.rows[i];
        const double y = frame.top + (static_cast<double>(i) + 0.5) * kRowHeight;
        drawing.content += text_markup(frame.left - 5.0, y + 0.35 * kTextHeight, "y name",
                                       shortened(row.name, frame.left - 5.0));
        // Events that would cover each other are drawn once.
        std::set<std::string> places;
        for (const double x : row.x) {
            if (axis.has(x)) {
                places.insert(coordinate(std::clamp(axis.place(x), frame.left, frame.right)));
            } else {
                ++left_out;
            }
        }
        std::string path;
        for (const std::string& place : places) path += concat("M", place, " ", coordinate(y - 7.0), "v14");
        drawing.content += concat("<path class=\"grid\" d=\"M", coordinate(frame.left), " ", coordinate(y),
                                  "H", coordinate(frame.right), "\"/>\n");
        if (!path.empty())
            drawing.content += concat("<path class=\"event ", colour_class(row.colour.value_or(i)), "\" d=\"",
                                      path, "\"/>\n");
    }
    drawing.content += x_axis_markup(axis, frame, plot.x.label);
    if (const std::string note = left_out_note(left_out, plot.x.scale); !note.empty())
        drawing.notes.push_back(note);
    return figure_markup(drawing);
}

}  // namespace sy::runtime
