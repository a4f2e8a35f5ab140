#include <cmath>

#include "model/families/lineages.hpp"

namespace sy::model {

ModelConfig t5_model(index_t hidden, index_t layers, index_t heads, index_t head_dim, index_t ffn_width) {
    ModelConfig model;
    model.architecture = Architecture::encoder_decoder;
    model.vocab_size = 32128;
    set_sizes(model, {.hidden = hidden, .layers = layers, .heads = heads, .ffn_width = ffn_width});
    model.head_dim = head_dim;
    model.activation = Activation::relu;
    model.seq_len = 512;
    model.norm_eps = 1e-6;
    model.tied_head = true;
    model.logit_scale = 1.0 / std::sqrt(static_cast<double>(hidden));
    model.dropout = 0.1;
    model.attention.scale = 1.0;
    model.attention.dropout = 0.1;
    model.position.kind = PositionKind::t5;
    return model;
}

/// Raffel et al., arXiv:1910.10683; config.json of t5-base and t5-11b. Version 1.1 (untied head, GEGLU): Shazeer,
/// arXiv:2002.05202; config.json of google/t5-v1_1-base and google/t5-v1_1-xxl.
std::vector<Preset> t5_presets() {
    const auto preset = [](const char* name, const ModelConfig& model, double total) {
        return Preset{.name = name,
                      .source = "arXiv:1910.10683",
                      .model = model,
                      .moe = no_mixture(),
                      .total = {total, 0}};
    };
    const auto version_1_1 = [&](const char* name, const ModelConfig& first, double total) {
        Preset result = preset(name, first, total);
        result.source += ", arXiv:2002.05202";
        result.model.activation = Activation::geglu_tanh;
        result.model.tied_head = false;
        result.model.logit_scale = 1.0;
        result.model.dropout = result.model.attention.dropout = 0.0;
        return result;
    };
    return {preset("t5-base", t5_model(768, 12, 12, 64, 3072), 222'903'552.0),
            preset("t5-11b", t5_model(1024, 24, 128, 128, 65536), 11'307'321'344.0),
            version_1_1("t5-v1.1-base", t5_model(768, 12, 12, 64, 2048), 247'577'856.0),
            version_1_1("t5-v1.1-xxl", t5_model(4096, 24, 64, 64, 10240), 11'135'332'352.0)};
}

}  // namespace sy::model
