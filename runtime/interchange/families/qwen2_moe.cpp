#include "runtime/interchange/families/decoder.hpp"
#include "runtime/interchange/families/families.hpp"

namespace sy::runtime::hf {
namespace {

/// The class multiplies its shared expert by the sigmoid of a gate, which is 1/2 for a gate of zeros: such a gate and a
/// doubled down projection are shared experts without a gate, exactly.
constexpr float kUndoneGate = 2.0F;
/// Says that the gate is such a one; not read by the class.
constexpr const char* kGateKey = "switchyard_shared_gate";

void add_shared_expert(ModelBuilder& builder, const Config& config, const std::string& block,
                       const std::string& ours) {
    const index_t hidden = config.model.hidden;
    const bool gated = config.moe.shared_gate;
    if (gated) {
        builder.transposed(block + ".shared_expert_gate.weight", ours + ".output_gate");
    } else {
        builder.constant(block + ".shared_expert_gate.weight", {1, hidden}, 0.0F);
    }
    if (config.moe.shared_experts == 0) {
        for (const char* const name : {"gate_proj", "up_proj"})
            builder.constant(concat(block, ".shared_expert.", name, ".weight"), {1, hidden}, 0.0F);
        builder.constant(block + ".shared_expert.down_proj.weight", {hidden, 1}, 0.0F);
        return;
    }
    builder.transposed(block + ".shared_expert.gate_proj.weight", ours + ".gate");
    builder.transposed(block + ".shared_expert.up_proj.weight", ours + ".up");
    builder.transposed(block + ".shared_expert.down_proj.weight", ours + ".down").factor =
        gated ? 1.0F : kUndoneGate;
}

ForeignModel tensors(const Config& config, const TensorShapes& ours, ExpertLayout layout) {
    const std::vector<bool> is_moe = model::moe_layers(config.moe, config.model.layers);
    ModelBuilder builder(ours);
    add_outer(builder);
    for (index_t layer = 0; layer < config.model.layers; ++layer) {
        const std::string name = layer_name(layer);
        const std::string block = "model." + name + "mlp";
        add_attention(builder, config, layer);
        if (!is_moe[static_cast<std::size_t>(layer)]) {
            add_gated(builder, block, name + "feed_forward");
            continue;
        }
        builder.transposed(block + ".gate.weight", name + "moe.router");
        add_experts(builder, block + ".experts.", name + "moe.experts", layout);
        add_shared_expert(builder, config, block, name + "moe.shared");
    }
    return builder.take();
}

Json::Object write(const Config& config) {
    Json::Object keys = decoder_config(config);
    const model::MoeConfig& moe = config.moe;
    keys.push_back({"qkv_bias", config.model.attention.bias == model::Biases::query_key_value});
    keys.push_back({"use_sliding_window", false});
    keys.push_back({"num_experts", moe.experts});
    keys.push_back({"num_experts_per_tok", moe.top_k});
    keys.push_back({"moe_intermediate_size", moe.expert_width});
    // Without shared experts there is one of width 1 whose weights are zeros.
    const index_t shared_width = moe.shared_experts * moe.expert_width;
    keys.push_back({"shared_expert_intermediate_size", std::max<index_t>(shared_width, 1)});
    if (!moe.shared_gate) keys.push_back({kGateKey, false});
    keys.push_back({"norm_topk_prob", moe.renormalise});
    keys.push_back({"router_aux_loss_coef", moe.balance.switch_loss});
    write_sparse_layers(config, keys);
    return keys;
}

void read(ConfigKeys& keys, Config& config) {
    set_mixture(config);
    read_decoder(keys, config);
    model::MoeConfig& moe = config.moe;
    config.model.attention.bias =
        keys.flag("qkv_bias", true) ? model::Biases::query_key_value : model::Biases::none;
    keys.only("use_sliding_window", false);
    keys.ignore({"sliding_window", "max_window_layers", "layer_types"});
    moe.experts = keys.whole("num_experts", 60);
    moe.top_k = keys.whole("num_experts_per_tok", 4);
    moe.expert_width = keys.whole("moe_intermediate_size", 1408);
    moe.renormalise = keys.flag("norm_topk_prob", false);
    moe.balance.switch_loss = keys.number("router_aux_loss_coef", 0.001);
    const index_t shared_width = keys.whole("shared_expert_intermediate_size", 5632);
    moe.shared_experts = shared_width / std::max<index_t>(moe.expert_width, 1);
    moe.shared_gate = keys.flag(kGateKey, true);
    if (shared_width != moe.shared_experts * moe.expert_width && shared_width != 1) {
        keys.problem(concat("shared_expert_intermediate_size = ", shared_width,
                            " is no multiple of moe_intermediate_size = ", moe.expert_width,
                            ", as the width of shared experts is here"));
    }
    read_sparse_layers(keys, config);
}

}  // namespace

const HfFamily kQwen2Moe{"qwen2_moe", "Qwen2MoeForCausalLM", write, read, tensors};

}  // namespace sy::runtime::hf
