#include "comm/gradient_sync/gradient_sync.hpp"

#include "comm/ring.hpp"
#include "kernels/ops/reduce/reduce.hpp"

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

void GradientSync::ready(index_t matrix, ConstTensorRef gradient) {
    SY_REQUIRE(matrix >= 0 && matrix < is_ready_.size(), "gradient sync: matrix ", matrix, " of ",
               is_ready_.size());
    check_flat(gradient);
    SY_REQUIRE(!is_ready_[matrix], "gradient sync: matrix ", matrix, " is ready twice");
    is_ready_[matrix] = true;
    if (group_.size() == 1) return;
    --num_missing_[bucket_of_[matrix]];
    // In descending order: backward finishes the last layers first, and all ranks must agree on the order.
    for (; next_bucket() >= 0 && num_missing_[next_bucket()] == 0; ++num_started_)
        start(next_bucket(), gradient);
}

void GradientSync::check_flat(ConstTensorRef flat) const {
    const index_t wanted = plan_.buckets.empty() ? 0 : plan_.buckets.back().cuts.back();
    SY_REQUIRE(flat.rows() <= 1 && flat.cols() >= wanted, "gradient sync: a flat array of [", flat.rows(),
               ", ", flat.cols(), "] elements for a plan of ", wanted);
}

void GradientSync::start(index_t bucket, ConstTensorRef gradient) {
    const Bucket& cut = plan_.buckets[bucket];
    const index_t count = cut.elements_of(group_.rank()).size();
    Pending& pending = pending_[bucket];
    pending.received = Tensor(context_.device, gradient.dtype(), {group_.size(), count});
    pending.messages.emplace(group_, tag_base_ + static_cast<int>(bucket), device_messages(group_), context_);
    for_ring(group_, [&](int source, int destination) {
        pending.messages->receive(pending.received.ref().rows_of({source, source + 1}), source);
        pending.messages->send(gradient.cols_of(cut.elements_of(destination)), destination);
    });
    pending.messages->start();
    sent_bytes_ += pending.messages->sent_bytes();
}

void GradientSync::progress() {
    for (Pending& pending : pending_) {
        if (pending.messages) pending.messages->test();
    }
}

void GradientSync::add_received(Pending& pending, TensorRef own) {
    std::vector<ConstTensorRef> addends;
    for (int rank = 0; rank < group_.size(); ++rank)
        addends.push_back(rank == group_.rank() ? own : pending.received.ref().rows_of({rank, rank + 1}));
    ops::add_in_order(addends, own, context_);
}

void GradientSync::finish(TensorRef gradient) {
    check_flat(gradient);
    is_ready_.assign(is_ready_.size(), false);
    if (group_.size() == 1) return;
    for (; next_bucket() >= 0; ++num_started_) start(next_bucket(), gradient);
    for (index_t b = 0; b < plan_.buckets.size(); ++b) {
        const Range mine = plan_.buckets[b].elements_of(group_.rank());
        Pending& pending = pending_[b];
        pending.messages->wait(concat("reduction of gradient bucket ", b));
        if (mine.size() > 0) add_received(pending, gradient.cols_of(mine));
        pending = {};
        num_missing_[b] = plan_.buckets[b].matrices.size();
    }
    num_started_ = 0;
}

void GradientSync::gather(TensorRef weights) {
    check_flat(weights);
    if (group_.size() == 1) return;
    RowMessages messages(group_, tag_base_ + static_cast<int>(plan_.buckets.size()), device_messages(group_),
                         context_);
    for (const Bucket& bucket : plan_.buckets) {
        const TensorRef mine = weights.cols_of(bucket.elements_of(group_.rank()));
        for_ring(group_, [&](int source, int destination) {
            messages.receive(weights.cols_of(bucket.elements_of(source)), source);
            messages.send(mine, destination);
        });
    }
    messages.start();
    sent_bytes_ += messages.sent_bytes();
    messages.wait("gathering of updated weights");
}

}  // namespace sy::comm
