#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout) {
    ModelBuilder builder(ours);
    add_outer(builder);
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string name = layer_name(layer);
        const std::string block = "model." + name + "mlp.";
        add_attention(builder, config, layer);
        builder.transposed(block + "gate.weight", name + "moe.router");
        add_experts(builder, block + "experts.", name + "moe.experts", layout);
    }
    return builder.take();
}

Json::Object write(const Config& config) {
    Json::Object keys = decoder_config(config);
    const model::MoeConfig& moe = config.moe;
    for (Json::Member& member : keys)
        if (member.name == "intermediate_size") member.value = moe.expert_width;
    const double clip = config.model.attention.clip_qkv;
    keys.push_back({"attention_bias", config.model.attention.bias == model::Biases::all});
    keys.push_back({"clip_qkv", clip > 0.0 ? Json(clip) : Json()});
    keys.push_back({"num_experts", moe.experts});
    keys.push_back({"num_experts_per_tok", moe.top_k});
    keys.push_back({"norm_topk_prob", moe.renormalise});
    keys.push_back({"router_aux_loss_coef", moe.balance.switch_loss});
    return keys;
}

void read(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    read_decoder(keys, config);
    model::ModelConfig& model = config.model;
    model::MoeConfig& moe = config.moe;
    model.norm_eps = keys.number("rms_norm_eps", 1e-5);
    model.attention.bias = keys.flag("attention_bias", false) ? model::Biases::all : model::Biases::none;
    model.attention.qk_norm = model::QkNorm::projection;
    model.attention.clip_qkv = keys.number("clip_qkv", 0.0);
    moe.expert_width = model.ffn_width;
    moe.experts = keys.whole("num_experts", 64);
    moe.top_k = keys.whole("num_experts_per_tok", 8);
    moe.renormalise = keys.flag("norm_topk_prob", false);
    moe.balance.switch_loss = keys.number("router_aux_loss_coef", 0.01);
}

}  // namespace

const HfFamily kOlmoe{"olmoe", "OlmoeForCausalLM", write, read, tensors};

}  // namespace sy::runtime::hf
