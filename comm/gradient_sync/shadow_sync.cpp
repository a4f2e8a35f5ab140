#include "comm/gradient_sync/shadow_sync.hpp"

#include <algorithm>
#include <utility>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/reduce/reduce.hpp"

namespace sy::comm {
namespace {

template <class Ref>
Ref part_of_flat(Ref flat, const CopiedMatrix& matrix) {
    return flat.cols_of({matrix.offset, matrix.offset + matrix.elements});
}

}  // namespace

ShadowSync::ShadowSync(Communicator& group, Indexed<SetAxis, std::vector<CopiedMatrix>> sets, int tag_base,
                       const Context& context)
    : group_(group), sets_(std::move(sets)), tag_base_(tag_base), context_(context), pending_(sets_.size()) {
    SY_REQUIRE(tag_base + 2 * sets_.size() <= kMaxTag, "shadow sync: ", sets_.size(), " sets from tag ",
               tag_base, " on");
    for (const std::vector<CopiedMatrix>& set : sets_) {
        for (const CopiedMatrix& matrix : set) {
            const auto holds = [&](int rank) {
                return std::binary_search(matrix.ranks.begin(), matrix.ranks.end(), rank);
            };
            SY_REQUIRE(holds(group.rank()) && holds(matrix.primary) && matrix.ranks.back() < group.size(),
                       "shadow sync: rank ", group.rank(), " of ", group.size(),
                       " was given a matrix of rank ", matrix.primary, " with ", matrix.ranks.size(),
                       " copies, the last on rank ", matrix.ranks.back());
        }
    }
}

void ShadowSync::start(index_t set, ConstTensorRef gradient) {
    Pending& pending = pending_[set];
    SY_REQUIRE(pending.state == State::idle, "shadow sync: set ", set, " is started twice");
    pending.state = State::started;
    index_t num_received = 0;
    std::vector<ConstTensorRef> shadows;
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary == group_.rank()) {
            num_received += matrix.elements * (static_cast<index_t>(matrix.ranks.size()) - 1);
        } else {
            shadows.push_back(part_of_flat(gradient, matrix));
        }
    }
    if (sets_[set].empty()) return;
    const index_t bytes = dtype_bytes(gradient.dtype());
    pending.received = Tensor(context_.device, gradient.dtype(), {num_received});
    pending.room.emplace(pending.received, context_);
    pending.sent.emplace(HostRead::messages, std::move(shadows), context_);
    std::span<std::byte> free = host_bytes(pending.room->writable());
    std::size_t shadow_idx = 0;
    const int tag = tag_base_ + 2 * static_cast<int>(set);
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary != group_.rank()) {
            const std::span<const std::byte> mine = host_bytes((*pending.sent)[shadow_idx++]);
            pending.requests.push_back(group_.send(mine, matrix.primary, tag));
            sent_bytes_ += static_cast<index_t>(mine.size());
            continue;
        }
        for (const int rank : matrix.ranks) {
            if (rank == group_.rank()) continue;
            const std::span<std::byte> incoming = part(free, {0, matrix.elements * bytes});
            free = free.subspan(incoming.size());
            pending.requests.push_back(group_.receive(incoming, rank, tag));
        }
    }
}

void ShadowSync::add_received(index_t set, TensorRef gradient) {
    Pending& pending = pending_[set];
    if (pending.room) pending.room->finish(context_);
    index_t next = 0;
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary != group_.rank()) continue;
        const TensorRef own = part_of_flat(gradient, matrix);
        std::vector<ConstTensorRef> addends;
        for (const int rank : matrix.ranks) {
            if (rank == group_.rank()) {
                addends.push_back(own);
                continue;
            }
            addends.push_back(pending.received.ref().cols_of({next, next + matrix.elements}));
            next += matrix.elements;
        }
        ops::add_in_order(addends, own, context_);
    }
    pending = {};
    pending.state = State::finished;
}

bool ShadowSync::try_finish(index_t set, TensorRef gradient) {
    const Pending& pending = pending_[set];
    SY_REQUIRE(pending.state != State::idle, "shadow sync: set ", set, " was not started");
    if (pending.state == State::finished) return true;
    bool over = true;
    for (const std::unique_ptr<Request>& request : pending.requests) over = request->test() && over;
    if (over) add_received(set, gradient);
    return over;
}

void ShadowSync::finish(TensorRef gradient) {
    for (index_t set = sets_.size() - 1; set >= 0; --set) {
        if (pending_[set].state == State::idle) start(set, gradient);
    }
    for (index_t set = 0; set < sets_.size(); ++set) {
        if (pending_[set].state == State::started) {
            wait_all(group_, pending_[set].requests, concat("gradients of shadows, set ", set));
            add_received(set, gradient);
        }
        pending_[set].state = State::idle;
    }
}

void ShadowSync::spread(TensorRef weights) {
    std::vector<ConstTensorRef> primaries;
    for (index_t set = 0; set < sets_.size(); ++set) {
        for (const CopiedMatrix& matrix : sets_[set]) {
            if (matrix.primary == group_.rank()) primaries.push_back(part_of_flat(weights, matrix));
        }
    }
    const HostValues own(HostRead::messages, std::move(primaries), context_);
    std::size_t primary_idx = 0;
    std::vector<HostRoom> rooms;
    std::vector<std::unique_ptr<Request>> requests;
    for (index_t set = 0; set < sets_.size(); ++set) {
        const int tag = tag_base_ + 2 * static_cast<int>(set) + 1;
        for (const CopiedMatrix& matrix : sets_[set]) {
            if (matrix.primary != group_.rank()) {
                HostRoom& room = rooms.emplace_back(part_of_flat(weights, matrix), context_);
                requests.push_back(group_.receive(host_bytes(room.writable()), matrix.primary, tag));
                continue;
            }
            const std::span<const std::byte> values = host_bytes(own[primary_idx++]);
            for (const int rank : matrix.ranks) {
                if (rank == group_.rank()) continue;
                requests.push_back(group_.send(values, rank, tag));
                sent_bytes_ += static_cast<index_t>(values.size());
            }
        }
    }
    wait_all(group_, requests, "weights of shadows");
    for (HostRoom& room : rooms) room.finish(context_);
}

}  // namespace sy::comm
