#include "kernels/core/trace.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "kernels/core/error.hpp"

namespace sy {
namespace {

/// Pieces of background work that are remembered.
constexpr std::size_t kBackgroundCapacity = 256;

TraceLog* if_open(TraceLog* log) {
    return log != nullptr && log->is_open() ? log : nullptr;
}

TraceEvent begin_event(const TraceLog& log, TraceKind kind, const char* name, index_t layer) {
    TraceEvent event;
    event.name = name;
    event.kind = kind;
    event.layer = narrow<std::int32_t>(layer);
    event.step = log.step();
    event.micro_step = log.micro_step();
    return event;
}

}  // namespace

const char* trace_kind_name(TraceKind kind) {
    constexpr std::array kNames{"step", "phase", "compute", "communication", "wait", "io"};
    return kNames[static_cast<std::size_t>(kind)];
}

std::int64_t TraceLog::now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

void TraceLog::open(std::function<double()> waited) {
    waited_ = std::move(waited);
    ring_.assign(kCapacity, {});
    num_added_ = 0;
    is_open_ = true;
}

void TraceLog::close() {
    is_open_ = false;
    ring_ = {};
    num_added_ = 0;
}

void TraceLog::set_step(index_t step) {
    step_ = step;
    micro_step_ = 0;
}

void TraceLog::add(const TraceEvent& event) {
    SY_REQUIRE(is_open_, "trace: '", event.name, "' added to a log that is not open");
    ring_[num_added_++ % kCapacity] = event;
}

std::vector<TraceEvent> TraceLog::events() const {
    std::vector<TraceEvent> result;
    const std::size_t kept = std::min(num_added_, ring_.size());
    result.reserve(kept);
    for (std::size_t i = num_added_ - kept; i < num_added_; ++i) result.push_back(ring_[i % kCapacity]);
    return result;
}

index_t TraceLog::num_dropped() const {
    return static_cast<index_t>(num_added_ - std::min(num_added_, ring_.size()));
}

void TraceLog::begin_background(const char* name, index_t step) {
    const std::scoped_lock lock(background_mutex_);
    if (background_.size() == kBackgroundCapacity) background_.erase(background_.begin());
    TraceEvent& event = background_.emplace_back();
    event.name = name;
    event.kind = TraceKind::io;
    event.step = step;
    event.start_ns = now_ns();
    background_runs_ = true;
}

void TraceLog::end_background() {
    const std::scoped_lock lock(background_mutex_);
    background_.back().end_ns = now_ns();
    background_runs_ = false;
}

std::vector<TraceEvent> TraceLog::background_events() const {
    const std::scoped_lock lock(background_mutex_);
    std::vector<TraceEvent> result = background_;
    if (background_runs_) result.back().end_ns = now_ns();
    return result;
}

TraceSpan::TraceSpan(TraceLog* log, TraceKind kind, const char* name, index_t layer) : log_(if_open(log)) {
    if (log_ == nullptr) return;
    event_ = begin_event(*log_, kind, name, layer);
    waited_before_ = log_->waited_seconds();
    event_.start_ns = TraceLog::now_ns();
}

TraceSpan::~TraceSpan() {
    if (log_ == nullptr || !log_->is_open()) return;
    event_.end_ns = TraceLog::now_ns();
    event_.waited_seconds = log_->waited_seconds() - waited_before_;
    log_->add(event_);
}

TraceFlight::TraceFlight(TraceLog* log, const char* name, index_t layer) : log_(if_open(log)) {
    if (log_ == nullptr) return;
    event_ = begin_event(*log_, TraceKind::communication, name, layer);
    event_.in_flight = true;
    event_.start_ns = TraceLog::now_ns();
}

void TraceFlight::finish(index_t bytes) {
    if (log_ == nullptr) return;
    event_.end_ns = TraceLog::now_ns();
    event_.bytes = bytes;
    log_->add(event_);
}

}  // namespace sy
