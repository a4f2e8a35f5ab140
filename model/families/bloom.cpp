#include "model/families/lineages.hpp"

namespace sy::model {

/// Le Scao et al., arXiv:2211.05100; config.json of bigscience/bloom.
std::vector<Preset> bloom_presets() {
    Preset preset{.name = "bloom-176b",
                  .source = "arXiv:2211.05100",
                  .model = gpt_model({.hidden = 14336, .layers = 70, .heads = 112, .ffn_width = 4 * 14336}),
                  .moe = no_mixture(),
                  .total = {176'247'271'424.0, 0}};
    preset.model.vocab_size = 250880;
    preset.model.seq_len = 2048;
    preset.model.embedding_norm = true;
    preset.model.position.kind = PositionKind::alibi;
    return {preset};
}

}  // namespace sy::model
