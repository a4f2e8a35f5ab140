#include "comm/gradient_sync/shadow_sync.hpp"

#include <algorithm>
#include <utility>

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
    if (sets_[set].empty()) return;
    index_t num_received = 0;
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary == group_.rank())
            num_received += matrix.elements * (static_cast<index_t>(matrix.ranks.size()) - 1);
    }
    pending.received = Tensor(context_.device, gradient.dtype(), {num_received});
    pending.messages.emplace(group_, tag_base_ + 2 * static_cast<int>(set), device_messages(group_),
                             context_);
    index_t next = 0;
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary != group_.rank()) {
            pending.messages->send(part_of_flat(gradient, matrix), matrix.primary);
            continue;
        }
        for (const int rank : matrix.ranks) {
            if (rank == group_.rank()) continue;
            pending.messages->receive(pending.received.ref().cols_of({next, next + matrix.elements}), rank);
            next += matrix.elements;
        }
    }
    pending.messages->start();
    sent_bytes_ += pending.messages->sent_bytes();
}

void ShadowSync::add_received(index_t set, TensorRef gradient) {
    Pending& pending = pending_[set];
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
    Pending& pending = pending_[set];
    SY_REQUIRE(pending.state != State::idle, "shadow sync: set ", set, " was not started");
    if (pending.state == State::finished) return true;
    if (pending.messages) {
        if (!pending.messages->test()) return false;
        pending.messages->finish();
    }
    add_received(set, gradient);
    return true;
}

void ShadowSync::finish(TensorRef gradient) {
    for (index_t set = sets_.size() - 1; set >= 0; --set) {
        if (pending_[set].state == State::idle) start(set, gradient);
    }
    for (index_t set = 0; set < sets_.size(); ++set) {
        if (pending_[set].state == State::started) {
            if (pending_[set].messages)
                pending_[set].messages->wait(concat("gradients of shadows, set ", set));
            add_received(set, gradient);
        }
        pending_[set].state = State::idle;
    }
}

void ShadowSync::spread(TensorRef weights) {
    RowMessages messages(group_, tag_base_ + 1, device_messages(group_), context_);
    for (index_t set = 0; set < sets_.size(); ++set) {
        for (const CopiedMatrix& matrix : sets_[set]) {
            const TensorRef values = part_of_flat(weights, matrix);
            if (matrix.primary != group_.rank()) {
                messages.receive(values, matrix.primary);
                continue;
            }
            for (const int rank : matrix.ranks) {
                if (rank != group_.rank()) messages.send(values, rank);
            }
        }
    }
    messages.start();
    sent_bytes_ += messages.sent_bytes();
    messages.wait("weights of shadows");
}

}  // namespace sy::comm
