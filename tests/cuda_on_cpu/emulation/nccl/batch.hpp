#pragma once

#include <nccl.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_on_cpu/emulation/nccl/fabric.hpp"

/// What a group of operations of one communicator does when its stream reaches it.
namespace sy::emulation {

enum class NcclKind : std::uint32_t { point_to_point, reduce };

struct NcclOperation {
    NcclKind kind = NcclKind::point_to_point;
    const char* in = nullptr;  ///< null where this rank gives nothing
    char* out = nullptr;       ///< null where this rank gets nothing
    std::size_t count = 0;
    ncclDataType_t type = ncclUint8;
    int peer = 0;  ///< or the root

    std::size_t bytes() const;
};

class NcclBatch;

/// A rank of a communicator. Queued work owns it too, since it may outlive the handle.
struct NcclRank {
    std::unique_ptr<Fabric> fabric;
    int rank = 0;
    int size = 0;
    bool is_connected = false;
    bool is_finalized = false;
    bool is_aborted = false;
    ncclResult_t error = ncclSuccess;
    std::string error_text;
    std::uint64_t num_begun = 0;  ///< groups that were called
    std::uint64_t num_finished =
        0;  ///< their operations are done in the order of the calls, whatever the stream
    std::shared_ptr<NcclBatch> unqueued;  ///< called, but not on its stream yet
    int polls_until_queued = 0;
    std::vector<cudaStream_t> streams;          ///< that have had its work
    std::function<ncclResult_t()> registering;  ///< a window that others have still to offer
    std::uint64_t num_windows = 0;              ///< that were registered so far

    /// From now on its asynchronous error. Reports the text.
    ncclResult_t fail(ncclResult_t result, const std::string& text);
};

class NcclBatch {
  public:
    NcclBatch(std::shared_ptr<NcclRank> rank, cudaStream_t stream, std::vector<NcclOperation> operations);

    cudaStream_t stream() const { return stream_; }
    /// Moves bytes between device memory and the rings. @return whether all of it is done, or will never be
    bool poll();

  private:
    /// Goes before the bytes of a message, so that two ends that do not fit are seen.
    struct Header {
        NcclKind kind = NcclKind::point_to_point;
        std::uint32_t type = 0;
        std::uint64_t bytes = 0;
        bool operator==(const Header&) const = default;
    };
    /// Bytes to or from one peer.
    struct Leg {
        int peer = 0;
        bool sends = false;
        char* bytes = nullptr;
        Header header;
        Header arrived;  ///< what the peer says
        std::size_t header_done = 0;
        std::size_t done = 0;
        bool is_done() const { return header_done == sizeof(Header) && done == header.bytes; }
    };

    bool may_begin();
    void begin();
    void add_reduce(const NcclOperation& operation);
    void add_leg(int peer, bool sends, char* bytes, const Header& header);
    bool pass_header(Leg& leg);
    bool progress(Leg& leg);
    void finish();

    std::shared_ptr<NcclRank> rank_;
    cudaStream_t stream_;
    std::vector<NcclOperation> operations_;
    std::uint64_t turn_;
    std::uint64_t delay_;
    bool has_begun_ = false;
    std::vector<Leg> legs_;
    std::vector<std::vector<char>> addends_;  ///< of reductions to this rank, by operation and rank
};

}  // namespace sy::emulation
