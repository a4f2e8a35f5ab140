#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/layers/attention.hpp"
#include "model/layers/feed_forward.hpp"
#include "model/layers/norm_layer.hpp"
#include "model/moe/moe_layer.hpp"

namespace sy::model {

/// The residual stream: a sum and, unless null, what is still to be added to it. They share one gradient, the sum's.
struct Stream {
    Value* sum = nullptr;
    Value* delta = nullptr;
};

/// What the blocks of a model share besides LayerContext; borrowed.
struct BlockContext {
    LayerContext& shared;
    const MoeConfig& moe;
    const ModelWorld& world;
};

/// Where a block stands.
struct BlockSpec {
    StackId stack = StackId::main;
    index_t layer_idx = 0;   ///< in its stack; of multi-token prediction, behind the main stack's last
    index_t stream_idx = 0;  ///< over all stacks: in keys of parameters and random numbers
    std::string name;        ///< "layers.3", for people
    ops::Visibility visibility = ops::Visibility::causal;
    index_t window = 0;  ///< as AttentionSpec
};

/// What generation keeps of a block.
struct BlockCache {
    KeyValueCache self;
    KeyValueCache cross;  ///< empty without cross-attention
};

/// A pass through a block.
struct BlockRun {
    Tape& tape;
    const PassInfo& pass;
    MoeStatistics* statistics = nullptr;     ///< of its mixture; null on a replay
    const EncoderOutput* encoder = nullptr;  ///< what cross-attention reads
    BlockCache* cache = nullptr;             ///< of a generation; else null
    const CacheRows* rows = nullptr;         ///< what a generation feeds
};

/// Attention, cross-attention where the blueprint has it, and a feed-forward or mixture; with norms and residual sums where
/// model.norm_placement and model.wiring say, and dropout of what is added to the stream.
class Block {
  public:
    Block(const BlockContext& context, const Positions& positions, const BlockSpec& spec);

    Stream forward(const BlockRun& run, Stream in) const;

    const BlockSpec& spec() const { return spec_; }
    const AttentionLayer& attention() const { return *attention_; }
    const AttentionLayer* cross_attention() const { return cross_attention_.get(); }
    const MoeLayer* moe() const { return moe_.get(); }

  private:
    struct SubLayer {
        Part part;
        std::unique_ptr<NormLayer> norm;
        std::unique_ptr<NormLayer> output_norm;  ///< second norm of NormPlacement::both
    };

    LayerKey key(Part part) const { return {spec_.stack, spec_.stream_idx, part}; }
    void add_sublayer(Part part);
    index_t dropout_stream(Part part) const;
    Value& apply(const SubLayer& layer, const BlockRun& run, Value& x) const;
    Value& apply_untraced(const SubLayer& layer, const BlockRun& run, Value& x) const;
    Value& drop(const SubLayer& layer, const BlockRun& run, Value& x) const;
    Stream serial(const SubLayer& layer, const BlockRun& run, Stream in) const;
    Stream parallel(const BlockRun& run, Stream in) const;

    LayerContext& shared_;
    TraceLog* trace_;
    BlockSpec spec_;
    std::vector<SubLayer> sublayers_;
    std::unique_ptr<AttentionLayer> attention_;
    std::unique_ptr<AttentionLayer> cross_attention_;  ///< or none
    std::unique_ptr<FeedForward> feed_forward_;        ///< one of these two
    std::unique_ptr<MoeLayer> moe_;
};

}  // namespace sy::model
