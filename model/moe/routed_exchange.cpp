#include "model/moe/routed_exchange.hpp"

#include <cmath>
#include <utility>

#include "comm/collectives.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/problems.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "model/moe/capacity.hpp"
#include "model/moe/router/router.hpp"

namespace sy::model {
namespace {

/// Numbers that the option table of the program would have refused.
void range_problems(const RoutedExchangeConfig& config, Problems& problems) {
    const MoeConfig& moe = config.moe;
    const auto at_least = [&](const char* name, index_t value, index_t least) {
        problems.require(value >= least, name, " = ", value, " is below ", least);
    };
    at_least("moe.experts", moe.experts, 1);
    at_least("moe.top_k", moe.top_k, 1);
    at_least("moe.min_capacity", moe.min_capacity, 0);
    at_least("moe.groups", moe.groups, 0);
    at_least("seq_len", config.seq_len, 1);
    at_least("layer_idx", config.layer_idx, 0);
    const auto not_negative = [&](const char* name, double value) {
        problems.require(std::isfinite(value) && value >= 0.0, name, " = ", value, " is not a number from 0");
    };
    not_negative("moe.routed_scale", moe.routed_scale);
    not_negative("moe.capacity_factor", moe.capacity_factor);
    not_negative("moe.eval_capacity_factor", moe.eval_capacity_factor);
    not_negative("moe.device_capacity", moe.device_capacity);
    not_negative("moe.protected_fraction", moe.protected_fraction);
    not_negative("moe.noise_std", moe.noise_std);
    not_negative("balance.bias_rate", moe.balance.bias_rate);
}

/// What a model's layer does, and logits alone cannot.
void refuse_what_needs_a_layer(const MoeConfig& moe, Problems& problems) {
    problems.require(moe.router != "hash",
                     "moe.router = hash looks experts up by token ids, not by logits; use another router");
    problems.require(
        moe.router != "reinforce",
        "moe.router = reinforce learns from the loss of every token; use another router, or a MoeLayer");
    problems.require(moe.jitter == 0.0, "moe.jitter changes what logits are computed from; set it to 0");
    problems.require(moe.noise != LogitNoise::learned,
                     "moe.noise = learned needs weights of its own; use gaussian or gumbel, or none");
    problems.require(moe.router_dtype == DType::f32,
                     "moe.router_dtype rounds the product behind the logits; set it to f32");
    problems.require(
        moe.wire == WireFormat::f32,
        "moe.wire rounds rows in a MoeLayer; set it to f32 and round what is given to dispatch and combine");
    problems.require(moe.shared_experts == 0,
                     "moe.shared_experts are computed where the token is; set it to 0 and add them to y");
    problems.require(moe.expert_dropout == 0.0,
                     "moe.expert_dropout changes outputs of experts, which the caller computes; set it to 0");
}

const RoutedExchangeConfig& checked(const RoutedExchangeConfig& config) {
    Problems problems;
    range_problems(config, problems);
    if (config.moe.experts > 0 && config.moe.top_k > 0) {
        MoeConfig moe = config.moe;
        moe.layers = "all";
        problems.add_all(model_problems(ModelConfig(), moe));
    }
    refuse_what_needs_a_layer(config.moe, problems);
    problems.throw_if_any();
    return config;
}

/// What this rank tells the others before a collective step.
struct Claim {
    index_t size = 0;  ///< that others need, or must have too
    std::vector<std::string> problems;
};

/// The sizes of all ranks, or the problems of all ranks as one failure of each: a rank that failed by itself would leave
/// the others waiting.
/// @par Collective over `world`
std::vector<index_t> agree(comm::Communicator& world, const char* doing, const Claim& mine) {
    const index_t words[] = {mine.size, static_cast<index_t>(mine.problems.size())};
    const std::vector<index_t> all = comm::all_gather(world, std::span<const index_t>(words));
    std::vector<index_t> sizes;
    bool good = true;
    for (std::size_t i = 0; i < all.size(); i += 2) {
        sizes.push_back(all[i]);
        good = good && all[i + 1] == 0;
    }
    if (good) return sizes;
    std::string lines;
    for (const std::string& problem : mine.problems)
        lines += concat("\n  rank ", world.rank(), ": ", problem);
    std::string text = concat(doing, ": what was given does not fit");
    for (const std::string& of_rank : comm::all_gather(world, lines)) text += of_rank;
    throw ShapeError(text);
}

std::vector<std::string> logit_problems(MatrixView<const float> logits, const RoutedExchangeConfig& config) {
    Problems problems;
    problems.require(logits.cols == config.moe.experts, "logits [", logits.rows, ", ", logits.cols,
                     "] for moe.experts = ", config.moe.experts);
    problems.require(logits.rows % config.seq_len == 0, "logits of ", logits.rows,
                     " tokens, which are not whole sequences of ", config.seq_len);
    index_t num_bad = 0;
    std::string first;
    for (index_t t = 0; t < logits.rows; ++t) {
        for (index_t e = 0; e < logits.cols; ++e) {
            if (std::isfinite(logits(t, e))) continue;
            if (num_bad++ == 0) first = concat(logits(t, e), " for token ", t, " and expert ", e);
        }
    }
    problems.require(num_bad == 0, num_bad, " logits are not finite, the first is ", first);
    return problems.take();
}

/// Whether rows of one width on all ranks belong to so many tokens or slots.
void check_rows(comm::Communicator& world, const char* doing, MatrixView<const float> x, index_t rows,
                Problems problems = {}) {
    problems.require(x.rows == rows, "rows [", x.rows, ", ", x.cols, "] where ", rows, " are expected");
    const std::vector<index_t> widths = agree(world, doing, {x.cols, problems.take()});
    for (std::size_t rank = 0; rank < widths.size(); ++rank) {
        if (widths[rank] != widths[0])
            throw ShapeError(concat(doing, ": rows of ", widths[rank], " on rank ", rank, ", of ", widths[0],
                                    " on rank 0"));
    }
}

}  // namespace

RoutedExchange::RoutedExchange(RoutedExchangeConfig config, comm::Communicator& world, const Context& context)
    : config_(checked(config)),
      world_(world),
      context_(context),
      strategy_(make_strategy(config_.moe)),
      losses_(make_router_losses(config_.moe)),
      placement_(comm::block_placement(config_.moe.experts, world.size())),
      exchange_(comm::make_exchange(config_.exchange, world, comm::discover_topology(world), context)) {}

RoutedTokens RoutedExchange::route(MatrixView<const float> logits, Use use, index_t step) {
    const std::vector<index_t> tokens =
        agree(world_, "route", {logits.rows, logit_problems(logits, config_)});
    PassInfo pass;
    pass.use = use;
    pass.seed = config_.seed;
    pass.seq_len = config_.seq_len;
    pass.batch.step = step;
    for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
        if (static_cast<int>(rank) < world_.rank()) pass.batch.first_token += tokens[rank];
        pass.batch.global_tokens += tokens[rank];
    }
    if (pass.batch.global_tokens == 0) throw ShapeError("route: no rank has a token");

    Routing routing;
    routing.logits = Tensor(context_.device, DType::f32, {logits.rows, logits.cols});
    context_.device.upload(logits, routing.logits, context_.stream);
    route_logits({*strategy_, config_.moe, config_.layer_idx, world_}, pass, routing, context_);
    const Tensor sums = loss_sums(losses_, {routing, pass, context_});
    const ReadChoices decision(routing, pass, config_.moe, sums, context_);
    CapacityResult capacity =
        apply_capacity({decision.expert(), decision.score(), pass}, config_.moe, world_);
    RoutedTokens routed;
    std::vector<ExactSum> global_sums;
    if (!losses_.empty()) {
        global_sums = ops::exact_sums(decision.sums());
        comm::all_reduce(world_, std::span<ExactSum>(global_sums));
    }
    routed.losses = loss_values(losses_, {capacity.load, global_sums, pass.batch.global_tokens});
    routed.expert = routing.dispatched.empty() ? std::move(routing.expert) : std::move(routing.dispatched);
    routed.weight = std::move(routing.weight);
    routed.kept = std::move(capacity.kept);
    routed.load = std::move(capacity.load);
    routed.num_dropped = capacity.num_dropped;
    routed.plan = exchange_->plan(decision.exchanged(routed.kept, pass), placement_, return_rows(context_));
    return routed;
}

DispatchedRows RoutedExchange::dispatch(MatrixView<const float> x, const RoutedTokens& routed) {
    check_rows(world_, "dispatch", x, routed.plan.num_tokens());
    const Tensor rows = exchange_->start_dispatch(x, routed.plan).wait();
    const comm::ReceivePlan& receive = routed.plan.receive;
    DispatchedRows arrived;
    arrived.rows = Tensor(context_.device, DType::f32, {receive.num_slots(), x.cols});
    ops::gather_rows(rows, receive.slot_row, arrived.rows, context_);
    const auto experts = placement_.experts_of(world_.rank());
    arrived.experts.assign(experts.begin(), experts.end());
    const std::span<const index_t> offsets = receive.expert_offsets().edges();
    arrived.expert_offsets.assign(offsets.begin(), offsets.end());
    return arrived;
}

void RoutedExchange::combine(MatrixView<const float> outputs, const RoutedTokens& routed,
                             MatrixView<float> y) {
    const comm::DispatchPlan& plan = routed.plan;
    Problems problems;
    problems.require(y.rows == plan.num_tokens() && y.cols == outputs.cols, "y [", y.rows, ", ", y.cols,
                     "] where [", plan.num_tokens(), ", ", outputs.cols, "] is expected");
    check_rows(world_, "combine", outputs, plan.receive.num_slots(), std::move(problems));
    Tensor results = exchange_->make_results(plan, outputs.cols);
    const Tensor weight = upload(std::span<const float>(plan.receive.slot_weight), context_);
    ops::scale_rows(weight, outputs, results.ref().rows_of(plan.back.slots), context_);
    results = exchange_->start_return(std::move(results), plan).wait();
    comm::combine_returned(results, plan, Write::overwrite, y, context_);
}

}  // namespace sy::model
