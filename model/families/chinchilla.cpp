#include "model/families/lineages.hpp"

namespace sy::model {

/// Hoffmann et al., arXiv:2203.15556, table 4; the architecture is Gopher's, arXiv:2112.11446, section 3.1.
std::vector<Preset> chinchilla_presets() {
    Preset preset{
        .name = "chinchilla-70b",
        .source = "arXiv:2203.15556",
        .total = {70e9, 2},
        .beyond =
            "relative positions of Transformer-XL, with a [H, H] matrix in each layer, for which RoPE "
            "stands here; activation and tying are not published",
        .beyond_parameters = 80 * 8192 * index_t{8192}};
    preset.moe = no_mixture();
    ModelConfig& model = preset.model;
    model.vocab_size = 32000;
    set_sizes(model, {.hidden = 8192, .layers = 80, .heads = 64, .ffn_width = 4 * 8192});
    model.activation = Activation::gelu;
    model.seq_len = 2048;
    return {preset};
}

}  // namespace sy::model
