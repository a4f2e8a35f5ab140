#include <cmath>

#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

/// Vaswani et al., arXiv:1706.03762, table 3. Projections of attention have no biases there (section 3.2.2), the
/// feed-forwards do (equation 2); embeddings of both sides and the output projection are one matrix (section 3.4).
Preset transformer(const char* name, index_t hidden) {
    Preset preset{.name = name, .source = "arXiv:1706.03762", .moe = no_mixture()};
    ModelConfig& model = preset.model;
    model.architecture = Architecture::encoder_decoder;
    model.vocab_size = 37000;
    set_sizes(model, {.hidden = hidden, .layers = 6, .heads = hidden / 64, .ffn_width = 4 * hidden});
    model.activation = Activation::relu;
    model.ffn_bias = true;
    model.seq_len = 512;
    model.norm = NormKind::layer;
    model.norm_bias = true;
    model.norm_placement = NormPlacement::post;
    model.embedding_scale = std::sqrt(static_cast<double>(hidden));
    model.tied_head = true;
    model.dropout = 0.1;
    model.position.kind = PositionKind::sine;
    preset.beyond =
        "it translates sentence pairs, here spans are restored; label smoothing; the size of the shared "
        "vocabulary is "
        "given as about 37000, which the published totals do not follow from";
    return preset;
}

}  // namespace

std::vector<Preset> transformer_presets() {
    Preset base = transformer("transformer-2017-base", 512);
    base.total = {65e6, 1};
    Preset big = transformer("transformer-2017-big", 1024);
    big.total = {213e6, 2};
    big.model.dropout = 0.3;
    return {base, big};
}

}  // namespace sy::model
