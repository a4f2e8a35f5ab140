#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/json/json.hpp"

namespace sy::runtime {

/// How rows of a benchmark are printed: a table for people, or one JSON object a line.
enum class ReportStyle { table, json };

/// Times of one repeated measurement, in milliseconds.
struct Times {
    double best_ms = 0.0;
    double median_ms = 0.0;
};

/// One measurement and whether the result that was timed is right.
struct BenchRow {
    std::string what;   ///< "gemm", "layer", ...
    std::string shape;  ///< "4096 x 512 x 1408", "coarse"
    std::string dtype;  ///< of inputs of products, or of rows
    std::string mode;   ///< "fast" or "reproducible"
    std::string pass;   ///< "forward", "dispatch", ...
    int ranks = 1;
    int threads = 1;  ///< of a rank
    Times times;
    double rate = 0.0;       ///< in the unit of the report's rate column; 0: none
    double share = 0.0;      ///< of what the report's share column names; 0: none
    double error = 0.0;      ///< of the result, as the report's error column says
    double tolerance = 0.0;  ///< the row is right when error <= tolerance
};

/// Prints rows as they are measured and remembers whether all were right.
class Report {
  public:
    /// Names of the columns that mean something else in each benchmark.
    struct Columns {
        std::string rate;   ///< "GFLOP/s"
        std::string share;  ///< "of peak"
        std::string error;  ///< what `error` is: "largest relative error against sums in double"
    };
    Report(std::ostream& out, ReportStyle style, Columns columns);

    void row(const BenchRow& row);
    /// A line for people; nothing in JSON.
    void note(const std::string& text);
    /// A row of another kind, in both styles. @param text  the row for people
    void extra(const Json& object, const std::string& text);

    bool all_right() const { return all_right_; }

  private:
    std::ostream& out_;
    ReportStyle style_;
    Columns columns_;
    bool headed_ = false;
    bool all_right_ = true;
};

}  // namespace sy::runtime
