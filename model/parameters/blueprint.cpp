#include "model/parameters/blueprint.hpp"

#include <cmath>
#include <utility>

namespace sy::model {
namespace {

/// A layer under construction: its key, and what its parameters' names begin with.
struct Site {
    LayerKey key;
    std::string name;
};

class Builder {
  public:
    Builder(const ModelConfig& model, const MoeConfig& moe) : model_(model), moe_(moe) {}

    void add_table() {
        add({{StackId::main, -1, Part::embedding}, "embedding"}, Role::table, ".weight",
            {model_.vocab_size, model_.hidden});
    }
    void add_head() {
        const Site head{{StackId::main, -1, Part::output}, "head"};
        if (model_.head_transform) {
            add_projection(head, Role::transform, ".transform", model_.hidden, model_.hidden, true);
            add_norm(head, Role::transform_norm, ".transform_norm");
        }
        if (!model_.tied_head) add(head, Role::head, ".weight", {model_.hidden, model_.vocab_size});
        if (model_.head_bias) add_vector(head, Role::head, Piece::bias, ".bias", model_.vocab_size);
    }

    void add_stack(StackId stack, index_t num_layers) {
        const bool encoder = stack == StackId::encoder;
        const std::string prefix = encoder ? "encoder." : "";
        const Site embedding{{stack, -1, Part::embedding}, prefix};
        if (model_.position.kind == PositionKind::learned)
            add(embedding, Role::position_embedding, "position_embedding.weight",
                {model_.seq_len, model_.hidden});
        if (model_.token_types > 0)
            add(embedding, Role::token_type, "token_type.weight", {model_.token_types, model_.hidden});
        if (model_.embedding_norm) add_norm(embedding, Role::norm, "embedding_norm");
        if (model_.position.kind == PositionKind::t5)
            add(embedding, Role::position_bias, "position_bias", {model_.position.t5_buckets, model_.heads})
                .weight_decay = false;
        const std::vector<bool> is_moe = moe_layers(moe_, num_layers);
        const bool reads = model_.architecture == Architecture::encoder_decoder && !encoder;
        for (index_t layer = 0; layer < num_layers; ++layer)
            add_block(stack, layer, is_moe[static_cast<std::size_t>(layer)], reads);
        if (model_.norm_placement != NormPlacement::post)
            add_norm({{stack, -1, Part::output}, prefix}, Role::norm, "final_norm");
    }

    void add_prediction_modules() {
        if (model_.mtp_depth == 0) return;
        const bool is_moe = moe_layers(moe_, model_.layers).back();
        for (index_t depth = 0; depth < model_.mtp_depth; ++depth) {
            const Site module{{StackId::prediction, num_blocks_, Part::prediction},
                              block_name(StackId::prediction, depth)};
            add_norm(module, Role::hidden_norm, ".hidden_norm");
            add_norm(module, Role::embedding_norm, ".embedding_norm");
            add(module, Role::projection, ".projection", {2 * model_.hidden, model_.hidden});
            add_block(StackId::prediction, depth, is_moe, false);
        }
    }

    void add_mixture(StackId stack, index_t block, const std::string& name) {
        const Site router{{stack, block, Part::mixture}, name};
        const bool learned_noise = moe_.noise == LogitNoise::learned;
        if (moe_.router != "hash") {
            ParameterSpec& spec = add(router, Role::router, ".router", {model_.hidden, moe_.experts});
            // Noise of a learned scale begins with even choices: Shazeer et al., arXiv:1701.06538, appendix A.
            if (learned_noise) spec.init = Init::zeros;
        }
        if (learned_noise)
            add(router, Role::router_noise, ".router_noise", {model_.hidden, moe_.experts}).init =
                Init::zeros;
        if (moe_.router == "reinforce") {
            add(router, Role::baseline, ".router.baseline", {model_.hidden, 1}).init = Init::zeros;
            add_vector(router, Role::baseline, Piece::bias, ".router.baseline_offset", 1);
        }
        if (moe_.shared_experts > 0)
            add_feed_forward({{stack, block, Part::shared_experts}, name + ".shared"},
                             moe_.shared_experts * moe_.expert_width, false);
        if (moe_.shared_gate)
            add({{stack, block, Part::shared_experts}, name + ".shared"}, Role::output_gate, ".output_gate",
                {model_.hidden, 1});
        const Site experts{{stack, block, Part::experts}, name + ".experts"};
        const auto add_experts = [&](Role role, const char* part, index_t in, index_t out) -> auto& {
            ParameterSpec& spec = add(experts, role, part, {moe_.experts, in, out});
            spec.sharding = Sharding::expert;
            return spec;
        };
        if (ops::is_gated(model_.activation))
            add_experts(Role::gate, ".gate", model_.hidden, moe_.expert_width);
        add_experts(Role::up, ".up", model_.hidden, moe_.expert_width);
        writes_to_stream(add_experts(Role::down, ".down", moe_.expert_width, model_.hidden));
    }

    std::vector<ParameterSpec> finish() { return std::move(specs_); }

  private:
    ParameterSpec& add(const Site& site, Role role, const std::string& name, Shape shape) {
        return specs_.emplace_back(ParameterSpec{.name = site.name + name,
                                                 .shape = shape,
                                                 .key = {site.key, role, Piece::matrix},
                                                 .deviation = static_cast<float>(model_.init_std)});
    }
    /// Biases start at 0 and gains at 1; neither decays.
    ParameterSpec& add_vector(const Site& site, Role role, Piece piece, const std::string& name,
                              index_t size) {
        ParameterSpec& spec = add(site, role, name, {size});
        spec.key.piece = piece;
        spec.init = piece == Piece::bias ? Init::zeros : Init::ones;
        spec.weight_decay = false;
        return spec;
    }
    void add_gain(const Site& site, Role role, const std::string& name, index_t width) {
        add_vector(site, role, Piece::gain, name + ".gain", width);
    }
    /// A norm over the residual stream.
    void add_norm(const Site& site, Role role, const std::string& name) {
        add_gain(site, role, name, model_.hidden);
        if (model_.norm_bias) add_vector(site, role, Piece::bias, name + ".bias", model_.hidden);
    }
    void add_projection(const Site& site, Role role, const std::string& name, index_t in, index_t out,
                        bool biased) {
        add(site, role, name, {in, out});
        if (biased) add_vector(site, role, Piece::bias, name + "_bias", out);
    }
    ParameterSpec& writes_to_stream(ParameterSpec& spec) const {
        spec.deviation = output_deviation(model_);
        return spec;
    }

    /// A sub-layer between its norms. In parallel, the first sub-layer's norm serves all.
    template <class Body>
    void add_sublayer(const Site& site, bool is_first, const Body& body) {
        if (model_.wiring == Wiring::serial || is_first) add_norm(site, Role::norm, "_norm");
        body();
        if (model_.norm_placement == NormPlacement::both) add_norm(site, Role::output_norm, "_output_norm");
    }

    void add_block(StackId stack, index_t layer, bool is_moe, bool reads_encoder) {
        const index_t block = num_blocks_++;
        const std::string name = block_name(stack, layer);
        const Site attention{{stack, block, Part::attention}, name + ".attention"};
        add_sublayer(attention, true, [&] {
            if (model_.attention.kind == AttentionKind::latent) {
                add_latent_attention(attention);
            } else {
                add_grouped_attention(attention);
            }
        });
        if (reads_encoder) {
            const Site cross{{stack, block, Part::cross_attention}, name + ".cross_attention"};
            add_sublayer(cross, false, [&] { add_grouped_attention(cross); });
        }
        const Site feed_forward{{stack, block, Part::feed_forward}, name + ".feed_forward"};
        add_sublayer(feed_forward, false, [&] {
            if (is_moe) {
                add_mixture(stack, block, name + ".moe");
            } else {
                add_feed_forward(feed_forward, model_.ffn_width, model_.ffn_bias);
            }
        });
    }

    void add_grouped_attention(const Site& site) {
        const index_t hidden = model_.hidden;
        const index_t width = model_.head_width();
        const Biases biases = model_.attention.bias;
        const bool inner = biases != Biases::none;
        add_projection(site, Role::query, ".query", hidden, model_.heads * width, inner);
        add_projection(site, Role::key, ".key", hidden, model_.kv_heads * width, inner);
        add_projection(site, Role::value, ".value", hidden, model_.kv_heads * width, inner);
        writes_to_stream(add(site, Role::output, ".output", {model_.heads * width, hidden}));
        if (biases == Biases::all) add_vector(site, Role::output, Piece::bias, ".output_bias", hidden);
        const QkNorm norm = model_.attention.qk_norm;
        if (norm == QkNorm::none) return;
        const bool whole = norm == QkNorm::projection;
        add_gain(site, Role::query_norm, ".query_norm", whole ? model_.heads * width : width);
        add_gain(site, Role::key_norm, ".key_norm", whole ? model_.kv_heads * width : width);
    }

    /// DeepSeek-V2, arXiv:2405.04434, section 2.1: queries and the pair of keys and values pass through narrow normed
    /// rows; the rotary key is shared by all heads.
    void add_latent_attention(const Site& site) {
        const AttentionConfig& attention = model_.attention;
        const index_t hidden = model_.hidden;
        const index_t value_width = attention.value_dim > 0 ? attention.value_dim : model_.head_width();
        const index_t query_width = model_.heads * (model_.head_width() + attention.rope_dim);
        const bool narrow = attention.query_rank > 0;
        add(site, Role::key_value_down, ".key_value_down", {hidden, attention.kv_rank + attention.rope_dim});
        add_gain(site, Role::key_value_norm, ".key_value_norm", attention.kv_rank);
        add(site, Role::key_value_up, ".key_value_up",
            {attention.kv_rank, model_.heads * (model_.head_width() + value_width)});
        add(site, Role::query, ".query", {narrow ? attention.query_rank : hidden, query_width});
        writes_to_stream(add(site, Role::output, ".output", {model_.heads * value_width, hidden}));
        if (!narrow) return;
        add(site, Role::query_down, ".query_down", {hidden, attention.query_rank});
        add_gain(site, Role::query_norm, ".query_norm", attention.query_rank);
    }

    void add_feed_forward(const Site& site, index_t width, bool biased) {
        const bool gated = ops::is_gated(model_.activation);
        if (gated) add(site, Role::gate, ".gate", {model_.hidden, width});
        add(site, Role::up, ".up", {model_.hidden, width});
        writes_to_stream(add(site, Role::down, ".down", {width, model_.hidden}));
        if (!biased) return;
        if (gated) add_vector(site, Role::gate, Piece::bias, ".gate_bias", width);
        add_vector(site, Role::up, Piece::bias, ".up_bias", width);
        add_vector(site, Role::down, Piece::bias, ".down_bias", model_.hidden);
    }

    const ModelConfig& model_;
    const MoeConfig& moe_;
    index_t num_blocks_ = 0;
    std::vector<ParameterSpec> specs_;
};

}  // namespace

std::string ParameterKey::to_string() const {
    return concat("block ", layer.block, ", part ", static_cast<int>(layer.part), ", role ",
                  static_cast<int>(role), ", piece ", static_cast<int>(piece));
}

std::string block_name(StackId stack, index_t layer) {
    switch (stack) {
        case StackId::main:
            return concat("layers.", layer);
        case StackId::encoder:
            return concat("encoder.layers.", layer);
        case StackId::prediction:
            break;
    }
    return concat("mtp.", layer);
}

float output_deviation(const ModelConfig& model) {
    return static_cast<float>(model.init_std / std::sqrt(2.0 * static_cast<double>(model.layers)));
}

std::vector<ParameterSpec> blueprint(const ModelConfig& model, const MoeConfig& moe) {
    Builder builder(model, moe);
    builder.add_table();
    builder.add_stack(StackId::main, model.layers);
    builder.add_prediction_modules();
    if (model.architecture == Architecture::encoder_decoder)
        builder.add_stack(StackId::encoder, model.num_encoder_layers());
    builder.add_head();
    return builder.finish();
}

std::vector<ParameterSpec> mixture_blueprint(const ModelConfig& model, const MoeConfig& moe) {
    Builder builder(model, moe);
    builder.add_mixture(kFirstMixture.stack, kFirstMixture.block,
                        block_name(kFirstMixture.stack, 0) + ".moe");
    return builder.finish();
}

}  // namespace sy::model
