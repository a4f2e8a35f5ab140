#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout) {
    const std::vector<bool> is_moe = model::moe_layers(config.moe, config.model.layers);
    ModelBuilder builder(ours);
    add_outer(builder);
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string name = layer_name(layer);
        const std::string block = "model." + name + "mlp";
        add_attention(builder, config, layer);
        if (is_moe[static_cast<std::size_t>(layer)]) {
            builder.transposed(block + ".gate.weight", name + "moe.router");
            add_experts(builder, block + ".experts.", name + "moe.experts", layout);
        } else {
            add_gated(builder, block, name + "feed_forward");
        }
    }
    return builder.take();
}

Json::Object write(const Config& config) {
    Json::Object keys = decoder_config(config);
    const model::ModelConfig& model = config.model;
    const model::MoeConfig& moe = config.moe;
    keys.push_back({"head_dim", model.head_dim});
    keys.push_back({"attention_bias", model.attention.bias == model::Biases::all});
    keys.push_back({"use_sliding_window", model.attention.window > 0});
    keys.push_back({"sliding_window", model.attention.window > 0 ? Json(model.attention.window) : Json()});
    keys.push_back({"num_experts", moe.experts});
    keys.push_back({"num_local_experts", moe.experts});
    keys.push_back({"num_experts_per_tok", moe.top_k});
    keys.push_back({"moe_intermediate_size", moe.expert_width});
    keys.push_back({"norm_topk_prob", moe.renormalise});
    keys.push_back({"router_aux_loss_coef", moe.balance.switch_loss});
    write_sparse_layers(config, keys);
    return keys;
}

void read(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    read_decoder(keys, config);
    model::ModelConfig& model = config.model;
    model::MoeConfig& moe = config.moe;
    model.attention.qk_norm = model::QkNorm::head;
    model.head_dim = keys.whole("head_dim", 0);
    model.attention.bias = keys.flag("attention_bias", false) ? model::Biases::all : model::Biases::none;
    const index_t window = keys.whole("sliding_window", 4096);
    model.attention.window = keys.flag("use_sliding_window", false) ? window : 0;
    keys.ignore({"max_window_layers"});  // the class has the window in all layers or in none
    // transformers 5 has renamed the key.
    moe.experts = keys.whole("num_local_experts", keys.whole("num_experts", 128));
    moe.top_k = keys.whole("num_experts_per_tok", 8);
    moe.expert_width = keys.whole("moe_intermediate_size", 768);
    moe.renormalise = keys.flag("norm_topk_prob", false);
    moe.balance.switch_loss = keys.number("router_aux_loss_coef", 0.001);
    read_sparse_layers(keys, config);
}

}  // namespace

const HfFamily kQwen3Moe{"qwen3_moe", "Qwen3MoeForCausalLM", write, read, tensors};

}  // namespace sy::runtime::hf
