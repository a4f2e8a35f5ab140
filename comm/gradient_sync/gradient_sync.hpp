#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comm/collectives.hpp"
#include "comm/gradient_sync/bucket_plan.hpp"
#include "comm/row_messages.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::comm {

/// Reduces one flat gradient over a group, bucket by bucket, into its owner's part, and gathers updated weights; both in
/// place, so that nothing is copied on a group of one.
/// Float sums are in ascending rank order; int64 (fixed point) sums are exact, so independent of the group.
class GradientSync {
  public:
    /// @param tag_base  the tags [tag_base, tag_base + 2 * buckets) must be free on `group`
    GradientSync(Communicator& group, BucketPlan plan, int tag_base, const Context& context);

    const BucketPlan& plan() const { return plan_; }

    /// Backward has finished this matrix for the last micro-step; starts its bucket when all its matrices are.
    /// Buckets are started in descending order, as backward finishes them, so that all ranks agree on the order.
    /// @param gradient  the whole flat array, f32 or i64
    /// @par Buffers  until finish() has returned the matrix may be read but not written, and the array must stay where it
    ///               is; when an error keeps finish() from being reached, until this object is destroyed
    /// @par Waits    where a bucket is started, as RowMessages::start
    void ready(index_t matrix, ConstTensorRef gradient);

    /// Makes progress on the started transfers without blocking.
    void progress();

    /// Starts what has not been started and completes all: on return the rows that this rank owns hold their sums; the
    /// others are as they were.
    /// @par Collective  over the group
    /// @par Buffers     all of `gradient` belongs to the sums until the call returns
    /// @par Waits       for each bucket, at most the group's deadline @throws TimeoutError, CommError
    void finish(TensorRef gradient);

    /// Sends every owner's rows to all: on return `weights` (f32 or bf16) is whole on every rank.
    /// @par Collective
    void gather(TensorRef weights);

    /// Bytes sent to other ranks since construction.
    index_t sent_bytes() const { return sent_bytes_; }

  private:
    /// A started bucket: what arrives for this rank's slice, [P, slice] by source; its own row stays unused.
    struct Pending {
        Tensor received;
        std::optional<RowMessages> messages;
    };
    void check_flat(ConstTensorRef flat) const;
    /// The bucket that backward finishes next.
    index_t next_bucket() const { return plan_.buckets.size() - 1 - num_started_; }
    void start(index_t bucket, ConstTensorRef gradient);
    void add_received(Pending& pending, TensorRef own);

    Communicator& group_;
    BucketPlan plan_;
    int tag_base_;
    const Context& context_;
    Indexed<BucketAxis, index_t> num_missing_;  ///< matrices that are not ready yet
    Indexed<MatrixAxis, index_t> bucket_of_;
    Indexed<MatrixAxis, bool> is_ready_;  ///< since the last finish()
    Indexed<BucketAxis, Pending> pending_;
    index_t num_started_ = 0;
    index_t sent_bytes_ = 0;
};

}  // namespace sy::comm
