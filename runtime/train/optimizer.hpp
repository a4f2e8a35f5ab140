#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/gradient_sync/gradient_sync.hpp"
#include "comm/gradient_sync/shadow_sync.hpp"
#include "comm/topology/topology.hpp"
#include "kernels/core/trace.hpp"
#include "kernels/ops/optimizer/optimizer.hpp"
#include "model/parameters/parameters.hpp"
#include "runtime/train/config.hpp"

namespace sy::runtime {

/// Linear warm-up, then a cosine to min_lr_ratio at the last step. @param step  1-based
double learning_rate(const OptimizerConfig& config, index_t step, index_t num_steps);

/// AdamW with its moments sharded over the ranks that hold the same weights (ZeRO-1): replicated parameters over the
/// world, expert parameters over their replicas. Reduces gradients (those of shadows first, into their primaries), clips
/// by the global norm, updates, gathers, and gives shadows their new weights.
/// Parameters that are frozen have no update, decay or moments, and no share in the norm.
class ShardedOptimizer {
  public:
    /// @param world, groups  borrowed
    ShardedOptimizer(const OptimizerConfig& config, model::Parameters& parameters, comm::Communicator& world,
                     comm::GridCommunicators& groups, const Context& context);

    /// Where the time of a step's parts is written down; null: nowhere. Borrowed.
    void set_trace(TraceLog* trace) { trace_ = trace; }

    /// The gradient of a parameter is complete: its bucket may start to travel while backward goes on.
    void gradient_ready(model::ParameterId id);

    struct Result {
        double gradient_norm = 0.0;  ///< before clipping
        bool applied = false;  ///< false when a gradient or its square was not finite: nothing was changed
    };
    /// One step from the gradients in `parameters`, which are zeroed. @par Collective over the world
    Result step(index_t step, index_t num_steps);

    /// What this rank owns of one matrix: rows [rows] with weights and moments, contiguous.
    struct OwnedRows {
        const model::ParameterSpec& spec;
        index_t global_idx;  ///< expert number, or 0
        Range rows;
        index_t cols;
        TensorRef weight;  ///< f32, in the flat array of weights
        TensorRef m;
        TensorRef v;
    };
    /// What this rank owns, in flat order. Over the world every row of every parameter is in exactly one list.
    std::vector<OwnedRows> owned_rows();

    /// Gives experts other places, between steps: weights and moments go from the ranks that had them straight to
    /// those that have them now, so that the next step computes what it would have computed.
    /// @throws LogicError when a row would be lost or doubled
    /// @par Collective over the world
    /// @par Cost  holds the expert weights and moments of both placements at once
    void replace_experts(comm::Placements placements);

    /// Gives the shadows the weights of their primaries, which have changed by other means than step().
    /// @par Collective over the expert-parallel group
    void refresh_shadows();

    /// Bytes this rank has sent for gradients, weights and replacements.
    index_t sent_bytes() const;

  private:
    struct Group {
        model::FlatGroup* flat;
        comm::GradientSync sync;
        int group_rank;
        std::vector<comm::RowRange> rows;  ///< that this rank updates
        Tensor gradient;                   ///< [elements] f32, only where the flat gradient is in fixed point
        Tensor m;                          ///< [elements] f32
        Tensor v;                          ///< [elements] f32
    };
    /// One stretch of rows of a matrix that this rank owns.
    struct OwnedPart {
        const model::LocalMatrix& matrix;
        Range rows;
        index_t cols;
        index_t flat_offset;   ///< of the first element in the flat arrays
        index_t slice_offset;  ///< and in the moments
    };
    template <class Body>
    void for_owned(const Group& group, const Body& body) const;
    /// for_owned without what is frozen.
    template <class Body>
    void for_trained(const Group& group, const Body& body) const;
    /// The reduced gradient of a part.
    TensorRef gradient_of(Group& group, const OwnedPart& part) const;
    void zero_unread(Group& group);
    std::unique_ptr<Group> make_group(model::FlatGroup& flat, comm::Communicator& ranks) const;
    void make_shadow_sync();
    /// Nothing more will be added on this rank to the gradients of a parameter's matrices.
    void mark_ready(model::ParameterId id);
    /// All gradients of a group, as floats or in fixed point.
    static TensorRef all_gradients(Group& group);
    void finish_reduction(Group& group);
    index_t num_trained_rows() const;
    /// The sum of squares of each trained row that this rank owns. @return what is left of `squares`
    TensorRef collect_squares(Group& group, TensorRef squares) const;
    void update_owned(Group& group, const ops::AdamwStep& constants);
    void update(Group& group, const ops::AdamwStep& constants);
    double sum_over_world(std::span<const double> addends) const;

    OptimizerConfig config_;
    model::Parameters& parameters_;
    comm::Communicator& world_;
    comm::GridCommunicators& ranks_;
    const Context& context_;
    std::vector<std::unique_ptr<Group>> groups_;  ///< replicated, expert
    std::optional<comm::ShadowSync> shadows_;
    std::deque<model::ParameterId> awaited_;  ///< whose shadows' gradients are on their way
    TraceLog* trace_ = nullptr;
    index_t sent_before_ = 0;  ///< bytes, until the last replacement was done
};

}  // namespace sy::runtime
