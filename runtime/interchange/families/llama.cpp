#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout) {
    ModelBuilder builder(ours);
    add_outer(builder);
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        add_attention(builder, config, layer);
        add_gated(builder, "model." + layer_name(layer) + "mlp", layer_name(layer) + "feed_forward");
    }
    return builder.take();
}

Json::Object write_llama(const Config& config) {
    Json::Object keys = decoder_config(config);
    keys.push_back({"head_dim", config.model.head_dim});
    keys.push_back({"attention_bias", config.model.attention.bias == model::Biases::all});
    keys.push_back({"mlp_bias", config.model.ffn_bias});
    return keys;
}

void read_llama(ConfigKeys& keys, Config& config) {
    set_dense(config);
    read_decoder(keys, config);
    config.model.head_dim = keys.whole("head_dim", 0);
    config.model.attention.bias =
        keys.flag("attention_bias", false) ? model::Biases::all : model::Biases::none;
    config.model.ffn_bias = keys.flag("mlp_bias", false);
}

Json::Object write_mistral(const Config& config) {
    Json::Object keys = decoder_config(config);
    keys.push_back({"head_dim", config.model.head_dim});
    keys.push_back({"sliding_window", config.model.attention.window});
    return keys;
}

void read_mistral(ConfigKeys& keys, Config& config) {
    set_dense(config);
    read_decoder(keys, config);
    config.model.head_dim = keys.whole("head_dim", 0);
    // A missing key means the class's default, a null no window.
    config.model.attention.window = keys.whole("sliding_window", 0);
}

}  // namespace

const HfFamily kLlama{"llama", "LlamaForCausalLM", write_llama, read_llama, tensors};
const HfFamily kMistral{"mistral", "MistralForCausalLM", write_mistral, read_mistral, tensors};

}  // namespace sy::runtime::hf
