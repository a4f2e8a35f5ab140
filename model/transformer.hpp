#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/graphs.hpp"
#include "kernels/core/indexed.hpp"
#include "model/layers/head.hpp"
#include "model/objective/prediction_module.hpp"
#include "model/stack.hpp"

namespace sy::model {

/// The blocks of all stacks and modules, by stream_idx.
struct BlockAxis;
template <class T>
using PerBlock = Indexed<BlockAxis, T>;
template <class T>
using PerBlockSpan = IndexedSpan<BlockAxis, T>;

/// How many tokens lie between what a row reads and what is predicted of it: 0, then those of multi-token prediction.
struct DepthAxis;
template <class T>
using PerDepth = Indexed<DepthAxis, T>;
template <class T>
using PerDepthSpan = IndexedSpan<DepthAxis, T>;

/// Routing of one mixture layer in one pass, over all ranks.
struct LayerResult {
    index_t layer = 0;
    std::vector<index_t> load;  ///< [E] choices, before drops
    index_t num_dropped = 0;
    std::uint64_t routing_hash = 0;
};

/// Losses of one pass over a global batch, or of all passes of a step, the same on every rank and every layout.
struct PassResult {
    ExactSum token_sum;       ///< of the cross entropies of all targets
    index_t num_targets = 0;  ///< rows that have a target
    double token_loss = 0.0;  ///< mean cross entropy of the targets, in nats; NaN when there are none
    /// Those of the routers, summed over the layers, then output_z_loss (the mean squared logsumexp of the logits) and mtp_loss
    /// (the mean cross entropy over the depths) where the config has them and the pass computes them.
    std::vector<NamedLoss> extra_losses;
    double total = 0.0;  ///< what is minimised; NaN without targets
    std::uint64_t routing_hash = 0;
    index_t num_dropped = 0;
    double imbalance = 1.0;  ///< highest load of an expert over the mean, worst layer
    std::vector<LayerResult> layers;
};

/// What the passes of a step, at least one, come to: means over targets are over those of all passes, other losses are
/// means over the passes, and loads, drops and hashes are sums.
PassResult over_passes(std::span<const PassResult> passes);

/// A stack of blocks under a head: a decoder (next token), an encoder (masked tokens), or a decoder that reads an
/// encoder's output (span corruption).
class Transformer {
  public:
    /// @param parameters  of blueprint(config, moe); their values may come later
    Transformer(const ModelConfig& config, const MoeConfig& moe, Parameters& parameters,
                const ModelWorld& world, std::uint64_t seed);

    /// Forward and backward of this rank's sequences; adds to the gradients. Means over targets are over those of the
    /// whole step, so that its gradient does not depend on how it is cut into micro-steps.
    /// @param ids    [sequences, S + 1] token ids; may be empty on a rank
    /// @param batch  with document_begins, tokens of one document do not see those of others
    /// @par Collective over the world
    PassResult train(std::span<const std::int32_t> ids, const BatchInfo& batch, const Context& context) {
        return run(ids, batch, Use::train, context);
    }
    /// Forward only; the same rules (capacity) without noise. @par Collective over the world
    PassResult evaluate(std::span<const std::int32_t> ids, const BatchInfo& batch, const Context& context) {
        return run(ids, batch, Use::evaluate, context);
    }

    /// Lets the routers learn from the loads of a step whose update was applied (DeepSeek-V3's bias).
    void finish_step(const PassResult& step);
    /// Tells routers that choose by a table how often each token id occurs (moe.hash = balanced): before the first step,
    /// and the same on every rank. @param counts  [V]
    void set_token_counts(std::span<const index_t> counts);
    /// What routers carry from step to step, by the name of their layer; the same on every rank.
    std::map<std::string, std::vector<double>> router_state() const;
    /// @throws ConfigError naming what is missing, too much, or of another size
    void set_router_state(const std::map<std::string, std::vector<double>>& state);

    /// Called when the gradient of a parameter is complete for a pass; set before train().
    void on_gradient_ready(std::function<void(ParameterId)> callback) {
        gradient_ready_ = std::move(callback);
    }

    /// What generation keeps on this rank: slots for sequences, and how many tokens each has read.
    struct Generation {
        std::vector<BlockCache> caches;  ///< [slots, capacity, ...] of each block
        std::vector<index_t> lengths;    ///< [slots]

        /// Next tokens of so many sequences on a device that the host cannot read: what its work reads and leaves there.
        struct Step {
            CacheRows::OnDevice lists;
            Tensor logits;  ///< [T, V], of captured steps
        };
        /// Where steps are captured; null: the device has none, or the host has to decide within a step.
        std::unique_ptr<Graphs> graphs;
        std::map<index_t, Step> steps;  ///< by the number of sequences

        index_t num_slots() const { return static_cast<index_t>(lengths.size()); }
        index_t capacity() const { return caches.front().self.keys.shape()[1]; }
    };
    /// Starts a decoder without a prompt.
    Generation start_generation(index_t num_slots, index_t capacity, const Context& context) const;
    /// Starts the decoder of an encoder_decoder, whose encoder reads the source first. @par Collective over the world
    /// @param source  [B, source_len] token ids; may be empty on a rank
    Generation start_generation(std::span<const std::int32_t> source, index_t source_len, index_t capacity,
                                const Context& context) const;

    /// What of decode() the host has to decide, so that its steps cannot be captured; empty: nothing, and where the device
    /// captures (kernels/core/graphs.hpp), decode() runs a step of as many sequences for the third time by starting a graph.
    std::string host_decision() const;

    /// Logits of all rows of a prompt, or of its last one.
    enum class LogitRows { last, all };
    /// Reads a whole prompt into a slot, whose earlier sequence is forgotten. Dropless, as all that generates.
    ///
    /// A sequence's logits are the same bits whether it is prefilled or fed token by token, in whatever slot, and whatever
    /// else is generated; where numerics.mode is reproducible also on however many ranks (`fast` sums the experts of a
    /// token on each rank first). Instruction sets differ in bf16.
    /// @par Collective over the world
    /// @param ids  [S]; empty on a rank that has no prompt
    /// @return  [1, V] or [S, V]; no row without a prompt
    /// @throws ShapeError beyond the capacity
    Tensor prefill(std::span<const std::int32_t> ids, index_t slot, LogitRows rows, Generation& state,
                   const Context& context) const;
    /// Feeds one token to each of some slots, at the place that its sequence has reached, and returns logits [B, V].
    /// @par Collective over the world
    /// @param ids    [B]; may be empty on a rank
    /// @param slots  [B], each slot once
    /// @throws ShapeError beyond the capacity
    Tensor decode(std::span<const std::int32_t> ids, std::span<const index_t> slots, Generation& state,
                  const Context& context) const;
    /// Feeds every slot. @param ids  [slots]
    Tensor decode(std::span<const std::int32_t> ids, Generation& state, const Context& context) const;

    /// Cross entropy of every token but a row's first, given those before it in the row, in nats. Dropless, for decoders.
    /// Logits of all tokens never exist together. @par Collective over the world
    /// @param ids      [B, row_len]; may be empty on a rank
    /// @param row_len  2 to model.seq_len + 1
    /// @return  [B, row_len - 1]
    std::vector<float> score(std::span<const std::int32_t> ids, index_t row_len,
                             const Context& context) const;
    /// Logits [B * S, V] of an encoder that stands alone, at every position. Dropless. @par Collective over the world
    /// @param ids  [B, S]; may be empty on a rank
    Tensor read(std::span<const std::int32_t> ids, index_t seq_len, const Context& context) const;

    const ModelConfig& config() const { return config_; }

  private:
    /// What is predicted at one depth of this rank's rows.
    struct Prediction {
        std::vector<std::int32_t> ids;      ///< that the rows read
        std::vector<std::int32_t> targets;  ///< -1: the row has no target
        index_t num_targets = 0;            ///< over all ranks
        index_t num_targets_of_step = 0;    ///< and over all micro-steps
        Tensor loss = {};                   ///< of each row, f32
    };
    /// Inputs, targets and losses of a pass.
    struct Rows {
        PerDepth<Prediction>
            predictions;  ///< that of the head, then in training those of multi-token prediction
        index_t seq_len = 0;
        std::vector<std::int32_t> encoder_ids;  ///< of the encoder that a decoder reads
        index_t encoder_seq_len = 0;
        Tensor lse;  ///< of each row's logits, f32; empty without a z-loss
    };

    void build_stacks();
    void count_uses();
    void make_router_tables(std::span<const index_t> counts);
    void ready(ParameterId id);
    PassResult run(std::span<const std::int32_t> ids, const BatchInfo& batch, Use use,
                   const Context& context);
    Rows prepare(std::span<const std::int32_t> ids, const PassInfo& pass, const Context& context) const;
    Prediction shift(std::span<const std::int32_t> ids, index_t depth, const BatchInfo& batch) const;
    void mask(Prediction& prediction, const PassInfo& pass) const;
    void predict_further(Tape& tape, Value& hidden, const PassInfo& pass,
                         PerDepthSpan<Prediction> predictions, PerBlockSpan<MoeStatistics> statistics) const;
    /// What the ranks have measured in a pass: sums of the losses of each depth, of the squared logsumexp and of the losses
    /// of each layer, and the layers' hashes.
    struct Measured {
        Indexed<LossSumAxis, ExactSum> sums;
        std::vector<std::uint64_t> hashes;
    };
    /// @par Collective over the world
    Measured add_up(const Rows& rows, PerBlockSpan<const MoeStatistics> statistics,
                    const Context& context) const;
    PassResult reduce(const Rows& rows, PerBlockSpan<MoeStatistics> statistics, const BatchInfo& batch,
                      const Context& context) const;
    /// Adds what a layer reports. @param sums  of its losses
    void add_layer(PassResult& result, LayerResult layer, LossSums sums, index_t global_tokens) const;
    Generation empty_slots(index_t num_slots, index_t capacity, const Context& context) const;
    /// A pass over new rows outside of training, the same on every rank but for the rows.
    PassInfo generating(std::span<const std::int32_t> ids, index_t seq_len) const;
    /// The last norm of new tokens of generated sequences.
    Value& extend(Tape& tape, const PassInfo& pass, const CacheRows& rows, Generation& state) const;
    /// @throws ShapeError where one is beyond the capacity
    void check_rows(const CacheRows& rows, const Generation& state) const;
    /// @throws ShapeError where one is not in the vocabulary
    void check_ids(std::span<const std::int32_t> ids) const;
    /// The last norm of a whole stack, with no token dropped.
    Value& read_all(const Stack& stack, Tape& tape, const PassInfo& pass) const;
    Range stack_blocks() const { return {0, std::ssize(stack_->blocks())}; }
    Range module_blocks() const { return {stack_blocks().end, stack_blocks().end + std::ssize(modules_)}; }
    Range encoder_blocks() const { return {module_blocks().end, blocks_.size()}; }
    /// The same batch seen by a stack whose sequences have another length.
    BatchInfo scaled(BatchInfo batch, index_t seq_len) const;

    ModelConfig config_;
    MoeConfig moe_;
    Parameters& parameters_;
    ModelWorld world_;
    std::uint64_t seed_;
    LayerContext layer_context_;
    std::function<void(ParameterId)> gradient_ready_ = [](ParameterId) {};
    std::unique_ptr<Stack> stack_;           ///< under the head: a decoder, or an encoder that stands alone
    std::unique_ptr<Stack> encoder_;         ///< whose output the decoder reads, or none
    std::vector<PredictionModule> modules_;  ///< of depths 1, 2, ...
    PerBlock<const Block*> blocks_;
    std::unique_ptr<Head> head_;
    /// Parameters that several parts of a pass use, complete when the backward pass of the last one has run.
    struct Uses {
        index_t wanted = 1;
        index_t seen = 0;
    };
    std::map<ParameterId, Uses> shared_parameters_;
};

}  // namespace sy::model
