#include "model/families/lineages.hpp"

namespace sy::model {

/// Chowdhery et al., arXiv:2204.02311, table 1 and section 2; the total is that table's.
std::vector<Preset> palm_presets() {
    Preset preset{.name = "palm-540b",
                  .source = "arXiv:2204.02311",
                  .total = {540.35e9, 4},
                  .beyond = "logits are divided by the root of hidden"};
    preset.moe = no_mixture();
    ModelConfig& model = preset.model;
    model.vocab_size = 256000;
    set_sizes(model, {.hidden = 18432, .layers = 118, .heads = 48, .kv_heads = 1, .ffn_width = 4 * 18432});
    model.head_dim = 256;
    model.seq_len = 2048;
    model.norm = NormKind::layer;
    model.wiring = Wiring::parallel;
    model.tied_head = true;
    model.output_z_loss = 1e-4;
    return {preset};
}

}  // namespace sy::model
