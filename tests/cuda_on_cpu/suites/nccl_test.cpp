// The stand-in for NCCL by itself: what arrives, what is refused, and planted faults.
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cuda_on_cpu/suites/nccl_ranks.hpp"

using namespace sy::emulation;
using Catch::Matchers::Contains;

namespace {

/// Everyone sends `count` words to everyone else, twice; they arrive in order.
std::string exchange(Rank& self, std::size_t count) {
    if (settle(self.comm) != ncclSuccess) return "not connected";
    const auto size = std::size_t(self.size);
    for (int round = 0; round < 2; ++round) {
        std::vector<int> words(size * count);
        for (std::size_t i = 0; i < words.size(); ++i) words[i] = self.rank * 1000003 + int(i) + round;
        const Memory<int> sent(words);
        const Memory<int> received(size * count);
        ncclGroupStart();
        for (int peer = 0; peer < self.size; ++peer) {
            const std::size_t at = std::size_t(peer) * count;
            ncclRecv(received.first + at, count, ncclInt32, peer, self.comm, self.stream);
            ncclSend(sent.first + at, count, ncclInt32, peer, self.comm, self.stream);
        }
        if (ncclGroupEnd() != ncclInProgress) return "the group ended at once";
        if (settle(self.comm) != ncclSuccess) return "not queued";
        if (!self.finish()) return "never done";
        const std::vector<int> found = received.to_host();
        for (std::size_t i = 0; i < found.size(); ++i) {
            const auto source = i / count;
            const auto mine = std::size_t(self.rank) * count + i % count;
            if (found[i] != int(source) * 1000003 + int(mine) + round)
                return "word " + std::to_string(i) + " is " + std::to_string(found[i]);
        }
    }
    return "";
}

}  // namespace

TEST_CASE("NCCL emulation: messages of any size arrive, also late ones", "[unit]") {
    const Machine machine;
    struct Load {
        int size;
        std::size_t count;
        std::uint64_t max_delay;
    };
    // A ring holds 16384 bytes.
    const Load load = GENERATE(Load{1, 4099, 0}, Load{2, 1, 0}, Load{3, 9000, 0}, Load{3, 1, 5});
    const Faults faults({.max_delay = load.max_delay});
    all_fine(run_ranks(load.size, [&](Rank& self) { return exchange(self, load.count); }));
}

TEST_CASE("NCCL emulation: ranks may be processes", "[unit]") {
    const Machine machine;
    options().num_devices = 2;
    ncclUniqueId id;
    REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    const auto run = [&](int rank) {
        Rank self(rank, 2, id, rank);
        return self.comm == nullptr ? "no communicator" : exchange(self, 9000);
    };
    if (child == 0) _exit(run(1).empty() ? 0 : 1);
    CHECK(run(0) == "");
    int status = 1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("NCCL emulation: nothing is on a stream before NCCL says that it is", "[unit]") {
    const Machine machine;
    all_fine(run_ranks(1, [](Rank& self) -> std::string {
        settle(self.comm);
        const Memory<int> sent(std::vector<int>{7});
        const Memory<int> received(1);
        ncclGroupStart();
        ncclSend(sent.first, 1, ncclInt32, 0, self.comm, self.stream);
        ncclRecv(received.first, 1, ncclInt32, 0, self.comm, self.stream);
        ncclGroupEnd();
        if (!self.finish() || received.to_host()[0] != -1) return "it arrived too early";
        settle(self.comm);
        return self.finish() && received.to_host()[0] == 7 ? "" : "it did not arrive";
    }));
}

TEST_CASE("NCCL emulation: sums of integers are exact, those of floats in no order to count on", "[unit]") {
    const Machine machine;
    all_fine(run_ranks(3, [](Rank& self) -> std::string {
        settle(self.comm);
        const float values[] = {1e8F, 1.0F, -1e8F};
        const Memory<std::int64_t> words(
            std::vector<std::int64_t>(5000, (std::int64_t(1) << 61) + self.rank));
        const Memory<float> floats(std::vector<float>{values[self.rank]});
        ncclGroupStart();
        ncclReduce(words.first, words.first, words.size, ncclInt64, ncclSum, 1, self.comm, self.stream);
        ncclReduce(floats.first, floats.first, 1, ncclFloat32, ncclSum, 0, self.comm, self.stream);
        ncclGroupEnd();
        settle(self.comm);
        if (!self.finish()) return "never done";
        // In ascending order it would be 0.
        if (self.rank == 0 && floats.to_host()[0] != 1.0F) return "floats";
        const std::int64_t sum = std::int64_t(3 * (std::uint64_t(1) << 61) + 3);
        return self.rank != 1 || words.to_host() == std::vector<std::int64_t>(5000, sum) ? "" : "integers";
    }));
}

TEST_CASE("NCCL emulation: wrong calls are refused", "[unit]") {
    const Machine machine;
    struct Wrong {
        const char* says;
        std::function<ncclResult_t(Rank&, int* device)> call;
    };
    static int on_host = 0;
    const Wrong wrong = GENERATE(
        Wrong{"not in one live allocation",
              [](Rank& self, int*) { return ncclSend(&on_host, 1, ncclInt32, 0, self.comm, self.stream); }},
        Wrong{"not in one live allocation",
              [](Rank& self, int* device) {
                  return ncclRecv(device, 5, ncclInt32, 0, self.comm, self.stream);
              }},
        Wrong{"with rank 1",
              [](Rank& self, int* device) {
                  return ncclRecv(device, 4, ncclInt32, 1, self.comm, self.stream);
              }},
        Wrong{"in progress",
              [](Rank& self, int* device) {
                  ncclGroupStart();
                  ncclSend(device, 1, ncclInt32, 0, self.comm, self.stream);
                  ncclRecv(device + 1, 1, ncclInt32, 0, self.comm, self.stream);
                  ncclGroupEnd();
                  return ncclSend(device, 1, ncclInt32, 0, self.comm, self.stream);
              }},
        Wrong{"on two streams",
              [](Rank& self, int* device) {
                  const Stream other;
                  ncclGroupStart();
                  ncclSend(device, 1, ncclInt32, 0, self.comm, self.stream);
                  ncclRecv(device + 1, 1, ncclInt32, 0, self.comm, other);
                  return ncclGroupEnd();
              }},
        Wrong{"before the communicator was finalized",
              [](Rank& self, int*) { return ncclCommDestroy(self.comm); }});
    all_fine(run_ranks(1, [&](Rank& self) -> std::string {
        settle(self.comm);
        const Memory<int> memory(4);
        const ncclResult_t result = wrong.call(self, memory.first);
        self.give_up();
        return result == ncclInvalidArgument || result == ncclInvalidUsage ? "" : "not refused";
    }));
    CHECK_THAT(last_report(), Contains(wrong.says));
}

TEST_CASE("NCCL emulation: ends that do not fit are told, as are ranks that share a device", "[unit]") {
    const Machine machine;
    const bool one_device = GENERATE(false, true);
    const std::vector<std::string> problems = run_ranks(
        2,
        [](Rank& self) -> std::string {
            if (settle(self.comm) != ncclSuccess) return "refused";
            const Memory<int> memory(4);
            if (self.rank == 0) ncclSend(memory.first, 3, ncclInt32, 1, self.comm, self.stream);
            if (self.rank == 1) ncclRecv(memory.first, 4, ncclInt32, 0, self.comm, self.stream);
            const ncclResult_t state = self.outcome(std::chrono::seconds(5));
            self.give_up();
            // Who sends may be done before the other looks.
            if (self.rank == 0 && state == ncclSuccess) return "refused";
            return state == ncclInvalidUsage || state == ncclRemoteError ? "refused" : "not seen";
        },
        one_device);
    CHECK(problems == std::vector<std::string>(2, "refused"));
}

TEST_CASE("NCCL emulation: planted faults", "[unit][fault]") {
    const Machine machine;
    const std::string fault = GENERATE("absent", "silent", "failing");
    NcclFaults planted;
    (fault == "absent"   ? planted.absent_rank
     : fault == "silent" ? planted.silent_rank
                         : planted.failing_rank) = 1;
    const Faults faults(planted);
    const std::vector<std::string> problems = run_ranks(2, [](Rank& self) -> std::string {
        const std::chrono::milliseconds patience(200);
        const ncclResult_t connected = settle(self.comm, patience);
        if (connected == ncclInProgress) return "absent";
        if (connected != ncclSuccess) return "failing";  // the other has been faster
        const Memory<int> memory(2);
        ncclGroupStart();
        ncclSend(memory.first, 1, ncclInt32, 1 - self.rank, self.comm, self.stream);
        ncclRecv(memory.first + 1, 1, ncclInt32, 1 - self.rank, self.comm, self.stream);
        ncclGroupEnd();
        const ncclResult_t state = self.outcome(patience);
        self.give_up();
        return state == ncclSuccess ? "done" : state == ncclInProgress ? "silent" : "failing";
    });
    CHECK(problems == std::vector<std::string>(2, fault));
}
