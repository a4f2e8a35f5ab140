#include "runtime/bench/report.hpp"

#include <iomanip>
#include <sstream>

#include "kernels/core/error.hpp"
#include "kernels/core/isa.hpp"

namespace sy::runtime {
namespace {

/// A number in a column of its own width, blank when there is none.
std::string cell(double value, int width, int precision) {
    std::ostringstream text;
    text << std::setw(width);
    if (value == 0.0) {
        text << "";
    } else {
        text << std::fixed << std::setprecision(precision) << value;
    }
    return text.str();
}

bool is_right(const BenchRow& row) {
    return row.error <= row.tolerance;
}

}  // namespace

Report::Report(std::ostream& out, ReportStyle style, Columns columns)
    : out_(out), style_(style), columns_(std::move(columns)) {}

void Report::row(const BenchRow& row) {
    all_right_ = all_right_ && is_right(row);
    if (style_ == ReportStyle::json) {
        out_ << Json(Json::Object{{"what", row.what},
                                  {"shape", row.shape},
                                  {"dtype", row.dtype},
                                  {"mode", row.mode},
                                  {"pass", row.pass},
                                  {"ranks", row.ranks},
                                  {"threads", row.threads},
                                  {"isa", std::string(isa_name(isa()))},
                                  {"best_ms", row.times.best_ms},
                                  {"median_ms", row.times.median_ms},
                                  {columns_.rate, row.rate},
                                  {columns_.share, row.share},
                                  {"error", row.error},
                                  {"right", is_right(row)}})
                    .text()
             << std::endl;
        return;
    }
    if (!headed_) {
        out_ << std::left << std::setw(30) << "shape" << std::setw(24) << "pass" << std::setw(6) << "dtype"
             << std::setw(14) << "mode" << std::right << std::setw(11) << "best ms" << std::setw(11)
             << "median ms" << std::setw(11) << columns_.rate << std::setw(14) << columns_.share
             << std::setw(11) << "error"
             << "\n";
        headed_ = true;
    }
    out_ << std::left << std::setw(30) << row.shape << std::setw(24) << row.pass << std::setw(6) << row.dtype
         << std::setw(14) << row.mode << cell(row.times.best_ms, 11, 3) << cell(row.times.median_ms, 11, 3)
         << cell(row.rate, 11, 2) << cell(row.share, 14, 3) << std::right << std::setw(11)
         << std::defaultfloat << std::setprecision(2) << row.error << (is_right(row) ? "  right" : "  WRONG")
         << std::endl;
}

void Report::note(const std::string& text) {
    if (style_ == ReportStyle::table) out_ << text << std::endl;
}

void Report::extra(const Json& object, const std::string& text) {
    if (style_ == ReportStyle::json) {
        out_ << object.text() << std::endl;
    } else {
        out_ << text << std::endl;
    }
}

}  // namespace sy::runtime
