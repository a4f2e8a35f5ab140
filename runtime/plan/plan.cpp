#include "runtime/plan/plan.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "model/moe/wire.hpp"
#include "runtime/plan/units.hpp"
#include "runtime/train/exchange_choice.hpp"

namespace sy::runtime {
namespace {

using model::AttentionKind;
using model::ModelConfig;
using model::MoeConfig;

constexpr double kFloat = 4.0;
constexpr double kCautiousFlops = 20e9;  ///< of a rank, in a second
constexpr double kCautiousDisk = 500e6;  ///< bytes that a node writes in a second

double number(index_t value) {
    return static_cast<double>(value);
}

/// Bytes of an input of matrix products.
double product_bytes(const ModelConfig& model) {
    return model.dtype == DType::bf16 ? 2.0 : kFloat;
}

/// Whether each layer of both stacks is a mixture.
std::vector<bool> all_moe_layers(const ModelConfig& model, const MoeConfig& moe) {
    std::vector<bool> all;
    for (const index_t layers : {model.num_encoder_layers(), model.num_decoder_layers()}) {
        if (layers == 0) continue;
        const std::vector<bool> stack = model::moe_layers(moe, layers);
        all.insert(all.end(), stack.begin(), stack.end());
    }
    return all;
}

/// Values that attention keeps of a token: queries, keys, values, and what comes out.
double attention_values(const ModelConfig& model) {
    const index_t width = model.head_width();
    if (model.attention.kind == AttentionKind::grouped)
        return number(2 * (model.heads + model.kv_heads) * width);
    const index_t value = model.attention.value_dim > 0 ? model.attention.value_dim : width;
    return number(model.attention.query_rank + model.attention.kv_rank + 2 * model.attention.rope_dim) +
           number(model.heads * (2 * (width + model.attention.rope_dim) + 2 * value));
}

/// Bytes that a layer keeps of a token until backward.
double kept_bytes(const ModelConfig& model, const MoeConfig& moe, bool is_moe) {
    const double in = product_bytes(model);
    const double gates = ops::is_gated(model.activation) ? 2.0 : 1.0;
    // Two norms' outputs, two sub-layers' outputs, two sums; rounded copies of what products read.
    const double stream = 6.0 * number(model.hidden) * kFloat +
                          (model.dtype == DType::bf16 ? 2.0 * in * number(model.hidden) : 0.0);
    const double attention = attention_values(model) * kFloat;
    if (!is_moe) return stream + attention + gates * in * number(model.ffn_width);
    const double choices = number(moe.top_k + moe.shared_experts);
    return stream + attention + choices * gates * in * number(moe.expert_width) +
           number(moe.top_k) * model::wire_bytes(moe.wire, model.dtype).row * number(model.hidden) +
           2.0 * kFloat * number(moe.experts);
}

double activation_bytes(const Config& config, double micro_tokens) {
    const std::vector<bool> is_moe = all_moe_layers(config.model, config.moe);
    double all = 0.0;
    double highest = 0.0;
    for (const bool moe : is_moe) {
        const double layer = kept_bytes(config.model, config.moe, moe);
        all += layer;
        highest = std::max(highest, layer);
    }
    if (config.model.recompute == model::Recompute::block)
        all = number(static_cast<index_t>(is_moe.size())) * 2.0 * number(config.model.hidden) * kFloat +
              highest;
    return micro_tokens * all;
}

PlannedMemory plan_memory(const Config& config, const Plan& plan) {
    const auto total = number(plan.size.total_parameters);
    const auto experts = number(plan.size.expert_parameters);
    // The rank that holds most counts; shadows are at most one of every expert on a rank.
    const auto num_experts = static_cast<double>(config.moe.experts);
    const double even_share = number(ceil_div(config.moe.experts, plan.grid.expert_parallel));
    const double copies =
        std::min(num_experts, even_share + static_cast<double>(config.parallel.spare_experts));
    const double held = total - experts + experts * copies / num_experts;
    const double owned = total / plan.request.num_ranks;
    const bool fast = config.numerics == NumericsMode::fast;
    PlannedMemory memory;
    // While experts move, float32 weights and moments are held for both placements.
    const bool moving = config.parallel.placement == PlacementRule::balanced;
    const double moved =
        moving ? 4.0 * experts / plan.grid.expert_parallel + 8.0 * experts / plan.request.num_ranks : 0.0;
    memory.weights = moved + held * (config.model.dtype == DType::bf16 ? 6.0 : 4.0);
    memory.gradients = held * (fast ? 4.0 : 8.0);
    // Gradients in float stand beside fixed point on the owner.
    memory.optimizer = owned * (8.0 + (fast ? 0.0 : 4.0));
    if (config.checkpoint.background && config.checkpoint.layout == CheckpointLayout::sharded)
        memory.snapshot = owned * 12.0;
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    memory.activations =
        activation_bytes(config, number(ceil_div(sequences, plan.request.num_ranks) * config.model.seq_len));
    return memory;
}

/// The chance that at least one of a token's choices is among `count` experts, all choices being equally likely.
double chance_of_visit(const MoeConfig& moe, double count) {
    double none = 1.0;
    for (index_t choice = 0; choice < moe.top_k; ++choice)
        none *= std::max(0.0, 1.0 - count / number(moe.experts - choice));
    return 1.0 - none;
}

/// What goes equally to each of `group` ranks, of which `near` share this rank's node; it keeps its own share.
PlannedTraffic spread_evenly(double bytes_each, int group, int near) {
    return {bytes_each * (near - 1), bytes_each * (group - near)};
}

PlannedTraffic plan_rows(const Config& config, const Plan& plan) {
    const std::vector<bool> is_moe = all_moe_layers(config.model, config.moe);
    const auto layers = number(std::count(is_moe.begin(), is_moe.end(), true)) +
                        (is_moe.back() ? number(config.model.mtp_depth) : 0.0);
    const double tokens = plan.step_tokens / plan.request.num_ranks;
    const int group = plan.grid.expert_parallel;
    const int near = std::min(group, plan.request.ranks_per_node);
    const double experts_of_rank = number(config.moe.experts) / group;
    // Forward and backward: rows to experts, and results back.
    const model::WireBytes wire = model::wire_bytes(config.moe.wire, config.model.dtype);
    const double values = layers * tokens * number(config.model.hidden);
    const double row_bytes = values * (wire.row + wire.gradient);
    const double result_bytes = values * 2.0 * wire.result;
    const double bytes = row_bytes + result_bytes;
    const bool on_gpus = config.parallel.device == DeviceKind::cuda;
    // A plan knows nothing of the room in a node's /dev/shm, and takes it to be enough.
    const ExchangeChoice choice =
        on_gpus ? choose_exchange_of_gpus(config.parallel.exchange, near, narrow<int>(ceil_div(group, near)))
                : choose_exchange(config.parallel.exchange, near, 0.0, 0.0);
    if (choice.kind != comm::ExchangeKind::hierarchical)
        return spread_evenly(bytes * chance_of_visit(config.moe, experts_of_rank), group, near);
    const double other_nodes = number(group) / near - 1.0;
    const double between_nodes = bytes * other_nodes * chance_of_visit(config.moe, experts_of_rank * near);
    const double slots_in_node = number(config.moe.top_k) * (near - 1) / group;
    if (on_gpus) {
        // A row to each neighbour that reads it, and each result by itself: of own tokens, and of those that other nodes send.
        const double rows_in_node = chance_of_visit(config.moe, experts_of_rank) * (near - 1);
        return {(1.0 + other_nodes) * (row_bytes * rows_in_node + result_bytes * slots_in_node),
                between_nodes};
    }
    // In its own node a token writes one row, if another rank needs it, and reads the slots of others.
    const double row_in_node = chance_of_visit(config.moe, experts_of_rank * (near - 1));
    return {row_bytes * row_in_node + result_bytes * slots_in_node, between_nodes};
}

/// Each rank sends every other the part of a gradient that the other owns, and receives its weights.
PlannedTraffic plan_gradients(const Config& config, const Plan& plan) {
    const double bytes = config.numerics == NumericsMode::fast ? 8.0 : 12.0;
    const auto experts = number(plan.size.expert_parameters);
    const double dense = number(plan.size.total_parameters) - experts;
    const int ranks = plan.request.num_ranks;
    PlannedTraffic all =
        spread_evenly(bytes * dense / ranks, ranks, std::min(ranks, plan.request.ranks_per_node));
    // Replicas of an expert are expert_parallel ranks apart.
    const int replicas = plan.grid.data_parallel;
    const int near =
        std::clamp(plan.request.ranks_per_node / plan.grid.expert_parallel, 1, std::max(1, replicas));
    const PlannedTraffic shared =
        spread_evenly(bytes * experts / plan.grid.expert_parallel / replicas, replicas, near);
    all.in_node += shared.in_node;
    all.between_nodes += shared.between_nodes;
    return all;
}

void plan_cache(const ModelConfig& model, Plan& plan) {
    const double values = model.attention.kind == AttentionKind::latent
                              ? number(model.attention.kv_rank + model.attention.rope_dim)
                              : number(2 * model.kv_heads * model.head_width());
    if (model.num_decoder_layers() == 0) return;
    for (const bool windowed :
         model::layer_pattern("attention.window_layers", model.attention.window_layers, model.layers)) {
        plan.cache_bytes_per_token += values * kFloat;
        if (windowed && model.attention.window > 0) plan.windowed_cache_bytes_per_token += values * kFloat;
    }
}

/// See Plan::seconds_to_leave.
double guess_seconds_to_leave(const Config& config, const Plan& plan) {
    const int ranks = plan.request.num_ranks;
    const bool sharded = config.checkpoint.layout == CheckpointLayout::sharded;
    const index_t writers = sharded ? ceil_div(index_t{ranks}, index_t{plan.request.ranks_per_node}) : 1;
    return plan.size.train_flops_per_token() * plan.step_tokens / ranks / kCautiousFlops +
           plan.checkpoint_bytes / (kCautiousDisk * number(writers));
}

}  // namespace

Plan make_plan(const Config& config, const PlanRequest& request) {
    Plan plan;
    plan.request = request;
    plan.grid = comm::make_process_grid(request.num_ranks, narrow<int>(config.parallel.expert_parallel));
    plan.size = model::model_size(config.model, config.moe);
    plan.step_tokens = number(config.train.global_batch * config.model.seq_len);
    plan.memory = plan_memory(config, plan);
    plan.checkpoint_bytes = 3.0 * kFloat * number(plan.size.total_parameters);
    plan.seconds_to_leave = guess_seconds_to_leave(config, plan);
    plan.rows = plan_rows(config, plan);
    plan.gradients = plan_gradients(config, plan);
    plan_cache(config.model, plan);
    return plan;
}

void check_limits(const Plan& plan, const JobLimits& limits) {
    std::vector<std::string> problems;
    const int ranks = std::min(plan.request.num_ranks, plan.request.ranks_per_node);
    const double memory = ranks * plan.memory.total();
    if (limits.node_memory > 0.0 && memory > limits.node_memory) {
        problems.push_back(concat("plan: ", ranks, " ranks of a node need about ", with_prefix(memory, "B"),
                                  " of memory, and it has ", with_prefix(limits.node_memory, "B"),
                                  "; take fewer ranks a node or more nodes, raise train.accumulation, or set "
                                  "model.recompute = block"));
    }
    const double seconds = plan.seconds_to_leave;
    if (limits.grace_seconds > 0.0 && seconds > limits.grace_seconds) {
        problems.push_back(concat("plan: a step and a checkpoint may take ", std::ceil(seconds),
                                  " s, and the job is told of its end ", limits.grace_seconds,
                                  " s before; have it told earlier, or take more ranks"));
    }
    if (!problems.empty()) throw ConfigError(problems);
}

std::vector<std::string> plan_notes(const Config& config, const Plan& plan) {
    std::vector<std::string> notes;
    const index_t ranks = plan.request.num_ranks;
    if (config.parallel.ranks != 0 && config.parallel.ranks != ranks) {
        notes.push_back(concat("parallel.ranks = ", config.parallel.ranks,
                               " lets this config run on no other number, "
                               "and this plan is for ",
                               ranks, "; change one of them"));
    }
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    if (ranks > sequences) {
        notes.push_back(concat(
            ranks - sequences, " of ", ranks, " ranks have no tokens: a micro-step has ", sequences,
            " sequences (train.global_batch = ", config.train.global_batch,
            " over train.accumulation = ", config.train.accumulation,
            "), and none is split; what the plan says of a rank's products and traffic is a mean. Raise "
            "train.global_batch, or take fewer ranks"));
    }
    const index_t experts = config.moe.experts;
    if (plan.size.expert_parameters > 0 && plan.grid.expert_parallel > experts) {
        notes.push_back(concat(plan.grid.expert_parallel - experts, " of ", plan.grid.expert_parallel,
                               " expert-parallel ranks hold none of moe.experts = ", experts,
                               "; set parallel.expert_parallel to ", experts, " or less"));
    }
    if (config.parallel.device == DeviceKind::cuda && config.parallel.exchange == ExchangeSetting::one_sided)
        notes.push_back(choose_exchange_of_gpus(config.parallel.exchange, 1, 1).note);
    return notes;
}

std::string to_text(const Plan& plan) {
    std::ostringstream text;
    const auto line = [&](const char* name, double value, const char* unit) {
        text << "  " << std::left << std::setw(50) << name << with_prefix(value, unit) << "\n";
    };
    const auto levels = [&](const char* name, const PlannedTraffic& traffic) {
        text << "  " << std::left << std::setw(50) << name << with_prefix(traffic.in_node, "B")
             << " in its node, " << with_prefix(traffic.between_nodes, "B") << " between nodes\n";
    };
    text << plan.request.num_ranks << " ranks, " << plan.grid.to_string() << ", "
         << std::min(plan.request.ranks_per_node, plan.request.num_ranks) << " a node\n";
    line("parameters", number(plan.size.total_parameters), "");
    line("  of routed experts", number(plan.size.expert_parameters), "");
    if (plan.size.mtp_parameters > 0)
        line("  of multi-token prediction", number(plan.size.mtp_parameters), "");
    line("active parameters of a token", number(plan.size.active_parameters), "");
    line("products of a token, forward", plan.size.forward_flops_per_token, "FLOP");
    line("products of a token, forward and backward", plan.size.train_flops_per_token(), "FLOP");
    line("tokens of a step", plan.step_tokens, "");
    line("products of a step, each rank",
         plan.size.train_flops_per_token() * plan.step_tokens / plan.request.num_ranks, "FLOP");
    line("memory, each rank, about", plan.memory.total(), "B");
    line("  weights", plan.memory.weights, "B");
    line("  gradients", plan.memory.gradients, "B");
    line("  moments of the optimizer", plan.memory.optimizer, "B");
    line("  snapshot for checkpoints", plan.memory.snapshot, "B");
    line("  activations of a micro-step, estimated", plan.memory.activations, "B");
    line("a checkpoint, all ranks", plan.checkpoint_bytes, "B");
    text << "  " << std::left << std::setw(50) << "to finish a step and write one, cautiously guessed"
         << std::ceil(plan.seconds_to_leave) << " s\n";
    levels("rows sent a step, each rank, even routing", plan.rows);
    levels("gradients and weights sent a step, each rank", plan.gradients);
    if (plan.cache_bytes_per_token > 0.0)
        line("keys and values of a token, cached", plan.cache_bytes_per_token, "B");
    if (plan.windowed_cache_bytes_per_token > 0.0)
        line("  of that, needed only in a window", plan.windowed_cache_bytes_per_token, "B");
    return text.str();
}

}  // namespace sy::runtime
