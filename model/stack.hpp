#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/block.hpp"
#include "model/layers/embedding.hpp"
#include "model/layers/head_transform.hpp"
#include "model/layers/norm_layer.hpp"
#include "model/layers/positions.hpp"

namespace sy::model {

/// Blocks on top of each other, with what they share: an encoder or a decoder without its head.
class Stack {
  public:
    struct Spec {
        StackId id = StackId::main;
        index_t num_layers = 0;
        index_t first_stream = 0;  ///< of its first layer over all stacks
        ops::Visibility visibility = ops::Visibility::causal;
    };
    Stack(const BlockContext& context, const Spec& spec);

    /// @param statistics  one a block
    /// @param encoder     what cross-attention reads; null without
    /// @return  the residual stream, and its last norm: the same value where norms stand behind sums
    NormLayer::Result forward(Tape& tape, const PassInfo& pass, std::span<MoeStatistics> statistics,
                              const EncoderOutput* encoder = nullptr) const;
    /// New tokens of generated sequences, pass.ids. @param caches  one a block
    NormLayer::Result extend(Tape& tape, const PassInfo& pass, std::span<BlockCache> caches,
                             const CacheRows& rows) const;

    /// A pass through one block. Without backward, and where model.recompute = block, nothing stays of it but its output;
    /// without backward its input is freed, too.
    Stream run(const Block& block, const BlockRun& run, Stream in) const;

    const Embedding& embedding() const { return embedding_; }
    const Positions& positions() const { return positions_; }
    std::span<const Block> blocks() const { return blocks_; }
    /// The last norm of a stream, or the stream itself, and what stands before the head.
    NormLayer::Result finish(Tape& tape, Stream stream, const PassInfo& pass) const;

  private:
    /// A block's output on run.tape; what the block made beside it is freed.
    static Stream run_alone(const Block& block, const BlockRun& run, Stream in);
    Stream run_recomputed(const Block& block, const BlockRun& run, Stream in) const;

    LayerContext& shared_;
    TraceLog* trace_;
    Embedding embedding_;
    Positions positions_;
    std::vector<Block> blocks_;
    std::unique_ptr<NormLayer> final_norm_;
    std::unique_ptr<HeadTransform> transform_;  ///< of the stack under the head, where the model has one
};

}  // namespace sy::model
