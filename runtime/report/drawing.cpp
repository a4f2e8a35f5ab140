#include "runtime/report/drawing.hpp"

#include <algorithm>

#include "kernels/core/error.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/report/markup.hpp"

namespace sy::runtime {
namespace {

std::string legend_markup(const std::vector<LegendEntry>& legend) {
    if (legend.empty()) return {};
    std::string text = "<ul class=\"legend\">";
    for (const LegendEntry& entry : legend) {
        text += concat("<li><svg class=\"key\" viewBox=\"0 0 24 10\" aria-hidden=\"true\"><path class=\"",
                       entry.classes, "\" d=\"M1 5H23\"/></svg> ", escape(entry.name), "</li>");
    }
    return text + "</ul>\n";
}

std::string line(double x1, double y1, double x2, double y2, std::string_view classes) {
    return concat("<path class=\"", classes, "\" d=\"M", coordinate(x1), " ", coordinate(y1), "L",
                  coordinate(x2), " ", coordinate(y2), "\"/>\n");
}

std::size_t num_characters(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char byte) { return !continues_character(byte); }));
}

}  // namespace

std::string figure_markup(const Drawing& drawing) {
    std::string text = concat("<figure>\n<figcaption>", escape(drawing.title), "</figcaption>\n",
                              legend_markup(drawing.legend));
    text += concat("<svg role=\"img\" viewBox=\"0 0 ", coordinate(kWidth), " ", coordinate(drawing.height),
                   "\"><title>", escape(drawing.title), "</title><desc>", escape(drawing.description),
                   "</desc>\n", drawing.content, "</svg>\n");
    for (const std::string& note : drawing.notes)
        text += concat("<p class=\"note\">", escape(note), "</p>\n");
    return text + "</figure>\n";
}

std::string colour_class(std::size_t colour) {
    return concat("c", colour % kNumColours, colour >= kNumColours ? " dotted" : "");
}

std::string text_markup(double x, double y, std::string_view classes, std::string_view text) {
    return concat("<text class=\"", classes, "\" x=\"", coordinate(x), "\" y=\"", coordinate(y), "\">",
                  escape(text), "</text>\n");
}

double text_width(std::string_view text) {
    return kCharacterWidth * static_cast<double>(num_characters(text));
}

std::string shortened(std::string_view text, double width) {
    const std::string valid = valid_utf8(text);
    const auto most = static_cast<std::size_t>(std::max(2.0, width / kCharacterWidth));
    if (num_characters(valid) <= most) return valid;
    std::size_t end = 0;
    for (std::size_t i = 0; i + 1 < most; ++i) end += character_bytes(valid, end);
    return valid.substr(0, end) + "\xE2\x80\xA6";
}

double room_for(std::span<const Tick> ticks) {
    double widest = 0.0;
    for (const Tick& tick : ticks) widest = std::max(widest, text_width(tick.label));
    return widest + 8.0;
}

std::string x_axis_markup(const PlacedAxis& axis, const Frame& frame, std::string_view label) {
    std::vector<PlacedName> names;
    std::string text;
    for (const Tick& tick : axis.ticks()) {
        const double place = axis.place(tick.value);
        text += line(place, frame.bottom, place, frame.bottom + 4.0, "tick");
        names.push_back({place, tick.label});
    }
    return text + x_names_markup(names, frame, label);
}

std::string y_axis_markup(const PlacedAxis& axis, const Frame& frame, std::string_view label) {
    std::string text = text_markup(0.0, kTextHeight, "label", shortened(label, kWidth));
    for (const Tick& tick : axis.ticks()) {
        const double place = axis.place(tick.value);
        text += line(frame.left, place, frame.right, place, "grid");
        text += text_markup(frame.left - 5.0, place + 0.35 * kTextHeight, "y name", tick.label);
    }
    return text;
}

std::string x_names_markup(std::span<const PlacedName> names, const Frame& frame, std::string_view label) {
    std::string text = line(frame.left, frame.bottom, frame.right, frame.bottom, "axis");
    // Names are centred, but those at the ends stay inside the drawing.
    double taken = -kWidth;
    for (const PlacedName& name : names) {
        const double half = 0.5 * text_width(name.name);
        const double centre = std::clamp(name.place, half, std::max(half, kWidth - half));
        if (centre - half < taken) continue;
        taken = centre + half + kCharacterWidth;
        text += text_markup(centre, frame.bottom + 18.0, "x name", name.name);
    }
    return text + text_markup(frame.right, frame.bottom + 33.0, "x label", shortened(label, frame.right));
}

std::string left_out_note(index_t count, Scale scale) {
    if (count == 0) return {};
    return concat(count, count == 1 ? " value is not finite" : " values are not finite",
                  scale == Scale::linear ? "" : " or not above zero", " and left out.");
}

}  // namespace sy::runtime
