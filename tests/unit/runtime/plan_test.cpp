// What plan says, against counts by hand, and the scaling law against its closed forms.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "model/families/preset.hpp"
#include "runtime/plan/lints.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/plan/scaling_law.hpp"
#include "runtime/plan/units.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

Config config_of(const std::string& preset) {
    Config config;
    const auto found = model::find_preset(preset);
    REQUIRE(found);
    config.model = found->model;
    config.moe = found->moe;
    return config;
}

/// Whether some advice on a config begins with, or contains, a text.
bool is_advised(const Config& config, const std::string& text) {
    for (const std::string& sentence : lints(config)) {
        if (sentence.find(text) != std::string::npos) return true;
    }
    return false;
}

}  // namespace

TEST_CASE("units: three leading digits and a prefix", "[unit]") {
    CHECK(with_prefix(0.0, "B") == "0.00 B");
    CHECK(with_prefix(999.99, "") == "999.99");
    CHECK(with_prefix(999.996, "B") == "1.00 kB");
    CHECK(with_prefix(46'702'792'704.0, "") == "46.70 G");
    CHECK(with_prefix(1.5e18, "FLOP") == "1.50 EFLOP");
}

TEST_CASE("plan: memory and traffic of a small mixture, counted by hand", "[unit]") {
    Config config;
    config.model.vocab_size = 256;
    config.model.hidden = 64;
    config.model.layers = 2;
    config.model.heads = config.model.kv_heads = 4;
    config.model.seq_len = 32;
    config.moe.experts = 8;
    config.moe.top_k = 1;
    config.moe.expert_width = 32;
    config.train.global_batch = 16;
    config.parallel.expert_parallel = 4;
    config.checkpoint.background = false;
    const double experts = 2.0 * 8 * 3 * 64 * 32;
    const double dense = 2.0 * (4 * 64 * 64 + 64 * 8 + 2 * 64) + 2 * 256 * 64 + 64;
    const Plan plan = make_plan(config, {.num_ranks = 8, .ranks_per_node = 2});
    CHECK(plan.grid.to_string() == "expert-parallel 4 x data-parallel 2");
    CHECK(plan.memory.weights == 4.0 * (dense + experts / 4));
    CHECK(plan.memory.gradients == plan.memory.weights);
    CHECK(plan.memory.optimizer == 8.0 * (dense + experts) / 8);
    CHECK(plan.memory.snapshot == 0.0);
    // 64 tokens a rank; a quarter of the experts on each of the other three ranks, one of which is in the node. Rows of
    // 64 floats go there and back, forward and backward, in two layers.
    CHECK(plan.rows.in_node == Approx(4.0 * 2 * 64 * 0.25 * 64 * 4));
    CHECK(plan.rows.between_nodes == Approx(2.0 * plan.rows.in_node));
    // Half of the tokens have their expert on the other node; at home one rank reads another's row, or its slot.
    config.parallel.exchange = ExchangeSetting::hierarchical;
    const Plan by_node = make_plan(config, {.num_ranks = 8, .ranks_per_node = 2});
    CHECK(by_node.rows.between_nodes == Approx(4.0 * 2 * 64 * 0.5 * 64 * 4));
    CHECK(by_node.rows.in_node == Approx(4.0 * 2 * 64 * 0.25 * 64 * 4));
    config.moe.top_k = 4;  // Of eight, four on each node: 1 - 4/8 * 3/7 * 2/6 * 1/5 of the tokens cross.
    const double crossing = 1.0 - 1.0 / 70.0;
    CHECK(make_plan(config, {.num_ranks = 8, .ranks_per_node = 2}).rows.between_nodes ==
          Approx(4.0 * 2 * 64 * crossing * 64 * 4));
    config.moe.top_k = 1;
    // GPUs pass rows on: a quarter of its own tokens to the neighbour, and a quarter of those that the other node sends.
    config.parallel.device = DeviceKind::cuda;
    const Plan by_gpus = make_plan(config, {.num_ranks = 8, .ranks_per_node = 2});
    CHECK(by_gpus.rows.between_nodes == Approx(by_node.rows.between_nodes));
    CHECK(by_gpus.rows.in_node == Approx(2.0 * by_node.rows.in_node));
    config.parallel.exchange = ExchangeSetting::automatic;
    CHECK(make_plan(config, {.num_ranks = 8, .ranks_per_node = 2}).rows.in_node ==
          Approx(by_gpus.rows.in_node));
    CHECK(make_plan(config, {.num_ranks = 8, .ranks_per_node = 4}).rows.in_node ==
          Approx(4.0 * 2 * 64 * 0.75 * 64 * 4));
    config.parallel.device = DeviceKind::cpu;
    config.parallel.exchange = ExchangeSetting::flat;
    // Of dense gradients an eighth to each of seven, one of them near; of a rank's experts half to the other replica.
    const double each = 8.0 * dense / 8;
    CHECK(plan.gradients.in_node == Approx(each));
    CHECK(plan.gradients.between_nodes == Approx(6.0 * each + 8.0 * experts / 4 / 2));
    CHECK(plan.cache_bytes_per_token == 2.0 * 2 * 64 * 4);

    config.numerics = NumericsMode::reproducible;
    CHECK(make_plan(config, {.num_ranks = 8}).memory.gradients == 8.0 * (dense + experts / 4));
    CHECK_THROWS_AS(make_plan(config, {.num_ranks = 6}), ConfigError);
}

TEST_CASE("plan: what a job has no memory or no time for is refused", "[unit]") {
    Config config = config_of("mixtral-8x7b");
    config.train.global_batch = 64;
    const Plan plan = make_plan(config, {.num_ranks = 16, .ranks_per_node = 4});
    CHECK(plan.checkpoint_bytes == 12.0 * static_cast<double>(plan.size.total_parameters));
    // A sixteenth of the products at 20 GFLOP/s, and a checkpoint that four nodes write with 500 MB/s each, or one alone.
    const double step = plan.size.train_flops_per_token() * plan.step_tokens / 16 / 20e9;
    const double seconds = step + plan.checkpoint_bytes / 2e9;
    CHECK(plan.seconds_to_leave == Approx(seconds));
    config.checkpoint.layout = CheckpointLayout::single;
    CHECK(make_plan(config, {.num_ranks = 16, .ranks_per_node = 4}).seconds_to_leave ==
          Approx(step + plan.checkpoint_bytes / 500e6));
    config.checkpoint.layout = CheckpointLayout::sharded;
    const double memory = 4.0 * plan.memory.total();
    CHECK_NOTHROW(check_limits(plan, {}));
    CHECK_NOTHROW(check_limits(plan, {.node_memory = 1.01 * memory, .grace_seconds = seconds + 1.0}));
    CHECK_THROWS_WITH(check_limits(plan, {.node_memory = 0.99 * memory}),
                      Catch::Contains("4 ranks of a node need") && !Catch::Contains("checkpoint"));
    CHECK_THROWS_WITH(check_limits(plan, {.node_memory = 0.99 * memory, .grace_seconds = seconds - 1.0}),
                      Catch::Contains("4 ranks of a node need") && Catch::Contains("told of its end"));
    // More ranks a node than there are share what one node has.
    CHECK_NOTHROW(check_limits(make_plan(config, {.num_ranks = 2, .ranks_per_node = 8}),
                               {.node_memory = 2.5 * make_plan(config, {.num_ranks = 2}).memory.total()}));
}

TEST_CASE("plan: ranks without tokens or experts, and numbers that the config refuses, are noted", "[unit]") {
    Config config;
    config.moe.experts = 8;
    config.train.global_batch = 16;
    config.train.accumulation = 2;
    const auto notes = [&](int ranks) { return plan_notes(config, make_plan(config, {.num_ranks = ranks})); };
    const auto has = [](const std::vector<std::string>& said, const std::string& text) {
        return std::any_of(said.begin(), said.end(),
                           [&](const std::string& note) { return note.find(text) != std::string::npos; });
    };
    CHECK(notes(8).empty());
    CHECK(has(notes(9), "1 of 9 ranks have no tokens: a micro-step has 8 sequences"));
    CHECK(has(notes(9), "1 of 9 expert-parallel ranks hold none of moe.experts = 8"));
    CHECK(has(notes(1'000'000'000), "999999992 of 1000000000 ranks have no tokens"));
    config.parallel.ranks = 4;
    CHECK(notes(4).empty());
    CHECK(
        has(notes(8), "parallel.ranks = 4 lets this config run on no other number, and this plan is for 8"));
    // Dense layers have no experts to go round.
    config.parallel.ranks = 0;
    config.train.global_batch = 64;
    config.moe.layers = "none";
    CHECK(notes(16).empty());
    config.parallel.exchange = ExchangeSetting::one_sided;
    CHECK(notes(16).empty());
    config.parallel.device = DeviceKind::cuda;
    CHECK(has(notes(16), "one_sided is experimental with parallel.device = cuda"));
}

TEST_CASE("plan: memory is that of the rank that holds most", "[unit]") {
    Config config;
    config.moe.experts = 5;
    config.train.global_batch = 3;
    const auto memory = [&](int ranks) { return make_plan(config, {.num_ranks = ranks}).memory; };
    // Three of five experts, as of six; two of three sequences, as of four.
    const double uneven = memory(2).weights;
    const double sequences = memory(2).activations;
    CHECK(memory(8).activations == memory(3).activations);
    config.train.global_batch = 4;
    CHECK(sequences == memory(2).activations);
    const auto of_expert = static_cast<double>(make_plan(config, {}).size.expert_parameters) / 5.0;
    const auto dense = static_cast<double>(make_plan(config, {}).size.total_parameters) - 5.0 * of_expert;
    CHECK(uneven == Approx(4.0 * (dense + 3.0 * of_expert)));
}

TEST_CASE("plan: a row goes once to a rank that has several of a token's experts", "[unit]") {
    Config config;
    config.parallel.exchange = ExchangeSetting::flat;
    config.moe.experts = 4;
    config.moe.top_k = 2;
    const auto bytes = [&](index_t top_k) {
        config.moe.top_k = top_k;
        const Plan plan = make_plan(config, {.num_ranks = 2});
        return plan.rows.in_node;
    };
    // Of two among four experts, at least one of two: 1 - 2/4 * 1/3 = 5/6. With all four: always.
    CHECK(bytes(2) / bytes(1) == Approx((5.0 / 6.0) / 0.5));
    CHECK(bytes(4) / bytes(1) == Approx(2.0));
}

TEST_CASE("plan: recomputation keeps less, a window caps the cache, latent attention shrinks it", "[unit]") {
    Config config = config_of("gemma-2-9b");
    const Plan plain = make_plan(config, {.num_ranks = 4});
    config.model.recompute = model::Recompute::block;
    CHECK(make_plan(config, {.num_ranks = 4}).memory.activations < plain.memory.activations / 2.0);
    CHECK(plain.cache_bytes_per_token == 42.0 * 2 * 8 * 256 * 4);
    CHECK(plain.windowed_cache_bytes_per_token == plain.cache_bytes_per_token / 2.0);
    CHECK(make_plan(config_of("deepseek-v2"), {}).cache_bytes_per_token == 60.0 * (512 + 64) * 4);
    CHECK(make_plan(config_of("bert-base"), {}).cache_bytes_per_token == 0.0);
}

TEST_CASE("lints: what leaves the consensus is named, what keeps it is not", "[unit]") {
    CHECK(lints(config_of("deepseek-v3")).empty());
    CHECK(is_advised(config_of("qwen3-235b-a22b"), "model.hidden / model.layers is 43.57"));
    const Config llama = config_of("llama-2-70b");
    CHECK(!is_advised(llama, "model.ffn_width is"));
    CHECK(!is_advised(llama, "model.hidden / model.layers"));
    CHECK(!is_advised(llama, "model.norm"));
    CHECK(!is_advised(llama, "moe."));
    CHECK(is_advised(config_of("t5-11b"), "model.ffn_width is 64.00 times model.hidden"));
    CHECK(is_advised(config_of("t5-11b"), "model.heads times the head width is 16.00"));
    CHECK(is_advised(config_of("gpt-1"), "model.norm_placement = post"));
    CHECK(is_advised(config_of("gpt-3"), "model.norm = layer"));
    CHECK(is_advised(config_of("gpt-3"), "model.norm_bias, model.ffn_bias, attention.bias"));
    CHECK(is_advised(config_of("gpt-3"), "model.activation = gelu_tanh"));
    CHECK(is_advised(config_of("gpt-3"), "model.kv_heads = model.heads = 96"));
    CHECK(is_advised(config_of("gpt-2-xl"), "model.dropout"));
    CHECK(is_advised(config_of("palm-540b"), "model.kv_heads = 1"));
    CHECK(is_advised(config_of("llama-7b"), "nothing holds logits small"));
    CHECK(!is_advised(config_of("gemma-2-27b"), "nothing holds logits small"));
    CHECK(is_advised(config_of("mixtral-8x7b"), "moe.expert_width = 14336"));
    CHECK(!is_advised(config_of("olmoe-1b-7b"), "moe."));
    CHECK(!is_advised(config_of("deepseek-v3"), "moe."));

    Config config = config_of("olmoe-1b-7b");
    config.model.vocab_size = 2000;
    CHECK(is_advised(config, "model.vocab_size = 2000"));
    config.model.vocab_size = 256;
    CHECK(!is_advised(config, "model.vocab_size"));
    config.moe.capacity_factor = 0.5;
    CHECK(is_advised(config, "moe.capacity_factor = 0.5"));
    config.moe.router_dtype = DType::bf16;
    CHECK(is_advised(config, "moe.router_dtype"));
    config.moe.balance.switch_loss = config.moe.balance.z_loss = 0.0;
    CHECK(is_advised(config, "no balance.* option"));
    CHECK(is_advised(config, "balance.z_loss = 0"));
    config.moe.balance.switch_loss = 1.0;
    CHECK(is_advised(config, "balance.switch_loss = 1"));
    config.moe.top_k = 40;
    CHECK(is_advised(config, "moe.top_k = 40: 1 to 10"));
    CHECK(is_advised(config, "moe.top_k = 40 of moe.experts = 64"));
    config.moe.top_k = 1;
    config.moe.renormalise = true;
    CHECK(is_advised(config, "moe.top_k = 1 with moe.renormalise"));
    config.optimizer.weight_decay = 0.0;
    CHECK(is_advised(config, "optimizer.weight_decay = 0"));
    config.model.head_dim = 16;
    CHECK(is_advised(config, "the head width"));
}

TEST_CASE("scaling law: E' starts at experts_start and saturates at experts_max", "[unit]") {
    for (const RoutedLaw& law : kRoutedLaws) {
        INFO(law.router);
        CHECK(saturated_experts(law, 1.0) == Approx(law.experts_start).epsilon(1e-12));
        CHECK(saturated_experts(law, 1e12) == Approx(law.experts_max).epsilon(1e-6));
        CHECK(saturated_experts(law, 64.0) < law.experts_max);
        // Far from both ends it grows by one an expert, less the saturation.
        CHECK(saturated_experts(law, 8.0) > saturated_experts(law, 7.0));
    }
}

TEST_CASE("scaling law: loss and effective parameters follow the closed forms", "[unit]") {
    for (const RoutedLaw& law : kRoutedLaws) {
        INFO(law.router);
        const double n = 1e8;
        // At E = 1: a power law of the dense model.
        const double start = std::log10(law.experts_start);
        CHECK(std::log10(predicted_loss(law, n, 1.0)) ==
              Approx(8.0 * law.a + law.b * start + 8.0 * law.c * start + law.d));
        CHECK(effective_parameters(law, n, 1.0) == Approx(n));
        // The dense model of the effective size has the loss of the routed one.
        for (const double experts : {2.0, 64.0, 512.0}) {
            const double effective = effective_parameters(law, n, experts);
            CHECK(effective > n);
            CHECK(predicted_loss(law, effective, 1.0) == Approx(predicted_loss(law, n, experts)));
            // Equation 11 of the paper.
            const auto alpha = [&](double e) { return law.a + law.c * std::log10(e); };
            const double saturated = saturated_experts(law, experts);
            CHECK(effective ==
                  Approx(std::pow(n, alpha(saturated) / alpha(law.experts_start)) *
                         std::pow(saturated / law.experts_start, law.b / alpha(law.experts_start))));
        }
        // Where b + c log N vanishes, experts no longer help.
        const double cutoff = std::pow(10.0, -law.b / law.c);
        CHECK(predicted_loss(law, cutoff, 64.0) == Approx(predicted_loss(law, cutoff, 1.0)));
    }
    // A value by hand: E' = 1 / (1 / (63 + 1 / (1 / 1.847 - 1 / 314.478)) + 1 / 314.478) = 53.72.
    CHECK(saturated_experts(kRoutedLaws[0], 64.0) == Approx(53.72).epsilon(1e-3));
}

TEST_CASE("scaling law: the dense size leaves out embedding, head, routers and unvisited experts", "[unit]") {
    const auto mixtral = *model::find_preset("mixtral-8x7b");
    const double layer = 2.0 * 4096 * 4096 + 2.0 * 4096 * 1024 + 2.0 * 3 * 4096 * 14336 + 2 * 4096;
    CHECK(dense_parameters(mixtral.model, mixtral.moe) == 32 * layer + 4096);
    const std::string text = scaling_law_text(mixtral.model, mixtral.moe);
    CHECK(text.find("*        8") != std::string::npos);
    CHECK(text.find("(here 2)") != std::string::npos);
    CHECK(text.find("this model lies outside") != std::string::npos);
    const auto dense = *model::find_preset("gpt-2");
    CHECK(scaling_law_text(dense.model, dense.moe).find("*        1") != std::string::npos);
}
