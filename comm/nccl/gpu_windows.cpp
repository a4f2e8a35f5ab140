#include "comm/nccl/gpu_windows.hpp"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "comm/nccl/put_rows.hpp"
#include "comm/nccl/window_calls.hpp"
#include "kernels/cuda/error.hpp"
#include "kernels/cuda/pieces.hpp"

namespace sy::comm {
namespace {

/// A kernel waits so much longer than the host before it gives up by itself: the host's message says more.
constexpr std::chrono::milliseconds kPatience{1000};

long long cycles_of(std::chrono::milliseconds time) {
    int device = 0;
    int kilohertz = 0;
    SY_CUDA(cudaGetDevice(&device));
    SY_CUDA(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, device));
    return static_cast<long long>(time.count()) * kilohertz;
}

class GpuWindows final : public NcclWindows {
  public:
    GpuWindows(const WindowOwner& owner, const NcclWindowCalls& calls, std::chrono::milliseconds deadline)
        : owner_(owner),
          calls_(calls),
          most_wait_(deadline + kPatience),
          signals_(owner.device.allocate(sizeof(WindowSignals), Memory::staging)),
          table_(owner.device.allocate(sizeof(WindowTable))),
          sent_(static_cast<std::size_t>(owner.size)),
          received_(static_cast<std::size_t>(owner.size)) {
        std::memset(signals_.data(), 0, sizeof(WindowSignals));
        // What had this memory before may still be queued.
        owner.stream.wait(owner.device.compute().record());
        owner.stream.wait(owner.device.transfer().record());
        SY_CUDA(cudaMemsetAsync(table_.data(), 0, sizeof(WindowTable), owner.stream.get()));
        group_ = {.words = nullptr,
                  .table = reinterpret_cast<WindowTable*>(table_.data()),
                  .signals = reinterpret_cast<WindowSignals*>(signals_.data()),
                  .most_cycles = cycles_of(most_wait_),
                  .rank = owner.rank};
    }
    /// What was not closed stays: kernels of peers may still write there.
    ~GpuWindows() override = default;

    void begin_opening(Use use, index_t bytes) override {
        SY_REQUIRE(std::ssize(windows_) <= kMostWindows, "one-sided: more than ", kMostWindows,
                   " windows, of ", bytes_, " bytes together");
        if (use == Use::words) bytes = owner_.size * index_t{sizeof(PeerWords)};
        bytes = round_up(bytes, index_t{NCCL_WIN_REQUIRED_ALIGNMENT});
        void* memory = nullptr;
        check(calls_.mem_alloc(&memory, static_cast<std::size_t>(bytes)),
              concat("ncclMemAlloc of ", bytes, " bytes for rows of other GPUs, beside ", bytes_).c_str());
        Window& window = *windows_.emplace_back(std::make_unique<Window>());
        window.memory = static_cast<std::byte*>(memory);
        window.bytes = bytes;
        bytes_ += bytes;
        if (use == Use::words) {
            // Before a peer can write to it.
            SY_CUDA(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), owner_.stream.get()));
            owner_.stream.synchronise(most_wait_);
        }
        check(calls_.comm_window_register(owner_.comm, memory, static_cast<std::size_t>(bytes),
                                          &window.handle, NCCL_WIN_COLL_SYMMETRIC),
              "ncclCommWindowRegister");
    }

    std::byte* finish_opening() override {
        const Window& window = *windows_.back();
        if (window.handle == nullptr)
            throw CommError(
                "nccl: ncclCommWindowRegister has given no window; symmetric memory needs "
                "NCCL_CUMEM_ENABLE=1 and GPUs that reach each other (nvidia-smi topo -p2p rw), or take "
                "parallel.exchange = flat");
        if (windows_.size() == 1) {
            group_.words = window.handle;
        } else {
            SY_CUDA(cudaMemcpyAsync(&group_.table->windows[windows_.size() - 2], &window.handle,
                                    sizeof(window.handle), cudaMemcpyHostToDevice, owner_.stream.get()));
        }
        return window.memory;
    }

    void put(std::span<const DeviceMessages::Outgoing> outgoing,
             std::span<const DeviceMessages::Incoming> incoming) override {
        std::size_t piece = cuda::kPackBytes;
        std::vector<PutMessage> puts;
        for (const DeviceMessages::Outgoing& message : outgoing) {
            piece = std::min(piece, cuda::widest_piece({message.rows}));
            puts.push_back({DeviceAccess::address(message.rows), bytes_of(message.rows),
                            ++sent_[static_cast<std::size_t>(message.destination)], message.destination});
        }
        std::vector<GrantMessage> grants;
        for (const DeviceMessages::Incoming& message : incoming) {
            grants.push_back({place_of(message.rows), ++received_[static_cast<std::size_t>(message.source)],
                              message.source});
        }
        queue_puts(group_, puts, grants, piece, {owner_.device, owner_.stream});
    }

    index_t bytes() const override { return bytes_; }

    void check() const override {
        const auto& signals = *reinterpret_cast<const volatile WindowSignals*>(signals_.data());
        const unsigned missing = signals.missing;
        if (missing == 0) return;
        throw TimeoutError(concat("one-sided: the GPU of rank ", owner_.rank, " has waited ",
                                  most_wait_.count(), " ms for that of rank ", missing - 1,
                                  ", and has given up"));
    }

    bool begin_closing() override {
        if (windows_.empty()) return false;
        check(calls_.comm_window_deregister(owner_.comm, windows_.back()->handle),
              "ncclCommWindowDeregister");
        return true;
    }

    void finish_closing() override {
        check(calls_.mem_free(windows_.back()->memory), "ncclMemFree");
        bytes_ -= windows_.back()->bytes;
        windows_.pop_back();
    }

    void abort() noexcept override {
        reinterpret_cast<volatile WindowSignals*>(signals_.data())->is_given_up = 1;
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
        while (cudaStreamQuery(owner_.stream.get()) == cudaErrorNotReady &&
               std::chrono::steady_clock::now() < end)
            std::this_thread::sleep_for(std::chrono::microseconds(20));
    }

  private:
    struct Window {
        std::byte* memory = nullptr;
        index_t bytes = 0;
        ncclWindow_t handle = nullptr;  ///< of NCCL, once it is ready
    };

    void check(ncclResult_t result, const char* call,
               const std::source_location& where = std::source_location::current()) const {
        check_nccl(owner_.calls, result, call, owner_.comm, where);
    }
    static index_t bytes_of(ConstTensorRef rows) {
        SY_REQUIRE(rows.is_contiguous(), "one-sided: rows of ", rows.cols(), " elements are ", rows.stride(),
                   " apart");
        return rows.num_elements() * dtype_bytes(rows.dtype());
    }
    /// Where rows lie, as kernels of other ranks are told.
    std::uint64_t place_of(TensorRef rows) const {
        const std::byte* const first = DeviceAccess::address(rows);
        const index_t bytes = bytes_of(rows);
        // Senders move pieces as wide as a row allows.
        const auto row_bytes = static_cast<std::size_t>(rows.cols() * dtype_bytes(rows.dtype()));
        for (std::size_t i = 1; i < windows_.size(); ++i) {
            const Window& window = *windows_[i];
            if (first < window.memory || first + bytes > window.memory + window.bytes) continue;
            const auto offset = static_cast<std::uint64_t>(first - window.memory);
            const std::size_t widest = std::min(row_bytes & (~row_bytes + 1), cuda::kPackBytes);
            SY_REQUIRE(offset % widest == 0, "one-sided: rows of ", row_bytes, " bytes begin at byte ",
                       offset, " of a window");
            return (static_cast<std::uint64_t>(i - 1) << kPlaceBits) | offset;
        }
        throw LogicError(concat("one-sided: rows of ", bytes, " bytes from another GPU are in no window"));
    }

    WindowOwner owner_;
    NcclWindowCalls calls_;
    std::chrono::milliseconds most_wait_;
    Buffer signals_;
    Buffer table_;
    WindowGroup group_{};
    std::vector<std::unique_ptr<Window>>
        windows_;  ///< the first is of words; NCCL writes to the last one's handle
    index_t bytes_ = 0;
    std::vector<std::uint64_t> sent_;  ///< messages to each rank so far
    std::vector<std::uint64_t> received_;
};

}  // namespace

std::unique_ptr<NcclWindows> make_gpu_windows(const WindowOwner& owner, std::chrono::milliseconds deadline) {
    const NcclWindowCalls calls = load_nccl_window_calls();
    if (owner.size > kMostWindowRanks)
        throw ConfigError(concat("one-sided: a group of ", owner.size, " GPUs; ", kMostWindowRanks,
                                 " at most put rows into each other's memory"));
    const ncclTeam_t team = calls.team_lsa(owner.comm);
    if (team.nRanks != owner.size)
        throw ConfigError(concat("one-sided: the GPU of rank ", owner.rank, " reaches the memory of ",
                                 team.nRanks, " of the ", owner.size,
                                 " GPUs of its group; rows are put to those of one node with NVLink or PCIe "
                                 "between all of them (nvidia-smi topo -p2p rw)"));
    return std::make_unique<GpuWindows>(owner, calls, deadline);
}

}  // namespace sy::comm
