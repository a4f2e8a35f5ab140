#include "runtime/interchange/families/deepseek.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout) {
    ModelBuilder builder(ours);
    add_outer(builder);
    const auto add_block = [&](const std::string& theirs, const std::string& name) {
        add_attention(builder, config, theirs, name);
        add_feed_forward(builder, config, theirs + "mlp", name, layout, SelectionBias::tensor);
    };
    for (index_t layer = 0; layer < config.model.layers; ++layer)
        add_block("model." + layer_name(layer), layer_name(layer));
    add_prediction_modules(builder, config, add_block);
    return builder.take();
}

Json::Object write(const Config& config) {
    Json::Object keys = decoder_config(config);
    write_experts(config, keys);
    write_biased_routing(config, keys);
    keys.push_back({"head_dim", config.model.head_dim});
    keys.push_back({"use_qk_norm", config.model.attention.qk_norm != model::QkNorm::none});
    keys.push_back({"partial_rotary_factor", config.model.position.rope_fraction});
    return keys;
}

void read(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    config.model.position.rope_fraction = keys.number("partial_rotary_factor", 0.5);
    read_decoder(keys, config);
    read_experts(keys, config, 1);
    read_biased_routing(keys, config);
    config.model.head_dim = keys.whole("head_dim", 0);
    config.model.attention.qk_norm =
        keys.flag("use_qk_norm", false) ? model::QkNorm::head : model::QkNorm::none;
    config.model.attention.bias =
        keys.flag("attention_bias", false) ? model::Biases::query_key_value : model::Biases::none;
}

}  // namespace

const HfFamily kGlm4Moe{"glm4_moe", "Glm4MoeForCausalLM", write, read, tensors, biased_routing_problems};

}  // namespace sy::runtime::hf
