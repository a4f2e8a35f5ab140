#include "comm/nccl/gpu_group.hpp"

#include <cstring>
#include <utility>
#include <vector>

#include "comm/nccl/gpu_windows.hpp"
#include "kernels/cuda/stream.hpp"
#include "kernels/cuda/view.hpp"

namespace sy::comm {
namespace {

class GpuGroup final : public NcclGroup {
  public:
    GpuGroup(const NcclCalls& calls, const ncclUniqueId& id, int rank, int size, Device& device,
             const std::string& name)
        : calls_(calls), device_(device), rank_(rank), size_(size), stream_(name) {
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;  // a peer that never comes must not keep this rank
        const ncclResult_t result = calls_.comm_init_rank_config(&comm_, size, id, rank, &config);
        try {
            check(result, "ncclCommInitRankConfig");
        } catch (...) {
            abort();
            throw;
        }
    }
    ~GpuGroup() override { abort(); }

    Stream& stream() override { return stream_; }

    bool is_ready() override {
        ncclResult_t state = ncclSuccess;
        check(calls_.comm_get_async_error(open(), &state), "ncclCommGetAsyncError");
        check(state, doing_);
        for (const auto& windows : windows_) windows->check();
        if (state == ncclInProgress) return false;
        if (ends_) {
            check(calls_.comm_destroy(comm_), "ncclCommDestroy");
            comm_ = nullptr;
        }
        return true;
    }

    void send_receive(std::span<const DeviceMessages::Outgoing> outgoing,
                      std::span<const DeviceMessages::Incoming> incoming) override {
        doing_ = "ncclGroupEnd";
        check(calls_.group_start(), "ncclGroupStart");
        try {
            for (const DeviceMessages::Incoming& message : incoming) {
                check(calls_.recv(DeviceAccess::address(message.rows), bytes_of(message.rows), ncclUint8,
                                  message.source, open(), stream_.get()),
                      "ncclRecv");
            }
            for (const DeviceMessages::Outgoing& message : outgoing) {
                check(calls_.send(DeviceAccess::address(message.rows), bytes_of(message.rows), ncclUint8,
                                  message.destination, open(), stream_.get()),
                      "ncclSend");
            }
        } catch (...) {
            // An open group would take the calls of all communicators of this thread. Its result is that of the call.
            static_cast<void>(calls_.group_end());
            throw;
        }
        check(calls_.group_end(), "ncclGroupEnd");
    }

    NcclWindows& make_windows(std::chrono::milliseconds deadline) override {
        doing_ = "ncclCommWindowRegister";
        windows_.push_back(make_gpu_windows({calls_, open(), stream_, device_, rank_, size_}, deadline));
        return *windows_.back();
    }

    bool is_done(const Event& event) override { return stream_.is_done(event); }

    void end() override {
        doing_ = "ncclCommFinalize";
        ends_ = true;
        check(calls_.comm_finalize(open()), "ncclCommFinalize");
    }

    void abort() noexcept override {
        if (comm_ == nullptr) return;
        for (const auto& windows : windows_) windows->abort();
        // A failure here adds nothing to the one that led to it.
        if (ncclComm_t comm = std::exchange(comm_, nullptr)) static_cast<void>(calls_.comm_abort(comm));
    }

  private:
    void check(ncclResult_t result, const char* call,
               const std::source_location& where = std::source_location::current()) const {
        check_nccl(calls_, result, call, comm_, where);
    }
    ncclComm_t open() const {
        if (comm_ == nullptr)
            throw CommError("nccl: the group has ended, or was given up after an earlier error");
        return comm_;
    }
    static std::size_t bytes_of(ConstTensorRef rows) {
        SY_REQUIRE(rows.is_contiguous(), "nccl: rows of ", rows.cols(), " elements are ", rows.stride(),
                   " apart");
        return static_cast<std::size_t>(rows.num_elements() * dtype_bytes(rows.dtype()));
    }

    NcclCalls calls_;
    Device& device_;
    int rank_;
    int size_;
    CudaStream stream_;
    std::vector<std::unique_ptr<NcclWindows>> windows_;
    ncclComm_t comm_ = nullptr;
    const char* doing_ = "ncclCommInitRankConfig";
    bool ends_ = false;
};

class GpuLibrary : public NcclLibrary {
  public:
    explicit GpuLibrary(const NcclCalls& calls) : calls_(calls) {}

    std::string version() const override {
        int version = 0;
        check_nccl(calls_, calls_.get_version(&version), "ncclGetVersion", nullptr);
        return concat(version / 10000, ".", version / 100 % 100, ".", version % 100);
    }

    NcclId make_id() override {
        ncclUniqueId made;
        check_nccl(calls_, calls_.get_unique_id(&made), "ncclGetUniqueId", nullptr);
        NcclId id{};
        static_assert(sizeof(made) == sizeof(id));
        std::memcpy(id.data(), &made, sizeof(made));
        return id;
    }

    std::unique_ptr<NcclGroup> connect(const NcclId& id, int rank, int size, Device& device,
                                       const std::string& name) override {
        SY_REQUIRE(device.kind() == DeviceKind::cuda, name, ": NCCL between devices that are no GPUs, ",
                   device.name());
        ncclUniqueId same;
        std::memcpy(&same, id.data(), sizeof(same));
        return std::make_unique<GpuGroup>(calls_, same, rank, size, device, concat(device.name(), "/", name));
    }

  private:
    NcclCalls calls_;
};

}  // namespace

std::unique_ptr<NcclLibrary> make_nccl_library(const NcclCalls& calls) {
    return std::make_unique<GpuLibrary>(calls);
}

}  // namespace sy::comm
