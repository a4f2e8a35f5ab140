#include "comm/gradient_sync/gradient_sync.hpp"

#include <algorithm>

#include "comm/gradient_sync/ordered_sum.hpp"
#include "comm/ring.hpp"

namespace sy::comm {
GradientSync::GradientSync(Communicator& group, BucketPlan plan, int tag_base, const Context& context)
    : group_(group), plan_(std::move(plan)), tag_base_(tag_base), context_(context) {
    SY_REQUIRE(
        plan_.buckets.empty() || static_cast<int>(plan_.buckets.front().cuts.size()) == group.size() + 1,
        "gradient sync: a plan for another number of ranks than ", group.size());
    SY_REQUIRE(tag_base + 2 * static_cast<int>(plan_.buckets.size()) <= kMaxTag,
               "gradient sync: ", plan_.buckets.size(), " buckets from tag ", tag_base,
               " on; use larger buckets");
    for (index_t b = 0; b < plan_.buckets.size(); ++b) {
        const Range matrices = plan_.buckets[b].matrices;
        for (index_t m = matrices.begin; m < matrices.end; ++m) bucket_of_.push_back(b);
        num_missing_.push_back(matrices.size());
    }
    pending_.resize(plan_.buckets.size());
    is_ready_.assign(plan_.matrices.size(), false);
}

template <class T>
void GradientSync::ready(index_t matrix, std::span<const T> gradient) {
    SY_REQUIRE(matrix >= 0 && matrix < is_ready_.size(), "gradient sync: matrix ", matrix, " of ",
               is_ready_.size());
    check_flat(gradient.size());
    SY_REQUIRE(!is_ready_[matrix], "gradient sync: matrix ", matrix, " is ready twice");
    is_ready_[matrix] = true;
    if (group_.size() == 1) return;
    --num_missing_[bucket_of_[matrix]];
    // In descending order: backward finishes the last layers first, and all ranks must agree on the order.
    for (; next_bucket() >= 0 && num_missing_[next_bucket()] == 0; ++num_started_)
        start(next_bucket(), gradient);
}

void GradientSync::check_flat(std::size_t num_elements) const {
    const index_t wanted = plan_.buckets.empty() ? 0 : plan_.buckets.back().cuts.back();
    SY_REQUIRE(static_cast<index_t>(num_elements) >= wanted, "gradient sync: a flat array of ", num_elements,
               " elements for a plan of ", wanted);
}

template <class T>
void GradientSync::start(index_t bucket, std::span<const T> gradient) {
    const Bucket& cut = plan_.buckets[bucket];
    const index_t count = cut.elements_of(group_.rank()).size();
    constexpr DType dtype = dtype_of<T>::value;
    Pending& pending = pending_[bucket];
    pending.received = Tensor(context_.device, dtype, {group_.size(), count});
    const std::span<T> received = pending.received.values<T>();
    const int tag = tag_base_ + static_cast<int>(bucket);
    for_ring(group_, [&](int source, int destination) {
        if (count > 0) {
            const std::span<T> slot = part(received, {source * count, (source + 1) * count});
            pending.requests.push_back(group_.receive(std::as_writable_bytes(slot), source, tag));
        }
        const std::span<const T> outgoing = part(gradient, cut.elements_of(destination));
        if (outgoing.empty()) return;
        pending.requests.push_back(group_.send(std::as_bytes(outgoing), destination, tag));
        sent_bytes_ += static_cast<index_t>(outgoing.size_bytes());
    });
}

void GradientSync::progress() {
    for (Pending& pending : pending_) {
        for (const std::unique_ptr<Request>& request : pending.requests) request->test();
    }
}

template <class T>
void GradientSync::add_received(const Pending& pending, std::span<T> own) {
    const std::span<const T> received = pending.received.template values<T>();
    std::vector<const T*> addends;
    const auto count = static_cast<index_t>(own.size());
    for (int rank = 0; rank < group_.size(); ++rank)
        addends.push_back(rank == group_.rank() ? own.data() : received.data() + rank * count);
    add_in_order<T>(addends, own, context_);
}

template <class T>
void GradientSync::finish(std::span<T> gradient) {
    check_flat(gradient.size());
    is_ready_.assign(is_ready_.size(), false);
    if (group_.size() == 1) return;
    for (; next_bucket() >= 0; ++num_started_) start(next_bucket(), std::span<const T>(gradient));
    for (index_t b = 0; b < plan_.buckets.size(); ++b) {
        const Range mine = plan_.buckets[b].elements_of(group_.rank());
        Pending& pending = pending_[b];
        wait_all(group_, pending.requests, concat("reduction of gradient bucket ", b));
        if (mine.size() > 0) add_received(pending, part(gradient, mine));
        pending = {};
        num_missing_[b] = plan_.buckets[b].matrices.size();
    }
    num_started_ = 0;
}

template <class T>
void GradientSync::gather(std::span<T> weights) {
    check_flat(weights.size());
    std::vector<std::unique_ptr<Request>> requests;
    for (index_t b = 0; b < plan_.buckets.size(); ++b) {
        const Bucket& bucket = plan_.buckets[b];
        const std::span<const T> own = part(weights, bucket.elements_of(group_.rank()));
        const int tag = tag_base_ + static_cast<int>(plan_.buckets.size() + b);
        for_ring(group_, [&](int source, int destination) {
            const std::span<T> incoming = part(weights, bucket.elements_of(source));
            if (!incoming.empty())
                requests.push_back(group_.receive(std::as_writable_bytes(incoming), source, tag));
            if (own.empty()) return;
            requests.push_back(group_.send(std::as_bytes(own), destination, tag));
            sent_bytes_ += static_cast<index_t>(own.size_bytes());
        });
    }
    wait_all(group_, requests, "gathering of updated weights");
}

template void GradientSync::ready<float>(index_t, std::span<const float>);
template void GradientSync::ready<std::int64_t>(index_t, std::span<const std::int64_t>);
template void GradientSync::finish<float>(std::span<float>);
template void GradientSync::finish<std::int64_t>(std::span<std::int64_t>);
template void GradientSync::gather<float>(std::span<float>);
template void GradientSync::gather<bf16>(std::span<bf16>);

}  // namespace sy::comm
