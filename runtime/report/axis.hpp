#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/report/plot.hpp"

namespace sy::runtime {

struct Tick {
    double value = 0.0;
    std::string label;
};

/// Where an axis ends when it is not told: at the first and last value, or at the ticks around them.
enum class Ends { data, ticks };

/// An axis with its range and its place in a drawing.
class PlacedAxis {
  public:
    /// @param values  those that the axis has to show
    /// @param from    where in the drawing the axis begins, and
    /// @param to      ends
    PlacedAxis(const Axis& axis, std::span<const double> values, Ends ends, double from, double to);

    /// Whether the value can be on the axis: finite, and above zero where it is logarithmic.
    bool has(double value) const;
    /// Where the value is, beyond the ends too. @pre has(value)
    double place(double value) const;
    /// Share of the range below the value, from 0 to 1: values beyond the ends are at the ends. @pre has(value)
    double share(double value) const;
    const std::vector<Tick>& ticks() const { return ticks_; }

  private:
    Scale scale_;
    double from_;
    double to_;
    double low_ = 0.0;  ///< of the scaled value
    double high_ = 1.0;
    std::vector<Tick> ticks_;
};

}  // namespace sy::runtime
