#include "comm/gradient_sync/shadow_sync.hpp"

#include <algorithm>
#include <utility>

#include "comm/gradient_sync/ordered_sum.hpp"

namespace sy::comm {
namespace {

template <class T>
std::span<T> part_of_flat(std::span<T> flat, const CopiedMatrix& matrix) {
    return part(flat, {matrix.offset, matrix.offset + matrix.elements});
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

template <class T>
void ShadowSync::start(index_t set, std::span<const T> gradient) {
    Pending& pending = pending_[set];
    SY_REQUIRE(pending.state == State::idle, "shadow sync: set ", set, " is started twice");
    pending.state = State::started;
    index_t num_received = 0;
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary == group_.rank())
            num_received += matrix.elements * (static_cast<index_t>(matrix.ranks.size()) - 1);
    }
    pending.received = Tensor(context_.device, dtype_of<T>::value, {num_received});
    std::span<T> free = pending.received.values<T>();
    const int tag = tag_base_ + 2 * static_cast<int>(set);
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary != group_.rank()) {
            const std::span<const T> mine = part_of_flat(gradient, matrix);
            pending.requests.push_back(group_.send(std::as_bytes(mine), matrix.primary, tag));
            sent_bytes_ += static_cast<index_t>(mine.size_bytes());
            continue;
        }
        for (const int rank : matrix.ranks) {
            if (rank == group_.rank()) continue;
            const std::span<T> incoming = part(free, {0, matrix.elements});
            free = free.subspan(incoming.size());
            pending.requests.push_back(group_.receive(std::as_writable_bytes(incoming), rank, tag));
        }
    }
}

template <class T>
void ShadowSync::add_received(index_t set, std::span<T> gradient) {
    Pending& pending = pending_[set];
    std::span<const T> received = pending.received.template values<T>();
    for (const CopiedMatrix& matrix : sets_[set]) {
        if (matrix.primary != group_.rank()) continue;
        const std::span<T> own = part_of_flat(gradient, matrix);
        std::vector<const T*> addends;
        for (const int rank : matrix.ranks) {
            if (rank == group_.rank()) {
                addends.push_back(own.data());
                continue;
            }
            addends.push_back(received.data());
            received = received.subspan(own.size());
        }
        add_in_order<T>(addends, own, context_);
    }
    pending = {};
    pending.state = State::finished;
}

template <class T>
bool ShadowSync::try_finish(index_t set, std::span<T> gradient) {
    const Pending& pending = pending_[set];
    SY_REQUIRE(pending.state != State::idle, "shadow sync: set ", set, " was not started");
    if (pending.state == State::finished) return true;
    bool over = true;
    for (const std::unique_ptr<Request>& request : pending.requests) over = request->test() && over;
    if (over) add_received(set, gradient);
    return over;
}

template <class T>
void ShadowSync::finish(std::span<T> gradient) {
    for (index_t set = sets_.size() - 1; set >= 0; --set) {
        if (pending_[set].state == State::idle) start(set, std::span<const T>(gradient));
    }
    for (index_t set = 0; set < sets_.size(); ++set) {
        if (pending_[set].state == State::started) {
            wait_all(group_, pending_[set].requests, concat("gradients of shadows, set ", set));
            add_received(set, gradient);
        }
        pending_[set].state = State::idle;
    }
}

template <class T>
void ShadowSync::spread(std::span<T> weights) {
    std::vector<std::unique_ptr<Request>> requests;
    for (index_t set = 0; set < sets_.size(); ++set) {
        const int tag = tag_base_ + 2 * static_cast<int>(set) + 1;
        for (const CopiedMatrix& matrix : sets_[set]) {
            const std::span<T> values = part_of_flat(weights, matrix);
            if (matrix.primary != group_.rank()) {
                requests.push_back(group_.receive(std::as_writable_bytes(values), matrix.primary, tag));
                continue;
            }
            for (const int rank : matrix.ranks) {
                if (rank == group_.rank()) continue;
                requests.push_back(group_.send(std::as_bytes(values), rank, tag));
                sent_bytes_ += static_cast<index_t>(values.size_bytes());
            }
        }
    }
    wait_all(group_, requests, "weights of shadows");
}

template void ShadowSync::start<float>(index_t, std::span<const float>);
template void ShadowSync::start<std::int64_t>(index_t, std::span<const std::int64_t>);
template bool ShadowSync::try_finish<float>(index_t, std::span<float>);
template bool ShadowSync::try_finish<std::int64_t>(index_t, std::span<std::int64_t>);
template void ShadowSync::finish<float>(std::span<float>);
template void ShadowSync::finish<std::int64_t>(std::span<std::int64_t>);
template void ShadowSync::spread<float>(std::span<float>);
template void ShadowSync::spread<bf16>(std::span<bf16>);

}  // namespace sy::comm
