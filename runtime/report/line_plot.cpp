#include <algorithm>
#include <cmath>

#include "kernels/core/error.hpp"
#include "runtime/report/drawing.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/plot.hpp"

namespace sy::runtime {
namespace {

/// A series of at most so many points shows each as a dot.
constexpr std::size_t kMostDots = 32;
/// Columns of a drawing that lines are thinned to, a unit.
constexpr double kColumnsPerUnit = 2.0;

struct Place {
    double x;
    double y;
};

/// Points without gap between them.
using Segment = std::vector<Place>;

void check(const LinePlot& plot) {
    for (const Series& series : plot.series) {
        const std::size_t points = series.x.size();
        const bool fits = series.y.size() == points && series.low.size() == series.high.size() &&
                          (series.low.empty() || series.low.size() == points);
        if (!fits) {
            throw ShapeError(concat("figure ", plot.title, ": series ", series.name, " has ", points, " x, ",
                                    series.y.size(), " y, ", series.low.size(), " lower and ",
                                    series.high.size(),
                                    " upper ends of intervals; expected as many of each"));
        }
    }
}

std::string point_text(const Place& place) {
    return coordinate(place.x) + " " + coordinate(place.y);
}

/// First, lowest, highest and last point of each column, in their order. @pre the places go to the right
Segment thinned(const Segment& segment) {
    const auto column = [](const Place& place) { return std::floor(place.x * kColumnsPerUnit); };
    Segment kept;
    for (std::size_t begin = 0; begin < segment.size();) {
        std::size_t end = begin;
        std::size_t lowest = begin;
        std::size_t highest = begin;
        for (; end < segment.size() && column(segment[end]) == column(segment[begin]); ++end) {
            if (segment[end].y > segment[lowest].y) lowest = end;  // y goes down the drawing
            if (segment[end].y < segment[highest].y) highest = end;
        }
        std::vector<std::size_t> chosen{begin, std::min(lowest, highest), std::max(lowest, highest), end - 1};
        chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
        for (const std::size_t i : chosen) kept.push_back(segment[i]);
        begin = end;
    }
    return kept;
}

class LineDrawing {
  public:
    explicit LineDrawing(const LinePlot& plot) : plot_(plot) {}

    std::string markup() {
        place_axes();
        Drawing drawing{plot_.title, plot_.description};
        drawing.content =
            y_axis_markup(*y_, frame_, plot_.y.label) + x_axis_markup(*x_, frame_, plot_.x.label);
        for (std::size_t i = 0; i < plot_.series.size(); ++i) {
            const Series& series = plot_.series[i];
            const std::string classes = classes_of(series, i);
            drawing.content += intervals(series, classes) + lines(series, classes);
            LegendEntry entry{"line " + classes, series.name};
            if (series.origin == Origin::predicted) entry.name += " (predicted)";
            if (series.name.empty()) continue;
            if (std::find(drawing.legend.begin(), drawing.legend.end(), entry) == drawing.legend.end())
                drawing.legend.push_back(entry);
        }
        const Scale scale = plot_.y.scale == Scale::linear ? plot_.x.scale : plot_.y.scale;
        if (const std::string note = left_out_note(left_out_, scale); !note.empty())
            drawing.notes.push_back(note);
        if (beyond_ > 0)
            drawing.notes.push_back(
                concat(beyond_, beyond_ == 1 ? " value lies" : " values lie", " beyond the axes."));
        if (num_drawn_ == 0) drawing.notes.emplace_back("There are no values to draw.");
        return figure_markup(drawing);
    }

  private:
    void place_axes() {
        std::vector<double> x;
        std::vector<double> y;
        for (const Series& series : plot_.series) {
            x.insert(x.end(), series.x.begin(), series.x.end());
            for (const auto* values : {&series.y, &series.low, &series.high})
                y.insert(y.end(), values->begin(), values->end());
        }
        y_.emplace(plot_.y, y, Ends::ticks, frame_.bottom, frame_.top);
        frame_.left = room_for(y_->ticks());
        x_.emplace(plot_.x, x, Ends::data, frame_.left, frame_.right);
    }

    std::string classes_of(const Series& series, std::size_t number) const {
        return colour_class(series.colour.value_or(number)) +
               (series.origin == Origin::predicted ? " predicted" : "") +
               (series.weight == Weight::faint ? " faint" : "");
    }

    bool is_inside(const Place& place) const {
        constexpr double kSlack = 1e-6;
        return place.x >= frame_.left - kSlack && place.x <= frame_.right + kSlack &&
               place.y >= frame_.top - kSlack && place.y <= frame_.bottom + kSlack;
    }

    std::vector<Segment> segments(const Series& series) {
        std::vector<Segment> found(1);
        for (std::size_t i = 0; i < series.x.size(); ++i) {
            const bool has_place = x_->has(series.x[i]) && y_->has(series.y[i]);
            // What sums up a faint line has the same gaps.
            if (!has_place && series.weight == Weight::full) ++left_out_;
            const Place place = has_place ? Place{x_->place(series.x[i]), y_->place(series.y[i])} : Place{};
            const bool shown = has_place && is_inside(place);
            if (has_place && !shown) ++beyond_;
            if (shown) {
                found.back().push_back(place);
            } else if (!found.back().empty()) {
                found.emplace_back();
            }
        }
        if (found.back().empty()) found.pop_back();
        return found;
    }

    std::string lines(const Series& series, const std::string& classes) {
        const bool goes_right = std::is_sorted(series.x.begin(), series.x.end());
        const bool dots = series.x.size() <= kMostDots;
        std::string path;
        std::string circles;
        for (const Segment& segment : segments(series)) {
            const Segment kept = goes_right ? thinned(segment) : segment;
            num_drawn_ += kept.size();
            for (std::size_t i = 0; i < kept.size(); ++i) {
                if (kept.size() > 1) path += concat(i == 0 ? "M" : "L", point_text(kept[i]));
                if (dots || kept.size() == 1) {
                    circles += concat("<circle class=\"dot ", classes, "\" cx=\"", coordinate(kept[i].x),
                                      "\" cy=\"", coordinate(kept[i].y), "\" r=\"2\"/>");
                }
            }
        }
        if (!path.empty()) path = concat("<path class=\"line ", classes, "\" d=\"", path, "\"/>\n");
        return path + circles + (circles.empty() ? "" : "\n");
    }

    std::string intervals(const Series& series, const std::string& classes) const {
        if (series.low.empty()) return {};
        std::string bars;
        Segment upper;
        Segment lower;
        for (std::size_t i = 0; i < series.x.size(); ++i) {
            if (!x_->has(series.x[i]) || !y_->has(series.low[i]) || !y_->has(series.high[i])) continue;
            const double x = x_->place(series.x[i]);
            const double low = std::clamp(y_->place(series.low[i]), frame_.top, frame_.bottom);
            const double high = std::clamp(y_->place(series.high[i]), frame_.top, frame_.bottom);
            if (x < frame_.left - 1e-6 || x > frame_.right + 1e-6) continue;
            const std::string left = coordinate(x - 3.0);
            bars += concat("M", point_text({x, low}), "V", coordinate(high), "M", left, " ", coordinate(low),
                           "h6M", left, " ", coordinate(high), "h6");
            upper.push_back({x, high});
            lower.push_back({x, low});
        }
        if (bars.empty()) return {};
        if (series.spread == Spread::bars)
            return concat("<path class=\"interval ", classes, "\" d=\"", bars, "\"/>\n");
        return concat("<path class=\"band ", classes, "\" d=\"", outline(upper, lower, series), "\"/>\n");
    }

    static std::string outline(const Segment& upper, const Segment& lower, const Series& series) {
        const bool goes_right = std::is_sorted(series.x.begin(), series.x.end());
        Segment around = goes_right ? thinned(upper) : upper;
        const Segment back = goes_right ? thinned(lower) : lower;
        around.insert(around.end(), back.rbegin(), back.rend());
        std::string path;
        for (const Place& place : around) path += concat(path.empty() ? "M" : "L", point_text(place));
        return path + "Z";
    }

    const LinePlot& plot_;
    Frame frame_;
    std::optional<PlacedAxis> x_;
    std::optional<PlacedAxis> y_;
    index_t left_out_ = 0;
    index_t beyond_ = 0;  ///< the ends that the caller has set
    std::size_t num_drawn_ = 0;
};

}  // namespace

std::string figure(const LinePlot& plot) {
    check(plot);
    return LineDrawing(plot).markup();
}

}  // namespace sy::runtime
