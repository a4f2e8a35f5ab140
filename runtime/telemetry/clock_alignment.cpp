#include "runtime/telemetry/clock_alignment.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/core/trace.hpp"

namespace sy::runtime {
namespace {

constexpr int kTag = 2902;
constexpr int kRoundTrips = 32;
constexpr std::string_view kDoing = "reading of rank 0's clock";

void send_time(comm::Communicator& world, std::int64_t time, int to) {
    std::vector<std::unique_ptr<comm::Request>> requests;
    requests.push_back(world.send(std::as_bytes(std::span(&time, 1)), to, kTag));
    comm::wait_all(world, requests, kDoing);
}

std::int64_t receive_time(comm::Communicator& world, int from) {
    std::int64_t time = 0;
    std::vector<std::unique_ptr<comm::Request>> requests;
    requests.push_back(world.receive(std::as_writable_bytes(std::span(&time, 1)), from, kTag));
    comm::wait_all(world, requests, kDoing);
    return time;
}

}  // namespace

ClockSample measure_clock(comm::Communicator& world) {
    if (world.rank() == 0) {
        // Before any rank goes on.
        const std::int64_t begin = TraceLog::now_ns();
        for (int rank = 1; rank < world.size(); ++rank) {
            for (int trip = 0; trip < kRoundTrips; ++trip) {
                receive_time(world, rank);
                send_time(world, TraceLog::now_ns(), rank);
            }
        }
        return {begin, 0, 0};
    }
    ClockSample best;
    best.error_ns = std::numeric_limits<std::int64_t>::max();
    for (int trip = 0; trip < kRoundTrips; ++trip) {
        const std::int64_t asked = TraceLog::now_ns();
        send_time(world, asked, 0);
        const std::int64_t told = receive_time(world, 0);
        const std::int64_t round_trip = TraceLog::now_ns() - asked;
        if (round_trip / 2 + 1 >= best.error_ns) continue;
        const std::int64_t middle = asked + round_trip / 2;
        best = {middle, told - middle, round_trip / 2 + 1};
    }
    return best;
}

std::int64_t AlignedClock::to_rank_0(std::int64_t ns) const {
    const double drifted = 1e-6 * drift_ppm() * static_cast<double>(ns - begin_.at_ns);
    return ns + begin_.offset_ns + std::llround(drifted);
}

double AlignedClock::drift_ppm() const {
    const auto span = static_cast<double>(end_.at_ns - begin_.at_ns);
    return span > 0.0 ? 1e6 * static_cast<double>(end_.offset_ns - begin_.offset_ns) / span : 0.0;
}

}  // namespace sy::runtime
