// The stand-in's windows by themselves: what kernels put into them, and planted faults.
#include <nccl_device.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "tests/cuda_on_cpu/suites/nccl_ranks.hpp"

using namespace sy::emulation;
using Catch::Matchers::Contains;

namespace {

constexpr int kWords = 512;  // of a window, behind which comes the flag
constexpr std::size_t kBytes = 4096;
constexpr std::size_t kFlagAt = 4000;

/// Memory of a rank that all others have mapped.
struct Window {
    Rank& rank;
    void* memory = nullptr;
    ncclWindow_t handle = nullptr;
    ncclResult_t state = ncclInternalError;

    explicit Window(Rank& rank_, std::size_t bytes = kBytes) : rank(rank_) {
        if (settle(rank.comm) != ncclSuccess || ncclMemAlloc(&memory, bytes) != ncclSuccess) return;
        cudaMemset(memory, 0xff, bytes);
        cudaMemset(static_cast<char*>(memory) + kFlagAt, 0, sizeof(int));
        state = ncclCommWindowRegister(rank.comm, memory, bytes, &handle, NCCL_WIN_COLL_SYMMETRIC);
        if (state == ncclInProgress) state = settle(rank.comm);
    }
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;
    ~Window() = default;
    ncclResult_t close() {
        const ncclResult_t closed = ncclCommWindowDeregister(rank.comm, handle);
        return closed == ncclSuccess ? ncclMemFree(memory) : closed;
    }
    std::vector<int> words() const {
        std::vector<int> values(kWords);
        cudaMemcpy(values.data(), memory, kWords * sizeof(int), cudaMemcpyDeviceToHost);
        return values;
    }
};

/// Every rank writes its number into the next one's window, and raises the flag there.
void put(ncclWindow_t window, int to, int value, std::size_t first_byte) {
    auto* const words = static_cast<volatile int*>(ncclGetLsaPointer(window, first_byte, to));
    for (int i = int(threadIdx.x); i < kWords; i += int(blockDim.x)) words[i] = value;
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x == 0) *static_cast<volatile int*>(ncclGetLsaPointer(window, kFlagAt, to)) = 1;
}
/// Reads what has come. @param waits  for the flag, unless its fault is that it does not; so many nanoseconds at most
void take(ncclWindow_t window, int* out, bool waits, long long nanoseconds) {
    const auto* const flag = static_cast<volatile int*>(ncclGetLocalPointer(window, kFlagAt));
    const long long start = clock64();
    while (waits && *flag == 0) {
        if (clock64() - start > nanoseconds) {
            out[0] = -2;
            return;
        }
        __nanosleep(100);
    }
    const auto* const words = static_cast<volatile int*>(ncclGetLocalPointer(window, 0));
    for (int i = int(threadIdx.x); i < kWords; i += int(blockDim.x)) out[i] = words[i];
}

constexpr long long kLong = 30'000'000'000;

/// Puts and takes. @return what this rank has taken
std::vector<int> pass_on(Rank& self, const Window& window, bool waits, bool takes_first) {
    const Memory<int> taken(kWords);
    const auto queue_take = [&] {
        queue(self.stream, 1, 64, take, window.handle, taken.first, waits, kLong);
    };
    if (takes_first) queue_take();
    cudaStream_t puts = nullptr;  // without Stream's checks, which are for one thread alone
    cudaStreamCreateWithFlags(&puts, cudaStreamNonBlocking);
    queue(puts, 1, 64, put, window.handle, (self.rank + 1) % self.size, self.rank + 10, std::size_t(0));
    if (!takes_first) {
        cudaStreamSynchronize(puts);
        queue_take();
    }
    self.finish();
    cudaStreamSynchronize(puts);
    cudaStreamDestroy(puts);
    return taken.to_host();
}

std::string all_are(const std::vector<int>& words, int value) {
    for (const int word : words)
        if (word != value) return std::to_string(word) + " instead of " + std::to_string(value);
    return "";
}

}  // namespace

TEST_CASE("NCCL emulation: what kernels put into a window arrives, and kernels that wait let others run",
          "[unit]") {
    const Machine machine;
    const int size = GENERATE(2, 3);
    const bool takes_first = GENERATE(false, true);
    std::atomic<int> num_done{0};
    all_fine(run_ranks(size, [&](Rank& self) -> std::string {
        Window window(self);
        const int expected = (self.rank + self.size - 1) % self.size + 10;
        const std::string wrong = window.state == ncclSuccess
                                      ? all_are(pass_on(self, window, true, takes_first), expected)
                                      : "no window";
        // A rank that closes before others have mapped its memory, or put rows there, takes it from them.
        ++num_done;
        ask_until_not(
            false, [&] { return num_done == size; }, std::chrono::seconds(60));
        if (!wrong.empty()) return wrong;
        return window.close() == ncclSuccess ? "" : "not closed: " + last_report();
    }));
}

TEST_CASE("NCCL emulation: windows of processes", "[unit]") {
    const Machine machine;
    options().num_devices = 2;
    ncclUniqueId id;
    REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    const auto run = [&](int rank) -> std::string {
        Rank self(rank, 2, id, rank);
        Window window(self);
        return window.state != ncclSuccess ? "no window"
                                           : all_are(pass_on(self, window, true, true), 11 - rank);
    };
    if (child == 0) _exit(run(1).empty() ? 0 : 1);
    CHECK(run(0) == "");
    int status = 1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("NCCL emulation: a kernel that does not wait for a peer's words reads none", "[unit][fault]") {
    const Machine machine;
    const std::vector<std::string> problems = run_ranks(2, [](Rank& self) -> std::string {
        Window window(self);
        if (window.state != ncclSuccess) return "no window";
        // One of them comes first.
        return all_are(pass_on(self, window, false, true), 11 - self.rank);
    });
    CHECK((problems[0] == "-1 instead of 11" || problems[1] == "-1 instead of 10"));
}

TEST_CASE("NCCL emulation: a peer that never puts leaves its waiter to the clock", "[unit][fault]") {
    const Machine machine;
    all_fine(run_ranks(2, [](Rank& self) -> std::string {
        Window window(self);
        if (window.state != ncclSuccess) return "no window";
        if (self.rank == 1) return "";
        const Memory<int> taken(kWords);
        queue(self.stream, 1, 1, take, window.handle, taken.first, true, 200'000'000LL);
        if (!self.finish()) return "it never ends";
        return taken.to_host()[0] == -2 ? "" : "it has not seen the clock";
    }));
}

TEST_CASE("NCCL emulation: puts outside of a window are told", "[unit][fault]") {
    const Machine machine;
    const std::size_t inside = std::size_t(GENERATE(0, kWords * 4 - 16));
#if defined(__SANITIZE_ADDRESS__)
    if (inside > 0) return;  // the sanitizer ends the program at the line that writes
#endif
    const std::size_t first_byte = kBytes - inside;
    std::vector<std::string> problems = run_ranks(1, [&](Rank& self) -> std::string {
        Window window(self);
        if (window.state != ncclSuccess) return "no window";
        queue(self.stream, 1, 64, put, window.handle, 0, 5, first_byte);
        if (!self.finish(std::chrono::seconds(5))) return "caught";
        return window.close() == ncclSuccess ? "not seen" : "caught";
    });
    CHECK(problems == std::vector<std::string>{"caught"});
    CHECK_THAT(last_report(),
               Contains("byte 4096 of a window of 4096 bytes") || Contains("past the end of an allocation"));
}

TEST_CASE("NCCL emulation: windows that do not fit are refused", "[unit]") {
    const Machine machine;
    const std::vector<std::string> problems = run_ranks(2, [](Rank& self) -> std::string {
        Window window(self, self.rank == 0 ? kBytes : 2 * kBytes);
        return window.state == ncclInvalidUsage || window.state == ncclRemoteError ? "refused" : "not seen";
    });
    CHECK(problems == std::vector<std::string>(2, "refused"));
    all_fine(run_ranks(1, [](Rank& self) -> std::string {
        settle(self.comm);
        const Memory<char> memory(kBytes);
        ncclWindow_t window = nullptr;
        return ncclCommWindowRegister(self.comm, memory.first, kBytes, &window, NCCL_WIN_COLL_SYMMETRIC) ==
                       ncclInvalidArgument
                   ? ""
                   : "memory of cudaMalloc is taken";
    }));
}
