#include "runtime/train/step.hpp"

namespace sy::runtime {

MicroBatch make_batch(const Session& session, const Corpus& corpus, Split split, const MicroStep& which) {
    const Config& config = session.config();
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    const Range mine = part_of(sequences, session.world().size(), session.world().rank());
    const index_t first = which.first_sample + which.micro_step * sequences;
    MicroBatch batch;
    for (index_t i = mine.begin; i < mine.end; ++i) {
        corpus.append(split, first + i, batch.ids);
        if (config.data.documents == Documents::separate)
            corpus.append_document_begins(split, first + i, batch.document_begins);
    }
    batch.info = {mine.begin * config.model.seq_len,
                  sequences * config.model.seq_len,
                  which.step,
                  which.micro_step,
                  config.train.accumulation,
                  batch.document_begins};
    return batch;
}

StepOutcome run_step(Session& session, const std::function<MicroBatch(index_t)>& batches, index_t step,
                     PhaseTimer& timer) {
    const TrainConfig& train = session.config().train;
    std::vector<model::PassResult> passes;
    for (index_t micro_step = 0; micro_step < train.accumulation; ++micro_step) {
        session.trace().set_micro_step(micro_step);
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
        passes.push_back(session.transformer().train(batch.ids, batch.info, session.context()));
    }
    const PhaseTimer::Scope scope = timer.scope(Phase::optimizer);
    StepOutcome outcome{model::over_passes(passes), {}};
    outcome.update = session.optimizer().step(step, train.steps);
    if (outcome.update.applied) session.transformer().finish_step(outcome.pass);
    return outcome;
}

}  // namespace sy::runtime
