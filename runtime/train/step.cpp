#include "runtime/train/step.hpp"

#include <algorithm>

namespace sy::runtime {
namespace {

/// Adds what a micro-step reports. @param share  of one micro-step in the means
void add_pass(model::PassResult& total, const model::PassResult& pass, double share) {
    total.total += share * pass.total;
    total.token_loss += share * pass.token_loss;
    total.extra_losses.resize(pass.extra_losses.size());
    for (std::size_t i = 0; i < pass.extra_losses.size(); ++i) {
        const double before = total.extra_losses[i].value;
        total.extra_losses[i] = pass.extra_losses[i];
        total.extra_losses[i].value = before + share * pass.extra_losses[i].value;
    }
    total.routing_hash += pass.routing_hash;
    total.num_dropped += pass.num_dropped;
    total.imbalance = std::max(total.imbalance, pass.imbalance);
    if (total.layers.empty()) {
        total.layers = pass.layers;
        return;
    }
    for (std::size_t i = 0; i < pass.layers.size(); ++i) {
        model::LayerResult& layer = total.layers[i];
        for (std::size_t e = 0; e < layer.load.size(); ++e) layer.load[e] += pass.layers[i].load[e];
        layer.num_dropped += pass.layers[i].num_dropped;
        layer.routing_hash += pass.layers[i].routing_hash;
    }
}

}  // namespace

MicroBatch make_batch(const Session& session, const Corpus& corpus, Split split, const MicroStep& which) {
    const Config& config = session.config();
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    const Range mine = part_of(sequences, session.world().size(), session.world().rank());
    const index_t first = which.first_sample + which.micro_step * sequences;
    MicroBatch batch;
    for (index_t i = mine.begin; i < mine.end; ++i) corpus.append(split, first + i, batch.ids);
    batch.info = {mine.begin * config.model.seq_len, sequences * config.model.seq_len, which.step,
                  which.micro_step, config.train.accumulation};
    return batch;
}

StepOutcome run_step(Session& session, const std::function<MicroBatch(index_t)>& batches, index_t step,
                     PhaseTimer& timer) {
    const TrainConfig& train = session.config().train;
    const double share = 1.0 / static_cast<double>(train.accumulation);
    StepOutcome outcome;
    for (index_t micro_step = 0; micro_step < train.accumulation; ++micro_step) {
        // Gradients may only start to travel when the last micro-step completes them.
        const bool last = micro_step + 1 == train.accumulation;
        session.transformer().on_gradient_ready([&session, last](model::ParameterId id) {
            if (last) session.optimizer().gradient_ready(id);
        });
        MicroBatch batch;
        {
            const PhaseTimer::Scope scope = timer.scope(Phase::data);
            batch = batches(micro_step);
        }
        const PhaseTimer::Scope scope = timer.scope(Phase::compute);
        add_pass(outcome.pass, session.transformer().train(batch.ids, batch.info, session.context()), share);
    }
    const PhaseTimer::Scope scope = timer.scope(Phase::optimizer);
    outcome.update = session.optimizer().step(step, train.steps);
    if (outcome.update.applied) session.transformer().finish_step(outcome.pass);
    return outcome;
}

}  // namespace sy::runtime
