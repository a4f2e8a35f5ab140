#include "tests/cuda_on_cpu/emulation/nccl/batch.hpp"

#include <cstring>
#include <set>
#include <utility>

#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"
#include "tests/cuda_on_cpu/emulation/nccl/faults.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/memory.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

namespace sy::emulation {
namespace {

/// The others' values are added from the last rank to the first: NCCL promises no order, and whoever counts on the
/// ascending one is to see other bits.
template <typename T>
void add_up(char* out, const char* own, const std::vector<char>* addends, int num_ranks, int root,
            std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        T sum;
        std::memcpy(&sum, own + i * sizeof(T), sizeof(T));
        for (int rank = num_ranks - 1; rank >= 0; --rank) {
            if (rank == root) continue;
            T value;
            std::memcpy(&value, addends[rank].data() + i * sizeof(T), sizeof(T));
            sum = T(sum + value);
        }
        std::memcpy(out + i * sizeof(T), &sum, sizeof(T));
    }
}

}  // namespace

NcclFaults& nccl_faults() {
    static NcclFaults faults;
    return faults;
}

std::size_t NcclOperation::bytes() const {
    switch (type) {
        case ncclInt8:
        case ncclUint8:
        case ncclFloat8e4m3:
        case ncclFloat8e5m2:
            return count;
        case ncclFloat16:
        case ncclBfloat16:
            return count * 2;
        case ncclInt32:
        case ncclUint32:
        case ncclFloat32:
            return count * 4;
        default:
            return count * 8;
    }
}

ncclResult_t NcclRank::fail(ncclResult_t result, const std::string& text) {
    report("NCCL, rank " + std::to_string(rank) + " of " + std::to_string(size) + ": " + text);
    if (error == ncclSuccess) {
        error = result;
        error_text = text;
    }
    return result;
}

NcclBatch::NcclBatch(std::shared_ptr<NcclRank> rank, cudaStream_t stream,
                     std::vector<NcclOperation> operations)
    : rank_(std::move(rank)),
      stream_(stream),
      operations_(std::move(operations)),
      turn_(rank_->num_begun++),
      delay_(nccl_faults().max_delay == 0 ? 0 : draw(nccl_faults().max_delay + 1)) {}

bool NcclBatch::may_begin() {
    const NcclFaults& faults = nccl_faults();
    if (rank_->num_finished != turn_) return false;
    if (rank_->rank == faults.silent_rank && turn_ >= faults.operation) return false;
    if (rank_->rank == faults.failing_rank && turn_ >= faults.operation) {
        rank_->fabric->fail();
        if (rank_->error == ncclSuccess) rank_->fail(ncclSystemError, "a planted fault");
        return false;
    }
    if (delay_ == 0) return true;
    --delay_;
    return false;
}

bool NcclBatch::poll() {
    if (rank_->is_aborted) return true;
    if (rank_->error != ncclSuccess) return false;  // until it is aborted
    if (!has_begun_) {
        if (!may_begin()) return false;
        begin();
    }
    // Between two ranks messages go one after another.
    std::set<std::pair<int, bool>> busy;
    bool all_done = true;
    for (Leg& leg : legs_) {
        if (leg.is_done() || busy.contains({leg.peer, leg.sends})) continue;
        if (!progress(leg)) {
            all_done = false;
            busy.insert({leg.peer, leg.sends});
        }
        if (rank_->error != ncclSuccess) return false;
    }
    for (const Leg& leg : legs_) all_done = all_done && leg.is_done();
    if (!all_done) return false;
    finish();
    ++rank_->num_finished;
    return true;
}

void NcclBatch::begin() {
    has_begun_ = true;
    for (const NcclOperation& each : operations_) {
        const Header header{each.kind, std::uint32_t(each.type), each.bytes()};
        if (each.kind == NcclKind::reduce && rank_->rank == each.peer) {
            add_reduce(each);
            continue;
        }
        const bool sends = each.in != nullptr;
        add_leg(each.peer, sends, sends ? const_cast<char*>(each.in) : each.out, header);
    }
}

/// What the root of a reduction receives.
void NcclBatch::add_reduce(const NcclOperation& operation) {
    const std::size_t bytes = operation.bytes();
    for (int source = 0; source < rank_->size; ++source) {
        addends_.emplace_back(source == rank_->rank ? 0 : bytes);
        if (source == rank_->rank) continue;
        const Header header{operation.kind, std::uint32_t(operation.type), bytes};
        add_leg(source, false, addends_.back().data(), header);
    }
}

void NcclBatch::add_leg(int peer, bool sends, char* bytes, const Header& header) {
    Leg& leg = legs_.emplace_back();
    leg.peer = peer;
    leg.sends = sends;
    leg.bytes = bytes;
    leg.header = header;
}

/// @return whether both ends know what comes
bool NcclBatch::pass_header(Leg& leg) {
    if (leg.header_done == sizeof(Header)) return true;
    Fabric& fabric = *rank_->fabric;
    char* const next = reinterpret_cast<char*>(leg.sends ? &leg.header : &leg.arrived) + leg.header_done;
    const std::size_t left = sizeof(Header) - leg.header_done;
    leg.header_done += leg.sends ? fabric.put(leg.peer, next, left) : fabric.take(leg.peer, next, left);
    if (leg.header_done < sizeof(Header)) return false;
    if (leg.sends || leg.arrived == leg.header) return true;
    fabric.fail();
    rank_->fail(ncclInvalidUsage,
                "rank " + std::to_string(leg.peer) + " gives " + std::to_string(leg.arrived.bytes) +
                    " bytes where " + std::to_string(leg.header.bytes) +
                    " are expected, or calls something else: on a GPU both would hang or write too far");
    return false;
}

/// @return whether it is done
bool NcclBatch::progress(Leg& leg) {
    if (!pass_header(leg)) return false;
    Fabric& fabric = *rank_->fabric;
    if (leg.is_done()) return true;
    if (leg.sends ? !fabric.has_room(leg.peer) : !fabric.has_bytes(leg.peer)) return false;
    const OpenDevice open;
    char* const next = leg.bytes + leg.done;
    const std::size_t left = leg.header.bytes - leg.done;
    const std::size_t moved =
        leg.sends ? fabric.put(leg.peer, next, left) : fabric.take(leg.peer, next, left);
    if (is_device_address(next)) leg.sends ? sanitizer::read(next, moved) : sanitizer::write(next, moved);
    leg.done += moved;
    return leg.is_done();
}

void NcclBatch::finish() {
    if (addends_.empty()) return;
    const OpenDevice open;
    const std::vector<char>* addends = addends_.data();
    for (const NcclOperation& each : operations_) {
        if (each.kind != NcclKind::reduce || rank_->rank != each.peer) continue;
        sanitizer::read(each.in, each.bytes());
        sanitizer::write(each.out, each.bytes());
        if (each.type != ncclFloat32) {
            add_up<std::uint64_t>(each.out, each.in, addends, rank_->size, rank_->rank, each.count);
        } else {
            add_up<float>(each.out, each.in, addends, rank_->size, rank_->rank, each.count);
        }
        addends += rank_->size;
    }
}

}  // namespace sy::emulation
