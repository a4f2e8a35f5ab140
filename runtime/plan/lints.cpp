#include "runtime/plan/lints.hpp"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace sy::runtime {
namespace {

using model::Biases;
using model::ModelConfig;
using model::MoeConfig;

using Advice = std::vector<std::string>;

void advise(Advice& advice, bool unusual, const std::string& text) {
    if (unusual) advice.push_back(text);
}

std::string two_digits(double value) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(2) << value;
    return text.str();
}

bool is_outside(double value, double low, double high) {
    return value < low || value > high;
}

double ratio(index_t a, index_t b) {
    return static_cast<double>(a) / static_cast<double>(b);
}

/// Whether any layer is a mixture, and whether any is dense.
struct Sorts {
    bool mixture = false;
    bool dense = false;
};

Sorts sorts_of_layers(const ModelConfig& model, const MoeConfig& moe) {
    Sorts sorts;
    for (const index_t layers : {model.num_encoder_layers(), model.num_decoder_layers()}) {
        if (layers == 0) continue;
        const std::vector<bool> is_moe = model::moe_layers(moe, layers);
        sorts.mixture |= std::find(is_moe.begin(), is_moe.end(), true) != is_moe.end();
        sorts.dense |= std::find(is_moe.begin(), is_moe.end(), false) != is_moe.end();
    }
    return sorts;
}

void shape_lints(const Config& config, Advice& advice) {
    const ModelConfig& model = config.model;
    const double ffn = ratio(model.ffn_width, model.hidden);
    const bool dense = sorts_of_layers(model, config.moe).dense;
    if (ops::is_gated(model.activation)) {
        advise(advice, dense && is_outside(ffn, 2.4, 4.05),
               concat("model.ffn_width is ", two_digits(ffn),
                      " times model.hidden; with a gate 8/3 is usual (2.5 to 3.5, PaLM 4), which costs what "
                      "4 costs "
                      "without (arXiv:2002.05202); losses are flat between 1 and 10 (arXiv:2001.08361)"));
    } else {
        advise(advice, dense && is_outside(ffn, 3.5, 4.5),
               concat("model.ffn_width is ", two_digits(ffn),
                      " times model.hidden; without a gate 4 is usual (T5-11B had 64, T5 1.1 went back to "
                      "2.5 with a "
                      "gate); losses are flat between 1 and 10 (arXiv:2001.08361)"));
    }
    if (model.attention.kind == model::AttentionKind::grouped) {
        const double heads = ratio(model.heads * model.head_width(), model.hidden);
        advise(advice, is_outside(heads, 0.9, 2.05),
               concat("model.heads times the head width is ", two_digits(heads),
                      " times model.hidden; 1 is usual (PaLM 0.67, LaMDA and Qwen3 up to 2, T5-11B 16), less "
                      "narrows "
                      "what attention can move"));
    }
    const index_t width = model.head_width();
    advise(
        advice, model.hidden >= 512 && (width < 64 || width > 256),
        concat("the head width (model.head_dim, or model.hidden / model.heads) is ", width,
               "; 64 to 128 is usual, 256 the most (GPT-J, PaLM, Gemma): narrow heads have low-rank scores "
               "(arXiv:2002.07028), wide ones are few"));
    const double aspect = ratio(model.hidden, model.layers);
    advise(advice, is_outside(aspect, 80.0, 205.0),
           concat("model.hidden / model.layers is ", two_digits(aspect),
                  "; 100 to 150 is usual (BLOOM 205, GPT-2 XL 33, T5-11B 43): deeper is slower, since layers "
                  "wait for "
                  "each other; losses depend little on it (arXiv:2001.08361)"));
    // Bytes are a choice of their own.
    advise(advice,
           model.vocab_size > 512 && is_outside(static_cast<double>(model.vocab_size), 30000.0, 262144.0),
           concat("model.vocab_size = ", model.vocab_size,
                  "; 30 to 50 thousand is usual for one language, 100 to 250 thousand for many"));
}

void norm_lints(const Config& config, Advice& advice) {
    const ModelConfig& model = config.model;
    advise(advice, model.norm_placement == model::NormPlacement::post,
           "model.norm_placement = post: nearly all since GPT-2 norm before sub-layers, which trains stably "
           "without a "
           "long warm-up (arXiv:2002.04745)");
    advise(advice, model.norm == model::NormKind::layer,
           "model.norm = layer: RMSNorm does as well with less traffic (arXiv:1910.07467, arXiv:2102.11972)");
    advise(advice, model.norm_bias || model.ffn_bias || model.attention.bias == Biases::all,
           "model.norm_bias, model.ffn_bias, attention.bias: models since PaLM have no biases, or those of "
           "queries, "
           "keys and values alone (Qwen2): without, large models trained more stably (arXiv:2204.02311)");
    advise(advice, !ops::is_gated(model.activation),
           concat("model.activation = ", ops::activation_name(model.activation),
                  ": gated activations did better at equal cost (arXiv:2002.05202, arXiv:2102.11972); two "
                  "thirds of the "
                  "width cost the same"));
    // Latent attention norms its compressed queries and keys.
    const bool guarded = model.attention.kind == model::AttentionKind::latent || model.output_z_loss > 0.0 ||
                         model.attention.qk_norm != model::QkNorm::none || model.attention.softcap > 0.0 ||
                         model.logit_softcap > 0.0;
    const double total = static_cast<double>(model::model_size(model, config.moe).total_parameters);
    advise(advice, total > 1e9 && !guarded,
           "nothing holds logits small: model.output_z_loss = 1e-4 (arXiv:2204.02311) or attention.qk_norm "
           "(arXiv:2302.05442) cost little and prevent spikes of the loss");
}

void training_lints(const Config& config, Advice& advice) {
    const ModelConfig& model = config.model;
    advise(advice, model.dropout > 0.0 || model.attention.dropout > 0.0,
           "model.dropout, attention.dropout: pre-training that sees its text about once does without since "
           "PaLM and "
           "LLaMA; weight decay stays");
    advise(advice, config.optimizer.weight_decay == 0.0,
           "optimizer.weight_decay = 0: 0.1 is usual even without overfitting, for it works together with "
           "the falling "
           "learning rate (arXiv:2310.04415)");
    const bool large = model.hidden >= 2048 && model.num_decoder_layers() > 0;
    advise(
        advice,
        large && model.attention.kind == model::AttentionKind::grouped && model.kv_heads == model.heads &&
            model.heads >= 16,
        concat(
            "model.kv_heads = model.heads = ", model.heads,
            ": groups of 4 to 8 queries divide the cache of generation and its traffic by as much, at little "
            "loss (arXiv:2305.13245)"));
    advise(advice, large && model.kv_heads == 1 && model.heads > 1,
           "model.kv_heads = 1: one key for all heads costs a little quality and some stability; 4 or 8 keep "
           "nearly "
           "all of the saving (arXiv:2305.13245)");
}

void mixture_lints(const Config& config, Advice& advice) {
    const ModelConfig& model = config.model;
    const MoeConfig& moe = config.moe;
    const model::BalanceConfig& balance = moe.balance;
    const double usual = ops::is_gated(model.activation) ? 8.0 / 3.0 : 4.0;
    const double pieces = usual * ratio(model.hidden, moe.expert_width);
    advise(
        advice, moe.experts > 1 && pieces < 1.5,
        concat(
            "moe.expert_width = ", moe.expert_width,
            " is that of a whole feed-forward: experts of a quarter or less, with as many times more "
            "moe.experts "
            "and moe.top_k, do better at equal cost (arXiv:2401.06066, arXiv:2402.07871, arXiv:2409.02060)"));
    advise(advice, moe.router == "top_k" && moe.top_k > 10,
           concat("moe.top_k = ", moe.top_k, ": 1 to 10 is usual; traffic between ranks grows with it"));
    advise(advice, moe.router == "top_k" && 2 * moe.top_k > moe.experts,
           concat("moe.top_k = ", moe.top_k, " of moe.experts = ", moe.experts,
                  ": when most experts are visited, little is saved over a dense layer"));
    advise(advice, moe.router == "top_k" && moe.top_k == 1 && moe.renormalise,
           "moe.top_k = 1 with moe.renormalise = yes: every weight is 1, so that no gradient of the token's "
           "loss "
           "reaches the router; Switch weights by the score (arXiv:2101.03961)");
    advise(advice, moe.capacity_factor > 0.0 && moe.capacity_factor < 1.0,
           concat("moe.capacity_factor = ", moe.capacity_factor,
                  ": tokens are dropped even at perfect balance; 1 to 1.25 is usual in training, "
                  "moe.eval_capacity_factor = 2 in evaluation "
                  "(arXiv:2202.08906)"));
    advise(advice, moe.router_dtype != DType::f32,
           "moe.router_dtype = bf16: the router's softmax is sensitive to rounding; float32 there costs "
           "nothing that "
           "can be measured (arXiv:2101.03961)");
    advise(advice,
           moe.router == "top_k" && balance.switch_loss == 0.0 && balance.bias_rate == 0.0 &&
               balance.importance_loss == 0.0 && balance.load_loss == 0.0 && balance.device_loss == 0.0,
           "no balance.* option balances the load (balance.switch_loss = 0.01, or balance.bias_rate = "
           "0.001): routers "
           "then fall onto few experts (arXiv:1701.06538, arXiv:2409.02060)");
    advise(advice, moe.router == "top_k" && moe.score == model::Score::softmax && balance.z_loss == 0.0,
           "balance.z_loss = 0: 0.001 keeps a softmax router's logits small, without loss of quality "
           "(arXiv:2202.08906)");
    advise(advice, balance.switch_loss > 0.1,
           concat("balance.switch_loss = ", balance.switch_loss,
                  ": 0.01 is usual, 0.1 the most: more outweighs the loss of tokens (arXiv:2101.03961)"));
}

}  // namespace

std::vector<std::string> lints(const Config& config) {
    Advice advice;
    shape_lints(config, advice);
    norm_lints(config, advice);
    training_lints(config, advice);
    if (sorts_of_layers(config.model, config.moe).mixture) mixture_lints(config, advice);
    return advice;
}

}  // namespace sy::runtime
