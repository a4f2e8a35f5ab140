#pragma once

#include <compare>
#include <string>
#include <vector>

#include "kernels/core/tensor.hpp"
#include "model/config.hpp"

/// The table of a model's parameters, from its config alone: what there is, what it is called, how large it is and what
/// it is for. Layers find their own by key; whoever moves, counts, converts or upcycles weights reads the table.
/// Weights of products are stored [in, out], those of routed experts [E, in, out].
namespace sy::model {

/// The stack of blocks that a parameter belongs to.
enum class StackId {
    main,        ///< under the head: a decoder, or an encoder that stands alone
    encoder,     ///< whose output a decoder reads
    prediction,  ///< the modules of multi-token prediction, one a depth
};

/// The layer that a parameter belongs to.
enum class Part {
    embedding,  ///< of a stack: tables, positions, their norm
    attention,
    cross_attention,
    feed_forward,    ///< dense; of a mixture its norms
    mixture,         ///< the router
    shared_experts,  ///< one wide feed-forward
    experts,         ///< the routed ones
    prediction,      ///< what a module of multi-token prediction has before its block
    output,          ///< of a stack: last norm and head
};

/// What a parameter does in its layer.
enum class Role {
    table,
    position_embedding,
    position_bias,
    token_type,
    norm,         ///< on the residual stream, before or behind the layer as model.norm_placement says
    output_norm,  ///< the second norm of norm_placement = both
    query,
    key,
    value,
    output,
    query_norm,
    key_norm,
    query_down,
    key_value_down,
    key_value_norm,
    key_value_up,
    gate,
    up,
    down,
    router,
    router_noise,
    output_gate,  ///< of the shared experts
    baseline,
    hidden_norm,
    embedding_norm,
    projection,
    transform,       ///< the dense layer before the head, as model.head_transform
    transform_norm,  ///< and its norm
    head,
};

/// A parameter of a role: a product's matrix or a table, a bias, or a norm's gain.
enum class Piece { matrix, bias, gain };

/// Where a layer stands.
struct LayerKey {
    StackId stack = StackId::main;
    index_t block = -1;  ///< stream_idx, counted over all stacks; -1 outside blocks
    Part part = Part::embedding;

    auto operator<=>(const LayerKey&) const = default;
};

struct ParameterKey {
    LayerKey layer;
    Role role = Role::table;
    Piece piece = Piece::matrix;

    auto operator<=>(const ParameterKey&) const = default;
    /// "block 3, part 1, role 5, piece 0": for messages about what is not there.
    std::string to_string() const;
};

enum class Sharding {
    replicated,  ///< every rank holds all of it; optimizer state is sharded over all ranks
    expert,  ///< dimension 0 counts experts; a rank holds those placed on it; replicas share optimizer state
};

enum class Init { normal, ones, zeros };

struct ParameterSpec {
    std::string name;  ///< logical: "layers.3.moe.experts.gate"
    Shape shape;       ///< global: [H], [in, out] or [E, in, out]
    ParameterKey key;
    Sharding sharding = Sharding::replicated;
    Init init = Init::normal;
    float deviation = 0.02F;
    bool weight_decay = true;
    index_t uses = 1;     ///< how often, at most, a token of a pass adds to an element of the gradient
    bool frozen = false;  ///< takes no part in optimizer steps

    /// The mixture layer whose placement an expert parameter follows.
    index_t layer() const { return key.layer.block; }
};

/// "layers.3", "encoder.layers.3" or "mtp.0". @param layer  in its stack
std::string block_name(StackId stack, index_t layer);

/// Deviation of initial weights that write to the residual stream: init_std / sqrt(2 * layers).
/// @par Source  Radford et al., GPT-2 (2019), section 2.3
float output_deviation(const ModelConfig& model);

/// Every parameter of a model, in flat order, which is the order of memory and messages.
/// @pre  no model_problems()
std::vector<ParameterSpec> blueprint(const ModelConfig& model, const MoeConfig& moe);

/// The mixture of a main stack's first block: where kFirstMixture stands without a model around it.
std::vector<ParameterSpec> mixture_blueprint(const ModelConfig& model, const MoeConfig& moe);
inline constexpr LayerKey kFirstMixture{StackId::main, 0, Part::mixture};

}  // namespace sy::model
