#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/core/types.hpp"
#include "runtime/report/axis.hpp"

/// What all figures are made of. Lengths are units of the drawing, which is kWidth wide and shrinks or grows with the page;
/// the page's style gives texts a size of at most kTextHeight.
namespace sy::runtime {

inline constexpr double kWidth = 400.0;
inline constexpr double kTextHeight = 12.0;
inline constexpr double kCharacterWidth = 7.6;  ///< of a digit at that size, in a wide font
/// Colours of series before they repeat, dotted.
inline constexpr std::size_t kNumColours = 8;

/// The area that data has.
struct Frame {
    double left = 40.0;
    double right = kWidth - 12.0;
    double top = 22.0;
    double bottom = 216.0;
};

/// A series in the legend: the CSS classes of its key, and its name.
struct LegendEntry {
    std::string classes;
    std::string name;
    friend bool operator==(const LegendEntry&, const LegendEntry&) = default;
};

/// The parts of a figure. Lines of the drawing are markup, the rest plain text.
struct Drawing {
    std::string title;
    std::string description;
    double height = 253.0;
    std::vector<LegendEntry> legend = {};
    std::string content = {};
    std::vector<std::string> notes = {};  ///< sentences below
};

std::string figure_markup(const Drawing& drawing);

/// "c3", or "c3 dotted" for a colour beyond the last.
std::string colour_class(std::size_t colour);

std::string text_markup(double x, double y, std::string_view classes, std::string_view text);

/// The text, cut to fit the width, with an ellipsis.
std::string shortened(std::string_view text, double width);
/// The width that a text takes at most.
double text_width(std::string_view text);

/// Room that the labels of a vertical axis need on its left.
double room_for(std::span<const Tick> ticks);

/// Lines, ticks and labels, the vertical axis with a line across the frame for each tick.
std::string x_axis_markup(const PlacedAxis& axis, const Frame& frame, std::string_view label);
std::string y_axis_markup(const PlacedAxis& axis, const Frame& frame, std::string_view label);

/// A label at each place, as many as there is room for.
struct PlacedName {
    double place;
    std::string name;
};
std::string x_names_markup(std::span<const PlacedName> names, const Frame& frame, std::string_view label);

/// "3 values are not finite and left out."; empty without any.
std::string left_out_note(index_t count, Scale scale);

}  // namespace sy::runtime
