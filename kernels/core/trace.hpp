#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy {

/// What a traced stretch of time went into.
enum class TraceKind : std::uint8_t { step, phase, compute, communication, wait, io };
const char* trace_kind_name(TraceKind kind);

/// A stretch of a rank's time. Times are nanoseconds of the steady clock.
struct TraceEvent {
    const char* name = "";  ///< a string literal
    TraceKind kind = TraceKind::compute;
    bool in_flight =
        false;  ///< under way while the rank did something else; else it has kept the rank's thread
    std::int32_t layer = -1;  ///< over all stacks; -1: of no layer
    index_t step = 0;
    index_t micro_step = 0;
    std::int64_t start_ns = 0;
    std::int64_t end_ns = 0;
    double waited_seconds = 0.0;  ///< of it, for messages
    index_t bytes = -1;           ///< sent to other ranks; -1: not counted
};

/// What a rank does, written down while it is open: the last kCapacity events, for a trace. Written by the rank's thread,
/// which alone calls it but for the functions of background work.
class TraceLog {
  public:
    static constexpr std::size_t kCapacity = std::size_t{1} << 16;

    /// Forgets what was there. @param waited  seconds that the rank has waited for messages so far
    void open(std::function<double()> waited);
    /// Gives its memory back.
    void close();
    bool is_open() const { return is_open_; }

    /// What the following events are part of.
    void set_step(index_t step);
    void set_micro_step(index_t micro_step) { micro_step_ = micro_step; }
    index_t step() const { return step_; }
    index_t micro_step() const { return micro_step_; }
    double waited_seconds() const { return waited_(); }

    /// @pre is_open()
    void add(const TraceEvent& event);
    /// In the order of their ends.
    std::vector<TraceEvent> events() const;
    /// Events that did not fit: the earliest.
    index_t num_dropped() const;

    /// Work of another thread, one piece at a time; noted whether the log is open or not, as it may outlive a step.
    /// Callable from any thread.
    void begin_background(const char* name, index_t step);
    void end_background();
    /// Events of the background; work that has not ended yet ends now.
    std::vector<TraceEvent> background_events() const;

    static std::int64_t now_ns();

  private:
    bool is_open_ = false;
    std::function<double()> waited_;
    index_t step_ = 0;
    index_t micro_step_ = 0;
    std::vector<TraceEvent> ring_;
    std::size_t num_added_ = 0;
    mutable std::mutex background_mutex_;
    std::vector<TraceEvent> background_;
    bool background_runs_ = false;
};

/// Writes its lifetime down, if there is a log and it is open. Spans of a thread nest.
class TraceSpan {
  public:
    /// @param log  may be null
    TraceSpan(TraceLog* log, TraceKind kind, const char* name, index_t layer = -1);
    TraceSpan(const TraceSpan&) = delete;
    TraceSpan& operator=(const TraceSpan&) = delete;
    ~TraceSpan();

  private:
    TraceLog* log_;
    TraceEvent event_;
    double waited_before_ = 0.0;
};

/// Writes down what is under way beside the spans of its rank, if there is a log and it is open: from its construction to
/// finish().
class TraceFlight {
  public:
    /// @param log  may be null
    TraceFlight(TraceLog* log, const char* name, index_t layer);
    /// @param bytes  sent to other ranks
    void finish(index_t bytes);
    bool is_traced() const { return log_ != nullptr; }

  private:
    TraceLog* log_;
    TraceEvent event_;
};

}  // namespace sy
