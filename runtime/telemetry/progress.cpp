#include "runtime/telemetry/progress.hpp"

#include <unistd.h>

#include <cmath>
#include <iomanip>
#include <sstream>

namespace sy::runtime {
namespace {

/// A terminal need not be rewritten more often.
constexpr double kLiveInterval_s = 0.1;

}  // namespace

std::string duration_text(double seconds) {
    const auto whole = static_cast<index_t>(std::llround(std::fmax(seconds, 0.0)));
    if (whole < 60) return concat(whole, " s");
    std::ostringstream text;
    if (whole >= 3600) text << whole / 3600 << ":" << std::setw(2) << std::setfill('0');
    text << whole / 60 % 60 << ":" << std::setw(2) << std::setfill('0') << whole % 60;
    return text.str();
}

ProgressStyle progress_style_of_stdout(Launcher launcher) {
    return launcher == Launcher::no && ::isatty(STDOUT_FILENO) == 1 ? ProgressStyle::live
                                                                    : ProgressStyle::lines;
}

std::string progress_line(const StepRecord& record, index_t last_step, double seconds_left) {
    const std::string last = concat(last_step);
    std::ostringstream text;
    text << std::fixed << "step " << std::setw(static_cast<int>(last.size())) << record.step << "/" << last
         << std::setprecision(4) << "  loss ";
    if (record.targets > 0) {
        text << record.loss;
    } else {
        text << "-";
    }
    text << std::setprecision(0) << "  " << std::setw(8) << record.tokens_per_s() << " tokens/s  comm "
         << std::setw(2) << 100.0 * record.communication_share() << " %" << std::setprecision(2)
         << "  imbalance " << record.imbalance << "  dropped " << record.dropped << "  left "
         << duration_text(seconds_left);
    if (!record.applied) text << "  SKIPPED: gradient not finite";
    return text.str();
}

Progress::Progress(std::ostream& out, Options options)
    : out_(out), options_(std::move(options)), start_(options_.now()), shown_at_(start_ - kLiveInterval_s) {}

Progress::~Progress() {
    end_live_line();
}

void Progress::step(const StepRecord& record) {
    const double now = options_.now();
    const bool edge = record.step == options_.first_step || record.step == options_.last_step;
    const bool live = options_.style == ProgressStyle::live;
    const bool due = live ? now - shown_at_ >= kLiveInterval_s : record.step % options_.every == 0;
    if (!due && !edge && record.applied) return;
    shown_at_ = now;
    const auto done = static_cast<double>(record.step - options_.first_step + 1);
    const double left = (now - start_) / done * static_cast<double>(options_.last_step - record.step);
    const std::string line = progress_line(record, options_.last_step, left);
    if (!live) {
        out_ << line << std::endl;
        return;
    }
    // Blanks cover what a longer line before this one left on the screen.
    out_ << "\r" << line << std::string(line.size() < live_width_ ? live_width_ - line.size() : 0, ' ')
         << std::flush;
    live_width_ = std::max(live_width_, line.size());
    if (record.step == options_.last_step || !record.applied) end_live_line();
}

void Progress::note(const std::string& text) {
    end_live_line();
    out_ << text << std::endl;
}

void Progress::end_live_line() {
    if (live_width_ > 0) out_ << std::endl;
    live_width_ = 0;
}

}  // namespace sy::runtime
