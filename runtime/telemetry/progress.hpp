#pragma once

#include <functional>
#include <ostream>
#include <string>

#include "runtime/telemetry/records.hpp"

namespace sy::runtime {

/// How progress is shown: one line that is rewritten (terminals), or a line now and then (files, mpirun).
enum class ProgressStyle { live, lines };

/// `live` when standard output is a terminal. Launchers give ranks a terminal of their own whatever becomes of the
/// output, so under one it is `lines`.
enum class Launcher { no, yes };
ProgressStyle progress_style_of_stdout(Launcher launcher);

/// Tells people how a run goes.
class Progress {
  public:
    struct Options {
        ProgressStyle style = ProgressStyle::lines;
        index_t first_step = 1;
        index_t last_step = 1;
        index_t every = 10;           ///< steps between lines; the first and the last step are always shown
        std::function<double()> now;  ///< seconds; for the time left
    };
    Progress(std::ostream& out, Options options);
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    /// Ends an unfinished live line.
    ~Progress();

    void step(const StepRecord& record);
    /// A line of its own.
    void note(const std::string& text);

  private:
    void end_live_line();

    std::ostream& out_;
    Options options_;
    double start_;
    double shown_at_;
    std::size_t live_width_ = 0;  ///< 0: no live line is open
};

/// "45 s", "2:05", "1:02:05"
std::string duration_text(double seconds);

/// "step 20/400  loss 2.3456  12345 tokens/s  comm 12 %  imbalance 1.23  dropped 0  left 2:05"
std::string progress_line(const StepRecord& record, index_t last_step, double seconds_left);

}  // namespace sy::runtime
