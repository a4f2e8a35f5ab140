#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

/// Figures of a page, drawn as SVG: lines, stacked bars, heat maps and events. A figure is a piece of HTML that stands in a
/// Page; it needs no script and nothing from outside. Texts may be anything: they are escaped.
///
/// A value that is not finite, or not above zero on a logarithmic axis, is left out: a line has a gap there, and a
/// sentence below the figure counts such values.
namespace sy::runtime {

enum class Scale { linear, log2, log10 };

struct Axis {
    std::string label;  ///< with its unit
    Scale scale = Scale::linear;
    std::optional<double> low = std::nullopt;  ///< where the axis begins; not given: by the data
    std::optional<double> high = std::nullopt;
};

enum class Origin { measured, predicted };  ///< a predicted series is dashed, and its name says so
enum class Spread { bars, band };           ///< how intervals are drawn
enum class Weight { full, faint };          ///< a faint line stands behind the one that sums it up

struct Series {
    std::string name;  ///< empty: not in the legend
    std::vector<double> x;
    std::vector<double> y;  ///< one for each x
    std::vector<double> low =
        {};  ///< lower end of the interval of each y; NaN: this one has none; empty: none has
    std::vector<double> high = {};  ///< upper ends, as many
    Spread spread = Spread::bars;
    Origin origin = Origin::measured;
    Weight weight = Weight::full;
    std::optional<std::size_t> colour = std::nullopt;  ///< not given: the place among the series
};

/// Lines through points. Series of one name and colour share an entry of the legend. A series of more points than the
/// figure has columns is thinned to the first, lowest, highest and last point of each column, so that no spike is lost.
struct LinePlot {
    std::string title;
    std::string description;  ///< what it shows, for those who cannot see it, and how to read it
    Axis x;
    Axis y;
    std::vector<Series> series = {};
};

/// One part of every bar.
struct BarPart {
    std::string name;
    std::vector<double> values;  ///< one for each bar, not negative
};

/// Bars side by side, each a stack of its parts from zero on, with the sum above it.
struct BarPlot {
    std::string title;
    std::string description;
    std::string x_label;
    std::string y_label;
    std::vector<std::string> bars;    ///< names
    std::vector<BarPart> parts = {};  ///< from the bottom
};

/// How values become colours: from pale to dark; or from blue over grey to red, grey in the middle of the range.
enum class Colours { sequential, diverging };

/// A grid of cells, each coloured by its value.
struct HeatMap {
    std::string title;
    std::string description;
    std::string x_label;
    std::string y_label;
    std::vector<std::string> columns;  ///< names, from the left
    std::vector<std::string> rows;     ///< names, from the top
    std::vector<double> values;        ///< [rows, columns], row by row
    Axis value;  ///< what the colours mean; values beyond its ends have the colour of the end
    Colours colours = Colours::sequential;
};

/// Events of one kind.
struct EventRow {
    std::string name;
    std::vector<double> x;
    std::optional<std::size_t> colour = std::nullopt;  ///< not given: the place among the rows
};

/// When what happened: a row for each kind.
struct EventPlot {
    std::string title;
    std::string description;
    Axis x;
    std::vector<EventRow> rows = {};
};

/// @throws ShapeError where series, parts or cells have not as many values as the figure needs
std::string figure(const LinePlot& plot);
std::string figure(const BarPlot& plot);
std::string figure(const HeatMap& map);
std::string figure(const EventPlot& plot);

}  // namespace sy::runtime
