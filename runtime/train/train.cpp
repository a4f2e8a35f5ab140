#include "runtime/train/train.hpp"

#include "comm/collectives.hpp"
#include "runtime/train/run_log.hpp"
#include "runtime/train/step.hpp"

namespace sy::runtime {
namespace {

void save(Session& session, index_t step, RunLog& log) {
    Manifest manifest;
    manifest.step = step;
    manifest.config = dump(session.config());
    manifest.layout = session.layout();
    const double start = steady_seconds();
    const std::filesystem::path folder =
        save_checkpoint(session.config().run.directory, session.pieces(), std::move(manifest),
                        session.config().run.keep_last, session.world());
    log.checkpoint(step, folder, steady_seconds() - start);
}

/// All ranks agree whether any of them was asked to stop.
bool agree_to_stop(comm::Communicator& world, const std::function<bool()>& stop_wanted) {
    std::int32_t wanted = stop_wanted() ? 1 : 0;
    comm::all_reduce(world, std::span<std::int32_t>(&wanted, 1), comm::ReduceOp::max);
    return wanted != 0;
}

bool validation_due(const Config& config, index_t step) {
    return config.train.eval_every > 0 && step % config.train.eval_every == 0 &&
           config.data.validation_fraction > 0.0;
}

bool checkpoint_due(const Config& config, index_t step) {
    return config.run.checkpoint_every > 0 && step % config.run.checkpoint_every == 0;
}

void run_and_log_step(Session& session, const Corpus& corpus, index_t step, PhaseTimer& timer, RunLog& log,
                      index_t& skipped_in_a_row) {
    const double start = steady_seconds();
    const auto batches = [&](index_t micro_step) {
        return make_batch(session, corpus, Split::train, step, micro_step);
    };
    const StepOutcome outcome = run_step(session, batches, step, timer);
    log.step(step, outcome, timer.take(), steady_seconds() - start);
    skipped_in_a_row = outcome.update.applied ? 0 : skipped_in_a_row + 1;
}

}  // namespace

double validation_loss(Session& session, const Corpus& corpus) {
    double sum = 0.0;
    const TrainConfig& train = session.config().train;
    for (index_t i = 0; i < train.eval_batches; ++i) {
        const MicroBatch batch = make_batch(session, corpus, Split::validation, i / train.accumulation + 1,
                                            i % train.accumulation);
        sum += session.transformer().evaluate(batch.ids, batch.info, session.context()).token_loss;
    }
    return sum / static_cast<double>(train.eval_batches);
}

index_t train(Session& session, const std::string& resume, const std::function<bool()>& stop_wanted) {
    const Config& config = session.config();
    const Corpus corpus(config.data.path, config.model.seq_len, config.data.validation_fraction,
                        config.train.seed);
    index_t done = 0;
    if (!resume.empty()) {
        const CheckpointReader reader(find_checkpoint(config.run.directory, resume));
        session.restore(reader);
        done = reader.manifest().step;
    }
    RunLog log(session, done + 1);
    PhaseTimer timer(steady_seconds, [&session] { return session.waited_seconds(); });
    index_t skipped_in_a_row = 0;
    index_t saved = done;
    bool due = false;
    bool stopping = false;
    while (done < config.train.steps && !stopping) {
        run_and_log_step(session, corpus, done + 1, timer, log, skipped_in_a_row);
        ++done;
        if (skipped_in_a_row >= config.train.max_skipped) {
            throw Error(concat("training: ", skipped_in_a_row,
                               " steps in a row had a gradient that is not finite, the last was ", done,
                               "; the last good checkpoint is of step ", saved, "; lower optimizer.lr"));
        }
        if (validation_due(config, done)) {
            const double start = steady_seconds();
            const double loss = validation_loss(session, corpus);
            log.validation(done, loss, steady_seconds() - start);
        }
        stopping = agree_to_stop(session.world(), stop_wanted) || done == config.run.stop_after;
        due = due || checkpoint_due(config, done);
        // While steps are being skipped the weights may be lost already: what is due waits, so that it cannot push the
        // last good checkpoint out.
        if (stopping || done == config.train.steps || (due && skipped_in_a_row == 0)) {
            save(session, done, log);
            saved = done;
            due = false;
        }
    }
    log.end(done, stopping);
    return done;
}

}  // namespace sy::runtime
