#pragma once

#include <array>
#include <functional>
#include <string_view>

#include "kernels/core/error.hpp"
#include "kernels/core/trace.hpp"

namespace sy::runtime {

/// What a step's time goes into.
enum class Phase { data, compute, communication, optimizer };
inline constexpr std::array kPhases{Phase::data, Phase::compute, Phase::communication, Phase::optimizer};
std::string_view phase_name(Phase phase);

/// Seconds by phase.
class PhaseSeconds {
  public:
    double& operator[](Phase phase) { return seconds_[static_cast<std::size_t>(phase)]; }
    double operator[](Phase phase) const { return seconds_[static_cast<std::size_t>(phase)]; }
    double total() const;

  private:
    std::array<double, kPhases.size()> seconds_{};
};

/// Adds up time by phase. Waiting for messages inside any phase counts as communication: that is the communication
/// which computing did not hide.
class PhaseTimer {
  public:
    /// Clocks in seconds. @param now  time  @param waited  time spent waiting for messages so far
    /// @param trace  where scopes are written down too; may be null; borrowed
    PhaseTimer(std::function<double()> now, std::function<double()> waited, TraceLog* trace = nullptr)
        : now_(std::move(now)), waited_(std::move(waited)), trace_(trace) {}

    /// Counts its lifetime for a phase.
    class Scope {
      public:
        Scope(PhaseTimer& timer, Phase phase);
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;
        ~Scope();

      private:
        PhaseTimer& timer_;
        TraceSpan span_;  ///< opens first and closes last
        Phase phase_;
        double start_;
        double waited_;
    };

    /// @throws LogicError inside another scope: phases do not nest
    Scope scope(Phase phase) { return Scope(*this, phase); }
    /// What has been added up since the last call.
    PhaseSeconds take();

  private:
    std::function<double()> now_;
    std::function<double()> waited_;
    TraceLog* trace_;
    PhaseSeconds seconds_;
    bool open_ = false;
};

/// Seconds of the steady clock.
double steady_seconds();

}  // namespace sy::runtime
