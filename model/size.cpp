#include "model/parameters/blueprint.hpp"

/// Sizes are sums over the table of parameters; the products of attention's scores, which have no weights, come on top.
namespace sy::model {
namespace {

/// Keys that a query of a sequence of `length` sees on average, the sequence being long. A window of 0 is none.
double mean_visible_before(double length, index_t window) {
    const auto keys = static_cast<double>(window);
    return window <= 0 || keys >= length ? length / 2.0 : keys - keys * keys / (2.0 * length);
}

/// Multiply-adds of a query's scores, and of the sum over values that they weight.
double score_products(const ModelConfig& model, double keys) {
    const bool latent = model.attention.kind == AttentionKind::latent;
    const index_t rope = latent ? model.attention.rope_dim : index_t{0};
    const index_t value =
        latent && model.attention.value_dim > 0 ? model.attention.value_dim : model.head_width();
    return static_cast<double>(model.heads * (model.head_width() + rope + value)) * keys;
}

bool is_expert(const ParameterSpec& spec) {
    return spec.key.layer.part == Part::experts;
}

/// Multiply-adds of a token in a parameter's product. The head is counted by itself: it may be tied.
index_t products(const ParameterSpec& spec, const MoeConfig& moe) {
    const auto& [layer, role, piece] = spec.key;
    const bool multiplies = piece == Piece::matrix && layer.part != Part::embedding && role != Role::head &&
                            role != Role::baseline;
    if (!multiplies) return 0;
    const index_t elements = spec.shape.num_elements();
    return is_expert(spec) ? elements / moe.experts * moe.top_k : elements;
}

/// Tokens that each stack reads for a token of text, and how long its sequences are.
struct Stacks {
    StackShares shares;
    double main = 1.0;
    double length = 0.0;

    explicit Stacks(const ModelConfig& model) : shares(stack_shares(model)) {
        main = model.architecture == Architecture::encoder ? shares.encoder : shares.decoder;
        length = static_cast<double>(model.seq_len);
    }
    double share(const LayerKey& layer, Role role) const {
        // Keys and values of cross-attention are made of the encoder's tokens.
        const bool of_encoder =
            layer.stack == StackId::encoder ||
            (layer.part == Part::cross_attention && (role == Role::key || role == Role::value));
        if (of_encoder) return shares.encoder;
        return layer.stack == StackId::main ? main : 1.0;
    }
};

/// Multiply-adds of all scores for a token of text.
double all_score_products(const ModelConfig& model, const Stacks& stacks) {
    const double encoder_length = stacks.shares.encoder * stacks.length;
    const double everything = score_products(model, encoder_length);
    double sum = stacks.shares.encoder * static_cast<double>(model.num_encoder_layers()) * everything;
    if (model.num_decoder_layers() == 0) return sum;
    const double decoder_length = stacks.shares.decoder * stacks.length;
    const auto before = [&](index_t window) {
        return score_products(model, mean_visible_before(decoder_length, window));
    };
    double decoder = 0.0;
    for (const bool windowed :
         layer_pattern("attention.window_layers", model.attention.window_layers, model.layers))
        decoder += before(windowed ? model.attention.window : 0);
    if (model.architecture == Architecture::encoder_decoder)
        decoder += static_cast<double>(model.layers) * everything;
    return sum + stacks.shares.decoder * decoder + static_cast<double>(model.mtp_depth) * before(0);
}

}  // namespace

StackShares stack_shares(const ModelConfig& model) {
    if (model.architecture == Architecture::decoder) return {0.0, 1.0};
    if (model.architecture == Architecture::encoder) return {1.0, 0.0};
    const double spans = model.mask_fraction / static_cast<double>(model.span_length);
    return {1.0 - model.mask_fraction + spans, model.mask_fraction + spans};
}

ModelSize model_size(const ModelConfig& model, const MoeConfig& moe) {
    const Stacks stacks(model);
    ModelSize size;
    index_t unvisited = 0;
    double multiply_adds = all_score_products(model, stacks);
    for (const ParameterSpec& spec : blueprint(model, moe)) {
        const LayerKey& layer = spec.key.layer;
        const index_t elements = spec.shape.num_elements();
        size.total_parameters += elements;
        if (is_expert(spec)) size.expert_parameters += elements;
        if (layer.stack == StackId::prediction) {
            size.mtp_parameters += elements;
        } else if (is_expert(spec)) {
            unvisited += elements / moe.experts * (moe.experts - moe.top_k);
        }
        multiply_adds += stacks.share(layer, spec.key.role) * static_cast<double>(products(spec, moe));
    }
    const auto head = static_cast<double>(model.vocab_size * model.hidden);
    multiply_adds += (stacks.main + static_cast<double>(model.mtp_depth)) * head;
    size.active_parameters = size.total_parameters - size.mtp_parameters - unvisited;
    size.forward_flops_per_token = 2.0 * multiply_adds;
    return size;
}

}  // namespace sy::model
