#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

Preset llama(const char* name, const char* source, double total) {
    return {.name = name, .source = source, .moe = no_mixture(), .total = {total, 0}};
}

}  // namespace

/// Touvron et al., arXiv:2302.13971 and arXiv:2307.09288; Grattafiori et al., arXiv:2407.21783; config.json of
/// huggyllama/llama-7b, meta-llama/Llama-2-70b-hf and meta-llama/Meta-Llama-3-8B.
std::vector<Preset> llama_presets() {
    Preset first = llama("llama-7b", "arXiv:2302.13971", 6'738'415'616.0);
    first.model.vocab_size = 32000;
    set_sizes(first.model, {.hidden = 4096, .layers = 32, .heads = 32, .ffn_width = 11008});
    first.model.seq_len = 2048;
    first.model.norm_eps = 1e-6;

    Preset second = llama("llama-2-70b", "arXiv:2307.09288", 68'976'648'192.0);
    second.model.vocab_size = 32000;
    set_sizes(second.model, {.hidden = 8192, .layers = 80, .heads = 64, .kv_heads = 8, .ffn_width = 28672});
    second.model.seq_len = 4096;

    Preset third = llama("llama-3-8b", "arXiv:2407.21783", 8'030'261'248.0);
    third.model.vocab_size = 128256;
    set_sizes(third.model, {.hidden = 4096, .layers = 32, .heads = 32, .kv_heads = 8, .ffn_width = 14336});
    third.model.seq_len = 8192;
    third.model.position.rope_theta = 500000.0;
    return {first, second, third};
}

}  // namespace sy::model
