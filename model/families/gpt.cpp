#include "model/families/lineages.hpp"

namespace sy::model {

ModelConfig gpt_model(const ModelSizes& sizes) {
    ModelConfig model;
    model.vocab_size = 50257;
    set_sizes(model, sizes);
    model.activation = Activation::gelu_tanh;
    model.ffn_bias = true;
    model.norm = NormKind::layer;
    model.norm_bias = true;
    model.tied_head = true;
    model.attention.bias = Biases::all;
    model.position.kind = PositionKind::learned;
    return model;
}

namespace {

ModelConfig gpt(index_t hidden, index_t layers, index_t heads) {
    return gpt_model({.hidden = hidden, .layers = layers, .heads = heads, .ffn_width = 4 * hidden});
}

/// Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training"; config.json of openai-gpt.
Preset gpt_1() {
    Preset preset{.name = "gpt-1",
                  .source = "Radford et al. 2018",
                  .model = gpt(768, 12, 12),
                  .moe = no_mixture(),
                  .total = {116'534'784.0, 0}};
    preset.model.vocab_size = 40478;
    preset.model.seq_len = 512;
    preset.model.norm_placement = NormPlacement::post;
    preset.model.dropout = preset.model.attention.dropout = 0.1;
    return preset;
}

/// Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; config.json of gpt2.
Preset gpt_2(const char* name, const ModelConfig& model, double total) {
    Preset preset{.name = name,
                  .source = "Radford et al. 2019",
                  .model = model,
                  .moe = no_mixture(),
                  .total = {total, 0}};
    preset.model.seq_len = 1024;
    preset.model.dropout = preset.model.attention.dropout = 0.1;
    return preset;
}

/// Brown et al., arXiv:2005.14165, table 2.1; the total is table D.1's.
Preset gpt_3() {
    Preset preset{.name = "gpt-3",
                  .source = "arXiv:2005.14165",
                  .model = gpt(12288, 96, 96),
                  .moe = no_mixture(),
                  .total = {174.6e9, 4},
                  .beyond = "every second layer attends in locally banded patterns of unpublished width"};
    preset.model.seq_len = 2048;
    return preset;
}

/// Wang and Komatsuzaki 2021; config.json of EleutherAI/gpt-j-6b.
Preset gpt_j() {
    Preset preset{.name = "gpt-j-6b",
                  .source = "Wang and Komatsuzaki 2021",
                  .model = gpt(4096, 28, 16),
                  .moe = no_mixture(),
                  .total = {6'050'882'784.0, 0}};
    ModelConfig& model = preset.model;
    model.vocab_size = 50400;
    model.seq_len = 2048;
    model.wiring = Wiring::parallel;
    model.tied_head = false;
    model.head_bias = true;
    model.attention.bias = Biases::none;
    model.position.kind = PositionKind::rope;
    model.position.rope_fraction = 0.25;
    model.position.rope_pairs = RopePairs::interleaved;
    return preset;
}

}  // namespace

std::vector<Preset> gpt_presets() {
    return {gpt_1(),
            gpt_2("gpt-2", gpt(768, 12, 12), 124'439'808.0),
            gpt_2("gpt-2-medium", gpt(1024, 24, 16), 354'823'168.0),
            gpt_2("gpt-2-large", gpt(1280, 36, 20), 774'030'080.0),
            gpt_2("gpt-2-xl", gpt(1600, 48, 25), 1'557'611'200.0),
            gpt_3(),
            gpt_j()};
}

}  // namespace sy::model
