#include "model/transformer.hpp"

#include <algorithm>
#include <numeric>

#include "comm/collectives.hpp"
#include "model/moe/balance/sums.hpp"

namespace sy::model {

Transformer::Transformer(const ModelConfig& config, const MoeConfig& moe, Parameters& parameters,
                         const ModelWorld& world, std::uint64_t seed)
    : config_(config),
      moe_(moe),
      parameters_(parameters),
      world_(world),
      seed_(seed),
      layer_context_{config_, parameters, [](ParameterId) {}} {
    const ParameterId embedding = parameters.add({.name = "embedding.weight",
                                                  .shape = {config.vocab_size, config.hidden},
                                                  .deviation = static_cast<float>(config.init_std)});
    decoder_ = std::make_unique<Stack>(
        BlockContext{layer_context_, moe_, world_},
        Stack::Spec{.prefix = "", .num_layers = config.layers, .num_positions = config.seq_len}, embedding);
    head_ = std::make_unique<Head>(layer_context_, config.tied_head ? embedding : ParameterId{-1});
}

PassResult Transformer::train(std::span<const std::int32_t> ids, const BatchInfo& batch,
                              const Context& context) {
    return run(ids, batch, Use::train, context);
}

PassResult Transformer::evaluate(std::span<const std::int32_t> ids, const BatchInfo& batch,
                                 const Context& context) {
    return run(ids, batch, Use::evaluate, context);
}

PassResult Transformer::run(std::span<const std::int32_t> ids, const BatchInfo& batch, Use use,
                            const Context& context) {
    const index_t num_sequences = static_cast<index_t>(ids.size()) / (config_.seq_len + 1);
    SY_REQUIRE(num_sequences * (config_.seq_len + 1) == static_cast<index_t>(ids.size()),
               "transformer: ", ids.size(), " ids are no whole sequences of ", config_.seq_len + 1);
    const bool training = use == Use::train;
    std::vector<std::int32_t> inputs;
    std::vector<std::int32_t> targets;
    for (index_t s = 0; s < num_sequences; ++s) {
        const auto first = ids.begin() + s * (config_.seq_len + 1);
        inputs.insert(inputs.end(), first, first + config_.seq_len);
        targets.insert(targets.end(), first + 1, first + config_.seq_len + 1);
    }
    std::vector<float> loss(inputs.size());
    const PassInfo pass{batch, use, seed_, config_.seq_len, inputs, loss};
    Tape tape(training ? Tape::Mode::record : Tape::Mode::forward_only, context);
    std::vector<MoeStatistics> statistics(decoder_->blocks().size());
    const NormLayer::Result last = decoder_->forward(tape, pass, statistics);
    const double scale = 1.0 / static_cast<double>(batch.global_tokens * batch.accumulation);
    head_->forward(tape, *last.normed, {targets, static_cast<float>(scale), loss}, pass);
    if (training) tape.backward();
    return reduce(loss, statistics, batch);
}

PassResult Transformer::reduce(std::span<const float> loss, std::span<MoeStatistics> statistics,
                               const BatchInfo& batch) const {
    // All sums are 64-bit integers: one message, and nothing depends on the layout.
    std::vector<std::int64_t> sums{0};
    for (const float value : loss) sums[0] += to_sum(static_cast<double>(value));
    for (const MoeStatistics& layer : statistics) {
        if (layer.load.empty()) continue;
        sums.push_back(static_cast<std::int64_t>(layer.routing_hash));
        sums.insert(sums.end(), layer.loss_sums.begin(), layer.loss_sums.end());
    }
    comm::all_reduce(world_.world, std::span<std::int64_t>(sums));
    PassResult result;
    result.token_loss = from_sum(sums[0]) / static_cast<double>(batch.global_tokens);
    std::size_t next = 1;
    for (std::size_t i = 0; i < statistics.size(); ++i) {
        MoeStatistics& layer = statistics[i];
        if (layer.load.empty()) continue;
        const auto hash = static_cast<std::uint64_t>(sums[next++]);
        result.routing_hash += hash;
        const auto losses = decoder_->blocks()[i].moe()->losses();
        result.router_losses.resize(losses.size());
        for (std::size_t j = 0; j < losses.size(); ++j) {
            const auto count = static_cast<std::size_t>(losses[j]->num_sums());
            NamedLoss& total = result.router_losses[j];
            total.name = losses[j]->name();
            total.coefficient = losses[j]->coefficient();
            total.value += losses[j]->value(
                {layer.load, std::span<const std::int64_t>(sums).subspan(next, count), batch.global_tokens});
            next += count;
        }
        result.num_dropped += layer.num_dropped;
        result.layers.push_back({static_cast<index_t>(i), std::move(layer.load), layer.num_dropped, hash});
        const LayerResult& report = result.layers.back();
        result.imbalance = std::max(result.imbalance, static_cast<double>(report.highest_load()) /
                                                          std::max(report.mean_load(), 1e-30));
    }
    result.total = result.token_loss;
    for (const NamedLoss& router_loss : result.router_losses)
        result.total += router_loss.coefficient * router_loss.value;
    return result;
}

index_t LayerResult::highest_load() const {
    return *std::ranges::max_element(load);
}

double LayerResult::mean_load() const {
    return static_cast<double>(std::accumulate(load.begin(), load.end(), index_t{0})) /
           static_cast<double>(load.size());
}

void Transformer::finish_step(const PassResult& step) {
    for (const LayerResult& layer : step.layers)
        decoder_->blocks()[static_cast<std::size_t>(layer.layer)].moe()->strategy().finish_step(layer.load);
}

std::map<std::string, std::vector<double>> Transformer::router_state() const {
    std::map<std::string, std::vector<double>> result;
    for (std::size_t i = 0; i < decoder_->blocks().size(); ++i) {
        if (decoder_->blocks()[i].moe() == nullptr) continue;
        const std::span<const double> state = decoder_->blocks()[i].moe()->strategy().state();
        if (!state.empty()) result[concat("layers.", i, ".moe")] = {state.begin(), state.end()};
    }
    return result;
}

void Transformer::set_router_state(const std::map<std::string, std::vector<double>>& state) {
    std::vector<std::string> problems;
    const auto mine = router_state();
    for (const auto& [name, values] : mine) {
        const auto found = state.find(name);
        const std::size_t there = found == state.end() ? 0 : found->second.size();
        if (there != values.size()) {
            problems.push_back(concat("checkpoint: router state ", name, " has ", there,
                                      " numbers there and ", values.size(), " in this model"));
        }
    }
    for (const auto& [name, values] : state) {
        if (!mine.contains(name)) {
            problems.push_back(concat("checkpoint: it holds router state ", name, " of ", values.size(),
                                      " numbers, which this model's routers do not have"));
        }
    }
    if (!problems.empty()) throw ConfigError(problems);
    for (std::size_t i = 0; i < decoder_->blocks().size(); ++i) {
        const auto found = state.find(concat("layers.", i, ".moe"));
        if (found != state.end())
            std::ranges::copy(found->second, decoder_->blocks()[i].moe()->strategy().state().begin());
    }
}

Transformer::Generation Transformer::start_generation(index_t num_sequences, index_t capacity,
                                                      const Context& context) const {
    Generation state;
    for (const Block& block : decoder_->blocks())
        state.caches.push_back({block.attention().make_cache(num_sequences, capacity, context), {}});
    return state;
}

Tensor Transformer::decode(std::span<const std::int32_t> ids, Generation& state,
                           const Context& context) const {
    const auto rows = static_cast<index_t>(ids.size());
    const index_t capacity = std::min(state.caches.front().self.keys.shape()[1], config_.seq_len);
    if (state.position >= capacity) {
        throw ShapeError(concat("generation: position ", state.position, " is beyond the context of ",
                                capacity, " tokens"));
    }
    Tape tape(Tape::Mode::forward_only, context);
    index_t global = rows;
    comm::all_reduce(world_.world, std::span<index_t>(&global, 1));
    const PassInfo pass{{0, std::max<index_t>(global, 1), 0, 0, 1}, Use::generate, seed_, 1, ids, {}};
    const NormLayer::Result last = decoder_->decode(tape, pass, state.caches, state.position);
    Tensor logits(context.arena, DType::f32, {rows, config_.vocab_size});
    head_->logits(last.normed->view(), logits.matrix<float>(), context);
    ++state.position;
    return logits;
}

}  // namespace sy::model
