#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

constexpr double kTheta = 1e6;

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout) {
    const ExpertNames names{.gate = "w1", .up = "w3", .down = "w2"};
    ModelBuilder builder(ours);
    add_outer(builder);
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string name = layer_name(layer);
        // Files with fused experts name the block as transformers does in memory.
        const std::string block =
            concat("model.", name, layout == ExpertLayout::separate ? "block_sparse_moe." : "mlp.");
        add_attention(builder, config, layer);
        builder.transposed(block + "gate.weight", name + "moe.router");
        add_experts(builder, block + "experts.", name + "moe.experts", layout, names);
    }
    return builder.take();
}

Json::Object write(const Config& config) {
    Json::Object keys = decoder_config(config);
    const model::MoeConfig& moe = config.moe;
    for (Json::Member& member : keys)
        if (member.name == "intermediate_size") member.value = moe.expert_width;
    keys.push_back({"head_dim", config.model.head_dim});
    const index_t window = config.model.attention.window;
    keys.push_back({"sliding_window", window > 0 ? Json(window) : Json()});
    keys.push_back({"num_local_experts", moe.experts});
    keys.push_back({"num_experts_per_tok", moe.top_k});
    keys.push_back({"router_aux_loss_coef", moe.balance.switch_loss});
    keys.push_back({"router_jitter_noise", moe.jitter});
    return keys;
}

void read(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    read_decoder(keys, config, kTheta);
    model::MoeConfig& moe = config.moe;
    moe.expert_width = config.model.ffn_width;
    moe.experts = keys.whole("num_local_experts", 8);
    moe.top_k = keys.whole("num_experts_per_tok", 2);
    moe.balance.switch_loss = keys.number("router_aux_loss_coef", 0.001);
    moe.jitter = keys.number("router_jitter_noise", 0.0);
    config.model.head_dim = keys.whole("head_dim", 0);
    config.model.attention.window = keys.whole("sliding_window", 0);
}

}  // namespace

const HfFamily kMixtral{"mixtral", "MixtralForCausalLM", write, read, tensors};

}  // namespace sy::runtime::hf
