#pragma once

#include <ucp/api/ucp.h>

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comm/axes.hpp"
#include "comm/communicator.hpp"

/// UCP's handles and the three operations on them that messages are made of: put, fence and flush.
namespace sy::comm::detail {

struct DestroyUcx {
    void operator()(ucp_context* context) const { ucp_cleanup(context); }
    void operator()(ucp_worker* worker) const { ucp_worker_destroy(worker); }
    void operator()(ucp_rkey* key) const { ucp_rkey_destroy(key); }
};
using UcxContext = std::unique_ptr<ucp_context, DestroyUcx>;
using UcxWorker = std::unique_ptr<ucp_worker, DestroyUcx>;
using RemoteKey = std::unique_ptr<ucp_rkey, DestroyUcx>;

/// Memory of this rank that others can put into; unregistered (and freed, where it was allocated) on destruction.
class Region {
  public:
    /// Fresh memory of a kind that peers reach best: shared memory where UCX has a transport for it.
    Region(ucp_context* context, index_t bytes);
    /// Memory of the caller's.
    Region(ucp_context* context, std::span<std::byte> bytes);
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;
    ~Region();

    std::byte* data() const { return data_; }
    index_t bytes() const { return bytes_; }
    bool contains(std::span<const std::byte> bytes) const {
        return bytes.data() >= data_ && bytes.data() + bytes.size() <= data_ + bytes_;
    }
    /// What another rank needs to put into it.
    const std::string& key() const { return key_; }

  private:
    void register_memory(ucp_mem_map_params_t& params);

    ucp_context* context_;
    ucp_mem_h memory_ = nullptr;
    std::byte* data_ = nullptr;
    index_t bytes_ = 0;
    std::string key_;
};

/// An operation that UCX has taken up; null when it is over already.
class UcxOperation {
  public:
    UcxOperation() = default;
    /// @throws CommError when `started` is an error
    UcxOperation(ucs_status_ptr_t started, const char* call);
    UcxOperation(UcxOperation&& other) noexcept : request_(std::exchange(other.request_, nullptr)) {}
    UcxOperation& operator=(UcxOperation&& other) noexcept {
        std::swap(request_, other.request_);
        return *this;
    }
    /// UCX finishes by itself what is not over.
    ~UcxOperation() {
        if (request_ != nullptr) ucp_request_free(request_);
    }
    /// @throws CommError when it has failed
    bool is_over();

  private:
    void* request_ = nullptr;
};

/// A worker of UCX, a window into which the others put, and an endpoint to each rank, made when it is first used.
///
/// Once UCX's resources are there nothing in here waits. Its destructor never communicates; unless release() was called
/// before, it leaves everything as it is, since others may be putting into this rank's memory: the process is about to end.
class Wire {
  public:
    /// @param nodes  of each rank: the lowest rank that shares memory with it
    /// @par Collective  over wire_up, with its deadline
    Wire(Communicator& wire_up, const PerRank<int>& nodes, index_t window_bytes);
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;
    ~Wire();

    ucp_context* context() const { return context_.get(); }
    std::byte* window() const { return window_->data(); }
    /// A counter in the window, into which another rank puts. What it has put before is there, too.
    std::uint64_t counter(index_t window_offset) const {
        auto& counter = *reinterpret_cast<std::uint64_t*>(window() + window_offset);
        return std::atomic_ref<std::uint64_t>(counter).load(std::memory_order_acquire);
    }

    /// Starts writing into the window of a rank. The bytes must stay until the operation, or a later flush, is over.
    UcxOperation put(int rank, std::span<const std::byte> bytes, index_t window_offset);
    /// The same into other memory of its.
    UcxOperation put(int rank, std::span<const std::byte> bytes, std::uint64_t address, ucp_rkey* key);
    /// What is put afterwards becomes visible after what was put before, where both go to the same window.
    void fence();
    /// Over when everything put to this rank so far is in its place.
    UcxOperation flush(int rank);
    UcxOperation flush_all();
    /// Gives UCX a chance to move on; endpoints that fail are noted.
    void progress() { ucp_worker_progress(worker_.get()); }
    RemoteKey unpack_key(int rank, const std::byte* key);

    /// Why nothing can be sent to this rank any more; empty as long as it can.
    const std::string& failure(int rank) const { return links_[rank].failure; }
    /// Such a rank, or -1.
    int failed_rank() const { return failed_rank_; }

    /// Every rank has all it needs from this one: its resources go with it.
    void release() { released_ = true; }

  private:
    struct Link {
        std::string address;
        std::string packed_key;
        std::uint64_t window = 0;
        ucp_ep_h endpoint = nullptr;
        RemoteKey key;
        std::string failure;
        int rank = 0;
        bool shares_memory = false;
        Wire* wire = nullptr;
    };
    static void note_failure(void* link, ucp_ep_h endpoint, ucs_status_t status);
    Link& link(int rank);

    UcxContext context_;
    UcxWorker worker_;
    std::unique_ptr<Region> window_;
    PerRank<Link> links_;
    int failed_rank_ = -1;
    bool released_ = false;
};

}  // namespace sy::comm::detail
