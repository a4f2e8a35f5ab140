#include "model/config.hpp"

/// Sizes follow the shapes that layers register: [in, out] matrices, [H] gains, [E, in, out] experts.
namespace sy::model {
namespace {

/// Sums over the layers of a stack.
struct Sums {
    index_t parameters = 0;
    index_t experts = 0;    ///< of all routed experts
    index_t unvisited = 0;  ///< of the experts that a token does not visit
    double products = 0.0;  ///< multiply-adds of a token

    void add(index_t matrix) {
        parameters += matrix;
        products += static_cast<double>(matrix);
    }
};

enum class Visible { before, everything };

struct Stack {
    index_t num_layers;
    Visible visible;
    double length;  ///< of its sequences
};

index_t norm_size(const ModelConfig& model) {
    return model.hidden * (model.norm_bias ? 2 : 1);
}

/// Norms of a layer with some sub-layers.
index_t num_norms(const ModelConfig& model, index_t num_sublayers) {
    const bool parallel = model.wiring == Wiring::parallel;
    switch (model.norm_placement) {
        case NormPlacement::pre:
        case NormPlacement::post:
            return parallel ? 1 : num_sublayers;
        case NormPlacement::both:
            return num_sublayers + (parallel ? 1 : num_sublayers);
        case NormPlacement::outside:
            break;
    }
    return num_sublayers;
}

index_t value_width(const ModelConfig& model) {
    return model.attention.kind == AttentionKind::latent && model.attention.value_dim > 0
               ? model.attention.value_dim
               : model.head_width();
}

/// Keys that a query sees on average, the sequence being long. A window of 0 is none.
double mean_visible(const Stack& stack, index_t window) {
    if (stack.visible == Visible::everything) return stack.length;
    const auto keys = static_cast<double>(window);
    return window <= 0 || keys >= stack.length ? stack.length / 2.0
                                               : keys - keys * keys / (2.0 * stack.length);
}

/// DeepSeek-V2, arXiv:2405.04434, section 2.1: queries and the pair of keys and values pass through narrow normed
/// vectors; the rotary key is shared by all heads.
void add_latent_attention(const ModelConfig& model, Sums& sums) {
    const AttentionConfig& attention = model.attention;
    const index_t query_width = model.heads * (model.head_width() + attention.rope_dim);
    if (attention.query_rank > 0) {
        sums.add(model.hidden * attention.query_rank);
        sums.add(attention.query_rank * query_width);
        sums.parameters += attention.query_rank;
    } else {
        sums.add(model.hidden * query_width);
    }
    sums.add(model.hidden * (attention.kv_rank + attention.rope_dim));
    sums.parameters += attention.kv_rank;
    sums.add(attention.kv_rank * model.heads * (model.head_width() + value_width(model)));
    sums.add(model.heads * value_width(model) * model.hidden);
}

void add_grouped_attention(const ModelConfig& model, Sums& sums) {
    const index_t width = model.head_width();
    const index_t projected = (model.heads + 2 * model.kv_heads) * width;
    sums.add(model.hidden * projected);
    sums.add(model.heads * width * model.hidden);
    if (model.attention.bias != Biases::none) sums.parameters += projected;
    if (model.attention.bias == Biases::all) sums.parameters += model.hidden;
    if (model.attention.qk_norm) sums.parameters += 2 * width;
}

/// Projections without the scores.
void add_attention(const ModelConfig& model, Sums& sums) {
    if (model.attention.kind == AttentionKind::latent) {
        add_latent_attention(model, sums);
    } else {
        add_grouped_attention(model, sums);
    }
}

/// Scores, and the sum over values that they weight.
double score_products(const ModelConfig& model, double keys) {
    const index_t rope =
        model.attention.kind == AttentionKind::latent ? model.attention.rope_dim : index_t{0};
    return static_cast<double>(model.heads * (model.head_width() + rope + value_width(model))) * keys;
}

index_t feed_forward_matrices(const ModelConfig& model, index_t width) {
    return (ops::is_gated(model.activation) ? 3 : 2) * model.hidden * width;
}

void add_dense(const ModelConfig& model, Sums& sums) {
    sums.add(feed_forward_matrices(model, model.ffn_width));
    if (model.ffn_bias)
        sums.parameters += (ops::is_gated(model.activation) ? 2 : 1) * model.ffn_width + model.hidden;
}

void add_mixture(const ModelConfig& model, const MoeConfig& moe, Sums& sums) {
    const index_t expert = feed_forward_matrices(model, moe.expert_width);
    const index_t router = moe.router == "hash" ? 0 : model.hidden * moe.experts;
    sums.add(router);
    if (moe.noise == LogitNoise::learned) sums.add(router);
    if (moe.router == "reinforce") sums.add(model.hidden + 1);
    sums.add(moe.shared_experts * expert);
    sums.parameters += moe.experts * expert;
    sums.experts += moe.experts * expert;
    sums.unvisited += (moe.experts - moe.top_k) * expert;
    sums.products += static_cast<double>(moe.top_k * expert);
}

/// One layer without the scores of its attention.
void add_layer(const ModelConfig& model, const MoeConfig& moe, bool is_moe, Sums& sums) {
    add_attention(model, sums);
    if (is_moe) {
        add_mixture(model, moe, sums);
    } else {
        add_dense(model, sums);
    }
    sums.parameters += num_norms(model, 2) * norm_size(model);
}

/// What a stack has besides its layers.
index_t stack_ends(const ModelConfig& model) {
    index_t size = 0;
    if (model.norm_placement != NormPlacement::post) size += norm_size(model);
    if (model.embedding_norm) size += norm_size(model);
    if (model.position.kind == PositionKind::learned) size += model.seq_len * model.hidden;
    if (model.position.kind == PositionKind::t5) size += model.position.t5_buckets * model.heads;
    return size;
}

/// All of a stack. Patterns count each stack's layers from 0.
Sums size_of_stack(const ModelConfig& model, const MoeConfig& moe, const Stack& stack) {
    Sums sums;
    if (stack.num_layers == 0) return sums;
    const std::vector<bool> is_moe = moe_layers(moe, stack.num_layers);
    const std::vector<bool> windowed =
        layer_pattern("attention.window_layers", model.attention.window_layers, stack.num_layers);
    for (std::size_t layer = 0; layer < is_moe.size(); ++layer) {
        add_layer(model, moe, is_moe[layer], sums);
        const index_t window = windowed[layer] ? model.attention.window : 0;
        sums.products += score_products(model, mean_visible(stack, window));
    }
    sums.parameters += stack_ends(model);
    return sums;
}

/// The layers of a decoder that look into an encoder's output. @return products of an encoder's token in them
double add_cross_attention(const ModelConfig& model, const Stack& encoder, Sums& decoder) {
    Sums one;
    add_grouped_attention(model, one);
    const auto layers = static_cast<double>(model.layers);
    decoder.parameters +=
        model.layers * (one.parameters + (num_norms(model, 3) - num_norms(model, 2)) * norm_size(model));
    const auto keys = static_cast<double>(2 * model.hidden * model.kv_heads * model.head_width());
    decoder.products += layers * (one.products - keys + score_products(model, mean_visible(encoder, 0)));
    return layers * keys;
}

/// DeepSeek-V3, arXiv:2412.19437, section 2.2: two norms, a projection of both inputs, one block like the last.
Sums prediction_module(const ModelConfig& model, const MoeConfig& moe, const Stack& decoder) {
    Sums sums;
    sums.add(2 * model.hidden * model.hidden);
    sums.parameters += 2 * norm_size(model);
    add_layer(model, moe, moe_layers(moe, model.layers).back(), sums);
    sums.products += score_products(model, mean_visible(decoder, 0));
    sums.products += static_cast<double>(model.vocab_size * model.hidden);
    return sums;
}

}  // namespace

StackShares stack_shares(const ModelConfig& model) {
    if (model.architecture == Architecture::decoder) return {0.0, 1.0};
    if (model.architecture == Architecture::encoder) return {1.0, 0.0};
    const double spans = model.mask_fraction / static_cast<double>(model.span_length);
    return {1.0 - model.mask_fraction + spans, model.mask_fraction + spans};
}

ModelSize model_size(const ModelConfig& model, const MoeConfig& moe) {
    const index_t head = model.vocab_size * model.hidden;
    const StackShares shares = stack_shares(model);
    const auto length = static_cast<double>(model.seq_len);
    const Stack lower{model.num_encoder_layers(), Visible::everything, shares.encoder * length};
    const Stack upper{model.num_decoder_layers(), Visible::before, shares.decoder * length};
    const Sums encoder = size_of_stack(model, moe, lower);
    Sums decoder = size_of_stack(model, moe, upper);
    double products = shares.encoder * encoder.products;
    if (model.architecture == Architecture::encoder_decoder)
        products += shares.encoder * add_cross_attention(model, lower, decoder);
    Sums modules;
    for (index_t depth = 0; depth < model.mtp_depth; ++depth) {
        const Sums one = prediction_module(model, moe, upper);
        modules.parameters += one.parameters;
        modules.experts += one.experts;
        modules.products += one.products;
    }
    products += shares.decoder * decoder.products + modules.products;
    // What comes out of the last stack goes through the head.
    products += (upper.num_layers > 0 ? shares.decoder : shares.encoder) * static_cast<double>(head);
    ModelSize size;
    size.mtp_parameters = modules.parameters;
    size.expert_parameters = encoder.experts + decoder.experts + modules.experts;
    size.total_parameters =
        encoder.parameters + decoder.parameters + modules.parameters + head * (model.tied_head ? 1 : 2);
    size.active_parameters =
        size.total_parameters - size.mtp_parameters - encoder.unvisited - decoder.unvisited;
    size.forward_flops_per_token = 2.0 * products;
    return size;
}

}  // namespace sy::model
