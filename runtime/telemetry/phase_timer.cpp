#include "runtime/telemetry/phase_timer.hpp"

#include <chrono>
#include <numeric>
#include <utility>

namespace sy::runtime {

std::string_view phase_name(Phase phase) {
    constexpr std::array<std::string_view, kPhases.size()> kNames{"data", "compute", "communication",
                                                                  "optimizer"};
    return kNames[static_cast<std::size_t>(phase)];
}

double PhaseSeconds::total() const {
    return std::accumulate(seconds_.begin(), seconds_.end(), 0.0);
}

PhaseTimer::Scope::Scope(PhaseTimer& timer, Phase phase)
    : timer_(timer), span_(timer.trace_, TraceKind::phase, phase_name(phase).data()), phase_(phase) {
    SY_REQUIRE(!timer.open_, "phase timer: ", phase_name(phase), " inside another phase");
    timer.open_ = true;
    waited_ = timer.waited_();
    start_ = timer.now_();
}

PhaseTimer::Scope::~Scope() {
    const double elapsed = timer_.now_() - start_;
    const double waited = timer_.waited_() - waited_;
    timer_.seconds_[phase_] += elapsed - waited;
    timer_.seconds_[Phase::communication] += waited;
    timer_.open_ = false;
}

PhaseSeconds PhaseTimer::take() {
    return std::exchange(seconds_, PhaseSeconds{});
}

double steady_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace sy::runtime
