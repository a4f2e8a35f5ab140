#include "runtime/bench/routing_bench.hpp"

#include <algorithm>
#include <utility>

#include "kernels/ops/copy/copy.hpp"

namespace sy::runtime::bench {
namespace {

struct VocabularyAxis;

/// Ids of which low ones are frequent, as in a text.
PerToken<std::int32_t> random_ids() {
    PerToken<std::int32_t> ids;
    for (index_t t = 0; t < kRoutingTokens; ++t) {
        const auto u =
            static_cast<double>(uniform({4, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(t)));
        ids.push_back(static_cast<std::int32_t>(u * u * u * static_cast<double>(kRoutingVocabulary)));
    }
    return ids;
}

model::ModelConfig routing_model() {
    model::ModelConfig config;
    config.hidden = kRoutingHidden;
    config.seq_len = kRoutingSequence;
    config.vocab_size = kRoutingVocabulary;
    return config;
}

}  // namespace

model::MoeConfig fine_config() {
    model::MoeConfig moe;
    moe.experts = 64;
    moe.top_k = 6;
    moe.shared_experts = 2;
    moe.expert_width = 352;
    moe.balance = {.switch_loss = 0.0, .z_loss = 0.0};
    return moe;
}

RoutingBench::RoutingBench(Machine& machine_, comm::Communicator& world_, const model::MoeConfig& moe_)
    : machine(machine_),
      world(world_),
      moe(moe_),
      config(routing_model()),
      parameters(model::mixture_blueprint(config, moe), comm::block_placements({true}, moe.experts, 1), 0,
                 DType::f32, machine.context),
      shared{config, parameters, [](model::ParameterId) {}},
      ids(random_ids()),
      x(machine.random<float>({kRoutingTokens, kRoutingHidden}, 3)) {
    for (index_t t = 0; t < kRoutingTokens; ++t) token_loss.push_back(1.0F + static_cast<float>(t % 5));
    pass = {{0, kRoutingTokens, 1, 0, 1},
            model::Use::train,
            1,
            kRoutingSequence,
            ids,
            host_operand(std::span<const float>(token_loss))};
}

Routed::Routed(Machine& machine, comm::Communicator& world, const model::MoeConfig& moe)
    : bench(machine, world, moe),
      router(bench.shared, bench.moe, model::kFirstMixture, world),
      losses(model::make_router_losses(bench.moe)),
      dx(machine.device, DType::f32, {kRoutingTokens, kRoutingHidden}),
      load(moe.experts) {
    bench.parameters.allocate(1);
    Indexed<VocabularyAxis, index_t> counts(kRoutingVocabulary, 0);
    for (const std::int32_t id : bench.ids) ++counts[id];
    router.strategy().make_table({kRoutingVocabulary, 0, 1, counts});
}

void Routed::run() {
    const Context& context = bench.machine.context;
    routing = router.route(bench.x.matrix<float>(), bench.pass, context);
    std::ranges::fill(load, 0);
    for (const std::int32_t e : std::as_const(routing.expert).values<std::int32_t>())
        if (e != model::kNoExpert) ++load[e];
    model::RouterGradients gradients;
    if (losses.empty()) {
        gradients.weight = Tensor(context.device, DType::f32, routing.weight.shape());
        const MatrixView<float> dweight = gradients.weight.matrix<float>();
        for (index_t t = 0; t < dweight.rows; ++t) {
            for (index_t j = 0; j < dweight.cols; ++j) dweight(t, j) = static_cast<float>(weight_gradient(j));
        }
    }
    const model::RoutedBatch routed{routing, bench.pass, context};
    for (const auto& loss : losses) {
        Tensor words(context.device, DType::i64, {loss->num_sums(), index_t{ExactSum::kNumWords}});
        ops::clear(words, context);
        loss->add_sums(routed, words);
        const std::vector<ExactSum> sums = ops::exact_sums(words);
        value = loss->value({load, sums, kRoutingTokens});
        loss->add_gradient(routed, {load, sums, kRoutingTokens}, loss->coefficient(), gradients);
    }
    router.strategy().add_gradient(bench.x.matrix<float>(), routing, bench.pass, gradients, context);
    router.backward(bench.x.matrix<float>(), routing, gradients, bench.pass, dx.matrix<float>(), context);
}

BenchRow routing_row(const BenchOptions& options, const std::string& rule, const std::string& pass,
                     Times times, double layer_ms) {
    BenchRow row;
    row.what = "routing";
    row.shape = rule;
    row.dtype = "f32";
    row.mode = mode_name(NumericsMode::fast);
    row.pass = pass;
    row.threads = options.threads;
    row.times = times;
    row.rate = 1e-3 * static_cast<double>(kRoutingTokens) / times.best_ms;
    row.share = 100.0 * times.best_ms / layer_ms;
    row.tolerance = 1e-4;
    return row;
}

}  // namespace sy::runtime::bench
