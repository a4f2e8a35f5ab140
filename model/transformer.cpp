#include "model/transformer.hpp"

#include <algorithm>
#include <numeric>

#include "comm/collectives.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "model/objective/masking.hpp"
#include "model/objective/spans.hpp"

namespace sy::model {
namespace {

double total_loss(const PassResult& pass) {
    double total = pass.token_loss;
    for (const NamedLoss& loss : pass.extra_losses) total += loss.coefficient * loss.value;
    return total;
}

/// The weighted mean of one of the extra losses. A pass without weight may have no value.
double mean_loss(std::span<const PassResult> passes, std::size_t loss_idx) {
    double sum = 0.0;
    double weight = 0.0;
    for (const PassResult& pass : passes) {
        const NamedLoss& loss = pass.extra_losses[loss_idx];
        if (loss.weight > 0.0) sum += loss.weight * loss.value;
        weight += loss.weight;
    }
    return sum / weight;
}

}  // namespace

PassResult over_passes(std::span<const PassResult> passes) {
    SY_REQUIRE(!passes.empty(), "over_passes: no pass");
    PassResult total = passes.front();
    for (const PassResult& pass : passes.subspan(1)) {
        total.token_sum += pass.token_sum;
        total.num_targets += pass.num_targets;
        total.routing_hash += pass.routing_hash;
        total.num_dropped += pass.num_dropped;
        total.imbalance = std::max(total.imbalance, pass.imbalance);
        for (std::size_t i = 0; i < pass.layers.size(); ++i) {
            LayerResult& layer = total.layers[i];
            for (std::size_t e = 0; e < layer.load.size(); ++e) layer.load[e] += pass.layers[i].load[e];
            layer.num_dropped += pass.layers[i].num_dropped;
            layer.routing_hash += pass.layers[i].routing_hash;
        }
    }
    total.token_loss = total.token_sum.value() / static_cast<double>(total.num_targets);
    for (std::size_t i = 0; i < total.extra_losses.size(); ++i)
        total.extra_losses[i].value = mean_loss(passes, i);
    total.total = total_loss(total);
    return total;
}

Transformer::Transformer(const ModelConfig& config, const MoeConfig& moe, Parameters& parameters,
                         const ModelWorld& world, std::uint64_t seed)
    : config_(config),
      moe_(moe),
      parameters_(parameters),
      world_(world),
      seed_(seed),
      layer_context_{config_, parameters, [this](ParameterId id) { ready(id); }} {
    build_stacks();
    head_ = std::make_unique<Head>(layer_context_);
    count_uses();
    make_router_tables({});
}

void Transformer::build_stacks() {
    const BlockContext context{layer_context_, moe_, world_};
    const auto visibility =
        config_.architecture == Architecture::encoder ? ops::Visibility::all : ops::Visibility::causal;
    stack_ = std::make_unique<Stack>(
        context, Stack::Spec{.id = StackId::main, .num_layers = config_.layers, .visibility = visibility});
    for (const Block& block : stack_->blocks()) blocks_.push_back(&block);
    modules_.reserve(static_cast<std::size_t>(config_.mtp_depth));
    for (index_t depth = 0; depth < config_.mtp_depth; ++depth) {
        const index_t layer = config_.layers + depth;
        modules_.emplace_back(context, stack_->positions(),
                              BlockSpec{.stack = StackId::prediction,
                                        .layer_idx = layer,
                                        .stream_idx = layer,
                                        .name = block_name(StackId::prediction, depth)});
        blocks_.push_back(&modules_.back().block());
    }
    if (config_.architecture != Architecture::encoder_decoder) return;
    encoder_ = std::make_unique<Stack>(context, Stack::Spec{.id = StackId::encoder,
                                                            .num_layers = config_.num_encoder_layers(),
                                                            .first_stream = blocks_.size(),
                                                            .visibility = ops::Visibility::all});
    for (const Block& block : encoder_->blocks()) blocks_.push_back(&block);
}

void Transformer::count_uses() {
    const PerParameterSpan<const ParameterSpec> specs = parameters_.specs();
    for (ParameterId id = 0; id < specs.size(); ++id) {
        const auto& [layer, role, piece] = specs[id].key;
        index_t uses = 1;
        if (role == Role::table && encoder_ != nullptr) ++uses;
        if (role == Role::table || layer == LayerKey{StackId::main, -1, Part::output})
            uses += config_.mtp_depth;
        if (uses > 1) shared_parameters_[id].wanted = uses;
        // A tied head adds to the table as well, and every block to the one bias of positions.
        if (role == Role::table && config_.tied_head) uses *= 2;
        if (role == Role::position_bias) uses = blocks_.size();
        parameters_.set_uses(id, uses);
    }
}

void Transformer::ready(ParameterId id) {
    const auto shared = shared_parameters_.find(id);
    if (shared != shared_parameters_.end()) {
        if (++shared->second.seen < shared->second.wanted) return;
        shared->second.seen = 0;
    }
    gradient_ready_(id);
}

BatchInfo Transformer::scaled(BatchInfo batch, index_t seq_len) const {
    batch.first_token = batch.first_token / config_.seq_len * seq_len;
    batch.global_tokens = batch.global_tokens / config_.seq_len * seq_len;
    return batch;
}

Transformer::Rows Transformer::prepare(std::span<const std::int32_t> ids, const PassInfo& pass,
                                       const Context& context) const {
    Rows rows{.predictions = {}, .seq_len = config_.seq_len, .encoder_ids = {}, .lse = {}};
    if (config_.architecture == Architecture::encoder_decoder) {
        const SpanLengths lengths = span_lengths(config_);
        SpanBatch spans =
            corrupt_spans(ids, config_.seq_len + 1, pass.batch.first_token_of_step() / config_.seq_len,
                          pass.random_of_step(RandomPurpose::corruption), config_);
        const BatchInfo targets = scaled(pass.batch, lengths.decoder);
        rows.predictions.push_back({std::move(spans.decoder_ids), std::move(spans.targets),
                                    targets.global_tokens, targets.tokens_of_step()});
        rows.seq_len = lengths.decoder;
        rows.encoder_ids = std::move(spans.encoder_ids);
        rows.encoder_seq_len = lengths.encoder;
    } else {
        for (index_t depth = 0; depth <= (pass.training() ? config_.mtp_depth : 0); ++depth)
            rows.predictions.push_back(shift(ids, depth, pass.batch));
        if (config_.architecture == Architecture::encoder) mask(rows.predictions.front(), pass);
    }
    const Shape row_shape{std::ssize(rows.predictions.front().ids)};
    for (Prediction& prediction : rows.predictions)
        prediction.loss = Tensor(context.device, DType::f32, row_shape);
    if (config_.output_z_loss > 0.0) rows.lse = Tensor(context.device, DType::f32, row_shape);
    return rows;
}

Transformer::Prediction Transformer::shift(std::span<const std::int32_t> ids, index_t depth,
                                           const BatchInfo& batch) const {
    const index_t length = config_.seq_len;
    Prediction result;
    for (auto first = ids.begin(); first != ids.end(); first += length + 1) {
        for (index_t i = 0; i < length; ++i) {
            // The last rows read no token of their own and have no target; causal attention hides them from the others.
            result.ids.push_back(first[std::min(i + depth, length)]);
            result.targets.push_back(i + depth < length ? first[i + depth + 1] : -1);
        }
    }
    result.num_targets = batch.global_tokens / length * (length - depth);
    result.num_targets_of_step = batch.accumulation * result.num_targets;
    return result;
}

void Transformer::mask(Prediction& prediction, const PassInfo& pass) const {
    const RandomKey key = pass.random_of_step(RandomPurpose::corruption);
    MaskedTokens masked = mask_tokens(prediction.ids, pass.batch.first_token_of_step(), key, config_);
    prediction.ids = std::move(masked.ids);
    prediction.targets = std::move(masked.targets);
    // Gradients begin to be summed in the first micro-step, so each counts what the whole step will ask for.
    const Range mine = part_of(pass.batch.tokens_of_step(), world_.world.size(), world_.world.rank());
    index_t counts[] = {std::ranges::count_if(prediction.targets, [](std::int32_t id) { return id >= 0; }),
                        count_masked(mine, key, config_)};
    comm::all_reduce(world_.world, std::span<index_t>(counts));
    prediction.num_targets = counts[0];
    prediction.num_targets_of_step = counts[1];
}

PassResult Transformer::run(std::span<const std::int32_t> ids, const BatchInfo& batch, Use use,
                            const Context& context) {
    const index_t stride = config_.seq_len + 1;
    SY_REQUIRE(static_cast<index_t>(ids.size()) % stride == 0, "transformer: ", ids.size(),
               " ids are no whole sequences of ", stride);
    SY_REQUIRE(batch.document_begins.empty() || config_.architecture == Architecture::decoder,
               "transformer: only a decoder can keep the documents of a sequence apart");
    const bool training = use == Use::train;
    PassInfo pass{batch, use, seed_, config_.seq_len, {}, {}};
    Rows rows = prepare(ids, pass, context);
    Prediction& head = rows.predictions.front();
    pass = {scaled(batch, rows.seq_len), use, seed_, rows.seq_len, head.ids, head.loss};
    Tape tape(training ? Tape::Mode::record : Tape::Mode::forward_only, context);
    PerBlock<MoeStatistics> statistics(blocks_.size());
    const PerBlockSpan<MoeStatistics> reports(statistics);
    EncoderOutput encoded;
    const PassInfo source{
        scaled(batch, rows.encoder_seq_len), use, seed_, rows.encoder_seq_len, rows.encoder_ids, {}};
    if (encoder_) {
        encoded = {encoder_->forward(tape, source, reports.part(encoder_blocks())).normed,
                   rows.encoder_seq_len};
    }
    const NormLayer::Result last =
        stack_->forward(tape, pass, reports.part(stack_blocks()), encoder_ ? &encoded : nullptr);
    // Without targets no row has a gradient, whatever the scale.
    const double scale = 1.0 / static_cast<double>(std::max<index_t>(head.num_targets_of_step, 1));
    {
        const TraceSpan span(world_.trace, TraceKind::compute, training ? "head and its backward" : "head");
        head_->forward(tape, *last.normed,
                       {head.targets, static_cast<float>(scale), head.loss,
                        static_cast<float>(scale * config_.output_z_loss), rows.lse},
                       pass);
    }
    if (training) {
        predict_further(tape, *last.stream, pass, rows.predictions, reports.part(module_blocks()));
        const TraceSpan span(world_.trace, TraceKind::compute, "backward");
        tape.backward();
    }
    const TraceSpan span(world_.trace, TraceKind::communication, "losses of all ranks");
    return reduce(rows, statistics, batch, context);
}

void Transformer::predict_further(Tape& tape, Value& hidden, const PassInfo& pass,
                                  PerDepthSpan<Prediction> predictions,
                                  PerBlockSpan<MoeStatistics> statistics) const {
    Value* before = &hidden;
    for (index_t depth = 1; depth < predictions.size(); ++depth) {
        Prediction& prediction = predictions[depth];
        const PredictionModule& module = modules_[static_cast<std::size_t>(depth - 1)];
        PassInfo ahead = pass;
        ahead.ids = prediction.ids;
        ahead.token_loss = prediction.loss;
        Value& embedded = stack_->embedding().rows(tape, prediction.ids);
        Stream stream{&module.combine(tape, *before, embedded, ahead), nullptr};
        stream = stack_->run(module.block(),
                             {.tape = tape, .pass = ahead, .statistics = &statistics[depth - 1]}, stream);
        const NormLayer::Result last = stack_->finish(tape, stream, ahead);
        const double share = config_.mtp_loss / static_cast<double>(config_.mtp_depth);
        const double scale = share / static_cast<double>(prediction.num_targets_of_step);
        head_->forward(tape, *last.normed, {prediction.targets, static_cast<float>(scale), prediction.loss},
                       ahead);
        before = last.stream;
    }
}

Transformer::Measured Transformer::add_up(const Rows& rows, PerBlockSpan<const MoeStatistics> statistics,
                                          const Context& context) const {
    // Nothing depends on the layout.
    constexpr index_t kWords{ExactSum::kNumWords};
    const index_t num_predictions = rows.predictions.size();
    Tensor of_rows(context.device, DType::i64, {1 + num_predictions, kWords});
    ops::clear(of_rows, context);
    const auto sum = [&](index_t idx) { return of_rows.ref().rows_of({idx, idx + 1}); };
    for (index_t depth = 0; depth < num_predictions; ++depth)
        ops::value_sum(rows.predictions[depth].loss, sum(depth), context);
    ops::square_sum(rows.lse, sum(num_predictions), context);
    std::vector<ConstTensorRef> refs{of_rows};
    std::vector<ConstTensorRef> hashes;
    for (const MoeStatistics& layer : statistics) {
        if (layer.load.empty()) continue;
        refs.push_back(layer.loss_sums);
        hashes.push_back(layer.routing_hash);
    }
    refs.insert(refs.end(), hashes.begin(), hashes.end());
    const std::size_t num_refs = refs.size();
    const HostValues read(HostRead::step, std::move(refs), context);
    // Hashes are integers as the words of sums are, so that one message carries both.
    std::vector<std::int64_t> words;
    for (std::size_t i = 0; i < num_refs; ++i) {
        const auto part = host_values<const std::int64_t>(read[i]);
        words.insert(words.end(), part.begin(), part.end());
    }
    comm::all_reduce(world_.world, std::span<std::int64_t>(words));
    const std::size_t num_sum_words = words.size() - hashes.size();
    Measured measured;
    measured.sums.resize(static_cast<index_t>(num_sum_words / ExactSum::kNumWords));
    ExactSum::from_words(std::span<const std::int64_t>(words).first(num_sum_words), measured.sums);
    measured.hashes.assign(words.begin() + static_cast<std::ptrdiff_t>(num_sum_words), words.end());
    return measured;
}

PassResult Transformer::reduce(const Rows& rows, PerBlockSpan<MoeStatistics> statistics,
                               const BatchInfo& batch, const Context& context) const {
    const auto [sums, hashes] = add_up(rows, statistics, context);
    const index_t num_predictions = rows.predictions.size();
    const auto mean = [&, &sums = sums](index_t depth) {
        return sums[depth].value() / static_cast<double>(rows.predictions[depth].num_targets);
    };
    PassResult result;
    result.token_sum = sums[0];
    result.num_targets = rows.predictions[0].num_targets;
    result.token_loss = mean(0);
    Range layer_sums{0, num_predictions + 1};
    auto hash = hashes.begin();
    for (index_t i = 0; i < statistics.size(); ++i) {
        MoeStatistics& layer = statistics[i];
        if (layer.load.empty()) continue;
        layer_sums = {layer_sums.end, layer_sums.end + layer.loss_sums.ref().rows()};
        const bool in_encoder = i >= encoder_blocks().begin;
        const index_t tokens = scaled(batch, in_encoder ? rows.encoder_seq_len : rows.seq_len).global_tokens;
        add_layer(result, {i, std::move(layer.load), layer.num_dropped, *hash++},
                  LossSums(sums).part(layer_sums), tokens);
    }
    if (config_.output_z_loss > 0.0) {
        const auto num_targets = static_cast<double>(result.num_targets);
        result.extra_losses.push_back({"output_z_loss", config_.output_z_loss,
                                       sums[num_predictions].value() / num_targets, num_targets});
    }
    if (num_predictions > 1) {
        double sum = 0.0;
        for (index_t depth = 1; depth < num_predictions; ++depth) sum += mean(depth);
        result.extra_losses.push_back(
            {"mtp_loss", config_.mtp_loss, sum / static_cast<double>(num_predictions - 1)});
    }
    result.total = total_loss(result);
    return result;
}

void Transformer::add_layer(PassResult& result, LayerResult layer, LossSums sums,
                            index_t global_tokens) const {
    result.routing_hash += layer.routing_hash;
    std::vector<NamedLoss> losses =
        loss_values(blocks_[layer.layer]->moe()->losses(), {layer.load, sums, global_tokens});
    for (std::size_t j = 0; j < result.extra_losses.size(); ++j)
        losses[j].value += result.extra_losses[j].value;
    result.extra_losses = std::move(losses);
    result.num_dropped += layer.num_dropped;
    const auto highest = static_cast<double>(std::ranges::max(layer.load));
    const auto choices =
        static_cast<double>(std::accumulate(layer.load.begin(), layer.load.end(), index_t{0}));
    const double mean = choices / static_cast<double>(layer.load.size());
    result.imbalance = std::max(result.imbalance, highest / std::max(mean, 1e-30));
    result.layers.push_back(std::move(layer));
}

void Transformer::finish_step(const PassResult& step) {
    for (const LayerResult& layer : step.layers)
        blocks_[layer.layer]->moe()->strategy().finish_step(layer.load);
}

void Transformer::make_router_tables(std::span<const index_t> counts) {
    for (const Block* const block : blocks_) {
        if (block->moe() == nullptr) continue;
        block->moe()->strategy().make_table({config_.vocab_size, block->spec().stream_idx, seed_, counts});
    }
}

void Transformer::set_token_counts(std::span<const index_t> counts) {
    SY_REQUIRE(static_cast<index_t>(counts.size()) == config_.vocab_size, "transformer: counts of ",
               counts.size(), " token ids for a vocabulary of ", config_.vocab_size);
    make_router_tables(counts);
}

std::map<std::string, std::vector<double>> Transformer::router_state() const {
    std::map<std::string, std::vector<double>> result;
    for (const Block* const block : blocks_) {
        if (block->moe() == nullptr) continue;
        const std::span<const double> state = block->moe()->strategy().state();
        if (!state.empty()) result[block->spec().name + ".moe"] = {state.begin(), state.end()};
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
    for (const Block* const block : blocks_) {
        const auto found = state.find(block->spec().name + ".moe");
        if (found != state.end()) std::ranges::copy(found->second, block->moe()->strategy().state().begin());
    }
}

}  // namespace sy::model
