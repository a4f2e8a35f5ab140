#include <algorithm>
#include <thread>

#include "comm/communicator.hpp"

namespace sy::comm {
namespace {

/// Between two looks at messages. Ranks that wait for one which computes would otherwise take a tenth of its core.
constexpr std::chrono::milliseconds kLongestPause{1};

/// Empty when all have come in the meantime.
std::string unfinished_text(std::span<const std::unique_ptr<Request>> requests) {
    std::string text;
    int shown = 0;
    int pending = 0;
    for (const std::unique_ptr<Request>& request : requests) {
        if (request->test()) continue;
        ++pending;
        if (++shown <= 8) text += "\n  " + request->description();
    }
    if (pending > shown) text += concat("\n  and ", pending - shown, " more");
    return text;
}

}  // namespace

void wait_all(Communicator& comm, std::span<const std::unique_ptr<Request>> requests,
              std::string_view doing) {
    const Clock::time_point start = Clock::now();
    std::size_t num_done = 0;
    std::vector<bool> done(requests.size(), false);
    for (long round = 0; num_done < requests.size(); ++round) {
        for (std::size_t i = 0; i < requests.size(); ++i) {
            if (done[i] || !requests[i]->test()) continue;
            done[i] = true;
            ++num_done;
        }
        if (num_done == requests.size()) break;
        const auto waited = Clock::now() - start;
        if (waited > comm.settings().deadline) {
            const std::string unfinished = unfinished_text(requests);
            if (unfinished.empty()) return;
            throw TimeoutError(concat(doing, " on ", comm.settings().name, " rank ", comm.rank(), " of ",
                                      comm.size(), ": nothing after ",
                                      std::chrono::duration_cast<std::chrono::milliseconds>(waited).count(),
                                      " ms; still waiting for", unfinished,
                                      "\nA peer has died, hangs or is far behind; raise "
                                      "parallel.deadline_seconds if it is only slow.\n",
                                      comm.call_roll(doing)));
        }
        const bool spins = waited <= comm.settings().spin;
        constexpr long kRoundsBetweenPolls = 16;
        if (!spins || round % kRoundsBetweenPolls == 0) comm.poll_all(doing);
        if (!spins) {
            // Long waits leave the core to whoever has work: yield first, then sleep for a hundredth of what was waited.
            if (waited < std::chrono::milliseconds(2)) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(std::min<Clock::duration>(waited / 100, kLongestPause));
            }
        }
    }
    comm.add_waited_seconds(std::chrono::duration<double>(Clock::now() - start).count());
}

}  // namespace sy::comm
