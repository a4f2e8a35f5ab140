#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comm/collectives.hpp"
#include "comm/row_messages.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::comm {

/// A matrix that several ranks of a group hold, as this one holds it.
struct CopiedMatrix {
    index_t offset = 0;  ///< in this rank's flat arrays
    index_t elements = 0;
    int primary = 0;         ///< rank that owns gradient and optimizer state
    std::vector<int> ranks;  ///< all holders, ascending
    bool operator==(const CopiedMatrix&) const = default;
};

struct SetAxis;

/// Keeps shadows of expert matrices in step with their primaries: gradients of the shadows are added at the primary
/// before it takes part in any other reduction, updated weights go back to the shadows.
/// Float sums are in ascending rank order, the primary's own part in its place; int64 (fixed point) sums are exact, so
/// independent of the copies.
class ShadowSync {
  public:
    /// @param sets      matrices whose gradients are complete at the same time, as a parameter's; those of one primary in
    ///                  the same order on all their ranks
    /// @param tag_base  the tags [tag_base, tag_base + 2 * sets) must be free on `group`
    ShadowSync(Communicator& group, Indexed<SetAxis, std::vector<CopiedMatrix>> sets, int tag_base,
               const Context& context);

    /// Whether this rank holds a copied matrix of a set.
    bool involves(index_t set) const { return !sets_[set].empty(); }

    /// The gradients of a set are complete on this rank: shadows send theirs.
    /// @param gradient  the whole flat array, f32 or i64
    /// @par Buffers  until the set is finished its matrices may be read but not written, and the array must stay where it
    ///               is; when an error keeps it from being finished, until this object is destroyed
    /// @par Waits    as RowMessages::start
    void start(index_t set, ConstTensorRef gradient);
    /// Makes progress; when all of a started set has arrived, its primaries get their sums.
    /// @return whether the set is finished
    /// @par Buffers  writes the set's primaries in the call that finishes it; they are the caller's from then on
    /// @par Waits    never
    bool try_finish(index_t set, TensorRef gradient);
    /// Starts what has not been started and completes all: on return all primaries hold the sums over their copies;
    /// shadows are as they were.
    /// @par Collective  over the group
    /// @par Waits       for each set, at most the group's deadline @throws TimeoutError, CommError
    void finish(TensorRef gradient);

    /// Sends the weights (f32 or bf16) of all primaries to their shadows. @par Collective over the group
    void spread(TensorRef weights);

    /// Bytes sent to other ranks since construction.
    index_t sent_bytes() const { return sent_bytes_; }

  private:
    enum class State { idle, started, finished };
    struct Pending {
        State state = State::idle;
        Tensor received;  ///< of this rank's primaries: by matrix, then by rank of the shadow
        std::optional<RowMessages> messages;
    };
    void add_received(index_t set, TensorRef gradient);

    Communicator& group_;
    Indexed<SetAxis, std::vector<CopiedMatrix>> sets_;
    int tag_base_;
    const Context& context_;
    Indexed<SetAxis, Pending> pending_;
    index_t sent_bytes_ = 0;
};

}  // namespace sy::comm
