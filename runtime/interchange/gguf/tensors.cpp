#include "runtime/interchange/gguf/tensors.hpp"

#include "runtime/interchange/gguf/requirements.hpp"

namespace sy::runtime::gguf {
namespace {

std::string block(index_t layer) {
    return concat("blk.", layer, ".");
}

std::string our_layer(index_t layer) {
    return concat("layers.", layer, ".");
}

}  // namespace

RotaryOrder::Change to_pairs(const Config& config) {
    return config.model.position.rope_pairs == model::RopePairs::half_split
               ? RotaryOrder::Change::halves_to_pairs
               : RotaryOrder::Change::none;
}

RotaryOrder::Change to_halves(const Config& config) {
    return config.model.position.rope_pairs == model::RopePairs::interleaved
               ? RotaryOrder::Change::pairs_to_halves
               : RotaryOrder::Change::none;
}

void DecoderTensors::add_ends() {
    builder_.same("token_embd.weight", "embedding.weight");
    if (builder_.has("position_embedding.weight"))
        builder_.same("position_embd.weight", "position_embedding.weight");
    if (builder_.has("embedding_norm.gain")) {
        builder_.same("token_embd_norm.weight", "embedding_norm.gain");
        if (builder_.has("embedding_norm.bias")) builder_.same("token_embd_norm.bias", "embedding_norm.bias");
    }
    builder_.same("output_norm.weight", "final_norm.gain");
    if (builder_.has("final_norm.bias")) builder_.same("output_norm.bias", "final_norm.bias");
    if (!config_.model.tied_head) builder_.transposed("output.weight", "head.weight");
}

void DecoderTensors::add_norm(index_t layer, const std::string& theirs, const std::string& ours) {
    const std::string name = our_layer(layer) + ours;
    builder_.same(block(layer) + theirs + ".weight", name + ".gain");
    if (builder_.has(name + ".bias")) builder_.same(block(layer) + theirs + ".bias", name + ".bias");
}

void DecoderTensors::add_bias(const std::string& theirs, const std::string& ours, const RotaryOrder& order) {
    if (builder_.has(ours + "_bias")) builder_.same(theirs + ".bias", ours + "_bias").order = order;
}

void DecoderTensors::add_projection(const std::string& theirs, const std::string& ours,
                                    const RotaryOrder& order) {
    builder_.transposed(theirs + ".weight", ours).order = order;
    add_bias(theirs, ours, order);
}

RotaryOrder DecoderTensors::head_order(RotaryOrder::Change change) const {
    if (change == RotaryOrder::Change::none) return {};
    return {.change = change,
            .head_dim = config_.model.head_width(),
            .first = 0,
            .width = rotary_width(config_.model)};
}

void DecoderTensors::add_attention(index_t layer, RotaryOrder::Change change) {
    const std::string theirs = block(layer) + "attn_";
    const std::string ours = our_layer(layer) + "attention.";
    const RotaryOrder order = head_order(change);
    add_projection(theirs + "q", ours + "query", order);
    add_projection(theirs + "k", ours + "key", order);
    add_projection(theirs + "v", ours + "value", {});
    add_projection(theirs + "output", ours + "output", {});
    if (!builder_.has(ours + "query_norm.gain")) return;
    builder_.same(theirs + "q_norm.weight", ours + "query_norm.gain").order = order;
    builder_.same(theirs + "k_norm.weight", ours + "key_norm.gain").order = order;
}

void DecoderTensors::add_fused_attention(index_t layer, RotaryOrder::Change change) {
    const std::string theirs = block(layer) + "attn_qkv";
    const std::string ours = our_layer(layer) + "attention.";
    const index_t query_width = builder_.shape(ours + "query")[1];
    const index_t key_width = builder_.shape(ours + "key")[1];
    const index_t width = query_width + 2 * key_width;
    std::vector<ForeignPart> weights;
    std::vector<ForeignPart> biases;
    index_t begin = 0;
    for (const char* const part : {"query", "key", "value"}) {
        const std::string name = ours + part;
        const Shape& shape = builder_.shape(name);
        ForeignPart& weight = weights.emplace_back(whole_matrix(name, shape, 0, Orientation::transposed));
        weight.foreign_row = begin;
        if (name != ours + "value") weight.order = head_order(change);
        if (builder_.has(name + "_bias")) {
            ForeignPart& bias = biases.emplace_back(
                whole_matrix(name + "_bias", builder_.shape(name + "_bias"), 0, Orientation::same));
            bias.foreign_col = begin;
            bias.order = weight.order;
        }
        begin += shape[1];
    }
    builder_.begin(theirs + ".weight", Shape{width, config_.model.hidden}).parts = std::move(weights);
    if (!biases.empty()) builder_.begin(theirs + ".bias", Shape{width}).parts = std::move(biases);
    add_projection(block(layer) + "attn_output", ours + "output", {});
}

void DecoderTensors::add_latent_attention(index_t layer) {
    const std::string theirs = block(layer) + "attn_";
    const std::string ours = our_layer(layer) + "attention.";
    const model::ModelConfig& model = config_.model;
    const index_t plain = model.head_width();
    const index_t rotary = model.attention.rope_dim;
    const index_t value = value_width(model);
    const index_t compressed = model.attention.kv_rank;
    const auto change = model.position.rope_pairs == model::RopePairs::interleaved
                            ? RotaryOrder::Change::none
                            : RotaryOrder::Change::halves_to_pairs;
    const RotaryOrder query_order{change, plain + rotary, plain, rotary};
    if (model.attention.query_rank > 0) {
        builder_.transposed(theirs + "q_a.weight", ours + "query_down");
        builder_.same(theirs + "q_a_norm.weight", ours + "query_norm.gain");
        builder_.transposed(theirs + "q_b.weight", ours + "query").order = query_order;
    } else {
        builder_.transposed(theirs + "q.weight", ours + "query").order = query_order;
    }
    builder_.transposed(theirs + "kv_a_mqa.weight", ours + "key_value_down").order = {
        change, compressed + rotary, compressed, rotary};
    builder_.same(theirs + "kv_a_norm.weight", ours + "key_value_norm.gain");
    // Our columns are keys, then values, head after head.
    std::vector<ForeignPart> keys;
    std::vector<ForeignPart> values;
    for (index_t head = 0; head < model.heads; ++head) {
        const index_t begin = head * (plain + value);
        ForeignPart part{.tensor = ours + "key_value_up", .rows = {0, compressed}};
        part.cols = {begin, begin + plain};
        part.foreign_row = head * compressed;
        keys.push_back(part);
        part.cols = {begin + plain, begin + plain + value};
        part.foreign_row = head * value;
        part.orientation = Orientation::transposed;
        values.push_back(part);
    }
    builder_.begin(theirs + "k_b.weight", Shape{model.heads, compressed, plain}).parts = std::move(keys);
    builder_.begin(theirs + "v_b.weight", Shape{model.heads, value, compressed}).parts = std::move(values);
    builder_.transposed(theirs + "output.weight", ours + "output");
}

void DecoderTensors::add_feed_forward(index_t layer) {
    const std::string theirs = block(layer) + "ffn_";
    const std::string ours = our_layer(layer) + "feed_forward.";
    for (const char* const part : {"gate", "up", "down"})
        if (builder_.has(ours + part)) add_projection(theirs + part, ours + part, {});
}

void DecoderTensors::add_mixture(index_t layer) {
    const std::string theirs = block(layer) + "ffn_";
    const std::string ours = our_layer(layer) + "moe.";
    // The official converter keeps it in float32, whatever the type of the file.
    const Shape& router = builder_.shape(ours + "router");
    ForeignTensor& logits = builder_.begin(theirs + "gate_inp.weight", Shape{router[1], router[0]});
    logits.keep_f32 = true;
    logits.parts.push_back(whole_matrix(ours + "router", router, 0, Orientation::transposed));
    for (const std::string part : {"gate", "up", "down"})
        builder_.transposed_experts(theirs + part + "_exps.weight", ours + "experts." + part);
}

void DecoderTensors::add_mixture_block(index_t layer) {
    add_norm(layer, "attn_norm", "attention_norm");
    add_attention(layer, to_halves(config_));
    add_norm(layer, "ffn_norm", "feed_forward_norm");
    add_mixture(layer);
}

void DecoderTensors::add_selection_bias(index_t layer) {
    const std::string theirs = block(layer) + "exp_probs_b.bias";
    if (config_.moe.balance.bias_rate > 0.0) {
        builder_.router_state(theirs, our_layer(layer) + "moe", config_.moe.experts);
    } else {
        builder_.constant(theirs, Shape{config_.moe.experts}, 0.0F);
    }
}

void DecoderTensors::add_shared_experts(index_t layer) {
    const std::string theirs = block(layer) + "ffn_";
    const std::string ours = our_layer(layer) + "moe.shared.";
    if (config_.moe.shared_experts > 0) {
        for (const std::string part : {"gate", "up", "down"})
            builder_.transposed(theirs + part + "_shexp.weight", ours + part);
        return;
    }
    const index_t hidden = config_.model.hidden;
    const index_t width = config_.moe.expert_width;
    builder_.constant(theirs + "gate_shexp.weight", Shape{width, hidden}, 0.0F);
    builder_.constant(theirs + "up_shexp.weight", Shape{width, hidden}, 0.0F);
    builder_.constant(theirs + "down_shexp.weight", Shape{hidden, width}, 0.0F);
}

void DecoderTensors::add_shared_gate(index_t layer) {
    const std::string ours = our_layer(layer) + "moe.shared.output_gate";
    const Shape& shape = builder_.shape(ours);
    builder_.begin(block(layer) + "ffn_gate_inp_shexp.weight", Shape{shape[0]})
        .parts.push_back(whole_matrix(ours, shape, 0, Orientation::transposed));
}

}  // namespace sy::runtime::gguf
