#include "runtime/train/train.hpp"

#include <boost/json.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <numbers>

#include "comm/collectives.hpp"
#include "runtime/checkpoint/writer.hpp"
#include "runtime/train/resume.hpp"

namespace sy::runtime {
namespace {

namespace json = boost::json;
using Seconds = std::chrono::duration<double>;

/// Set by SIGTERM and SIGUSR1: signal handlers can reach nothing but a global.
volatile std::sig_atomic_t stop_requested = 0;
extern "C" void request_stop(int) {
    stop_requested = 1;
}

/// Notices SIGTERM and SIGUSR1 while it lives, then restores what was there.
class StopSignals {
  public:
    StopSignals()
        : terminate_(std::signal(SIGTERM, request_stop)), user_(std::signal(SIGUSR1, request_stop)) {}
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;
    ~StopSignals() {
        std::signal(SIGTERM, terminate_);
        std::signal(SIGUSR1, user_);
    }

  private:
    void (*terminate_)(int);
    void (*user_)(int);
};

/// The ids of this rank's sequences of one micro-step.
struct MicroBatch {
    std::vector<std::int32_t> ids;
    model::BatchInfo info;
};

/// @param first_sample  of the step, over all ranks
MicroBatch make_batch(Session& session, const Corpus& corpus, Split split, index_t step, index_t micro_step,
                      index_t first_sample) {
    const Config& config = session.config();
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    const Range mine = part_of(sequences, session.world().size(), session.world().rank());
    const index_t first = first_sample + micro_step * sequences + mine.begin;
    MicroBatch batch;
    for (index_t i = 0; i < mine.size(); ++i) corpus.append(split, first + i, batch.ids);
    batch.info = {mine.begin * config.model.seq_len, sequences * config.model.seq_len, step, micro_step,
                  config.train.accumulation};
    return batch;
}

/// Rank 0's records and lines for people.
class Log {
  public:
    Log(Session& session, index_t first_step)
        : session_(session), first_step_(first_step), start_(Clock::now()) {
        if (session.world().rank() != 0) return;
        std::filesystem::create_directories(session.config().run.directory);
        file_.open(session.config().run.directory + "/metrics.jsonl", std::ios::app);
        if (!file_)
            throw IoError(concat("cannot append to ", session.config().run.directory, "/metrics.jsonl"));
    }

    void write(const json::object& record) {
        if (!file_.is_open()) return;
        file_ << json::serialize(record) << std::endl;
        if (!file_)
            throw IoError(concat("writing ", session_.config().run.directory,
                                 "/metrics.jsonl failed; is the disk full?"));
    }

    void step(index_t step, const model::PassResult& pass, const ShardedOptimizer::Result& update,
              double step_seconds) {
        const Config& config = session_.config();
        const double tokens = static_cast<double>(config.train.global_batch * config.model.seq_len);
        const comm::ExchangeBytes bytes = session_.exchange().bytes();
        write({{"type", "step"},
               {"step", step},
               {"loss", pass.total},
               {"token_loss", pass.token_loss},
               {"balance_loss", pass.balance_loss},
               {"z_loss", pass.z_loss},
               {"learning_rate", learning_rate(config.optimizer, step, config.train.steps)},
               {"gradient_norm", update.gradient_norm},
               {"applied", update.applied},
               {"tokens_per_s", tokens / step_seconds},
               {"imbalance", pass.imbalance},
               {"dropped", pass.num_dropped},
               {"routing_hash", pass.routing_hash},
               {"row_bytes_sent", bytes.rows},
               {"row_bytes_bound", bytes.bound},
               {"memory_bytes", session_.arena_peak_bytes()}});
        const bool last = step == config.train.steps;
        if (session_.world().rank() != 0 ||
            (step % config.run.log_every != 0 && !last && step != first_step_))
            return;
        const double elapsed = Seconds(Clock::now() - start_).count();
        const double left = elapsed / static_cast<double>(step - first_step_ + 1) *
                            static_cast<double>(config.train.steps - step);
        std::printf("step %6lld/%lld  loss %.4f  %8.0f tokens/s  imbalance %.2f  dropped %lld  left %.0f s\n",
                    static_cast<long long>(step), static_cast<long long>(config.train.steps), pass.total,
                    tokens / step_seconds, pass.imbalance, static_cast<long long>(pass.num_dropped), left);
        std::fflush(stdout);
    }

    void line(const std::string& text) const {
        if (session_.world().rank() != 0) return;
        std::printf("%s\n", text.c_str());
        std::fflush(stdout);
    }

  private:
    using Clock = std::chrono::steady_clock;
    Session& session_;
    index_t first_step_;
    Clock::time_point start_;
    std::ofstream file_;
};

/// Publishes the checkpoint that is under way, if there is one. @return its step, or `saved`
index_t publish(CheckpointWriter& writer, index_t saved, Log& log) {
    if (!writer.under_way()) return saved;
    const CheckpointWriter::Published done = writer.finish();
    log.write({{"type", "checkpoint"},
               {"step", done.step},
               {"folder", done.folder.string()},
               {"seconds", done.seconds},
               {"total_seconds", done.total_seconds}});
    log.line(concat("checkpoint ", done.folder.string()));
    return done.step;
}

void save(Session& session, CheckpointWriter& writer, index_t step, const TrainingState& state) {
    Manifest manifest;
    manifest.step = step;
    manifest.config = dump(session.config());
    manifest.written_on = session.layout();
    manifest.state = state;
    writer.start(session.pieces(), std::move(manifest));
}

void evaluate(Session& session, const Corpus& corpus, index_t step, Log& log) {
    const double loss = validation_loss(session, corpus);
    const double bits = loss / std::numbers::ln2;
    log.write({{"type", "eval"}, {"step", step}, {"loss", loss}, {"bits_per_byte", bits}});
    log.line(concat("validation at step ", step, ": loss ", loss, ", ", bits, " bits per byte"));
}

/// @return losses of the step: means over its micro-steps
model::PassResult run_micro_steps(Session& session, const Corpus& corpus, index_t step,
                                  index_t first_sample) {
    model::PassResult total;
    const index_t accumulation = session.config().train.accumulation;
    const double share = 1.0 / static_cast<double>(accumulation);
    for (index_t micro = 0; micro < accumulation; ++micro) {
        // Buckets may only start when the last micro-step completes a gradient.
        if (micro + 1 == accumulation) {
            session.transformer().on_gradient_ready(
                [&](model::ParameterId id) { session.optimizer().gradient_ready(id); });
        } else {
            session.transformer().on_gradient_ready([](model::ParameterId) {});
        }
        const MicroBatch batch = make_batch(session, corpus, Split::train, step, micro, first_sample);
        const model::PassResult pass = session.transformer().train(batch.ids, batch.info, session.context());
        total.total += share * pass.total;
        total.token_loss += share * pass.token_loss;
        total.balance_loss += share * pass.balance_loss;
        total.z_loss += share * pass.z_loss;
        total.routing_hash += pass.routing_hash;
        total.num_dropped += pass.num_dropped;
        total.imbalance = std::max(total.imbalance, pass.imbalance);
    }
    return total;
}

/// What all ranks know after a step.
struct Agreement {
    bool stop = false;    ///< some rank was asked to stop
    bool writing = true;  ///< some rank still writes its part of a checkpoint
};

Agreement agree(comm::Communicator& world, const CheckpointWriter& writer) {
    std::int32_t flags[] = {stop_requested != 0 ? 1 : 0, writer.busy() ? 1 : 0};
    comm::all_reduce(world, std::span<std::int32_t>(flags), comm::ReduceOp::max);
    return {flags[0] != 0, flags[1] != 0};
}

}  // namespace

double validation_loss(Session& session, const Corpus& corpus) {
    double sum = 0.0;
    const TrainConfig& train = session.config().train;
    for (index_t i = 0; i < train.eval_batches; ++i) {
        const index_t step = i / train.accumulation + 1;
        const MicroBatch batch = make_batch(session, corpus, Split::validation, step, i % train.accumulation,
                                            (step - 1) * train.global_batch);
        sum += session.transformer().evaluate(batch.ids, batch.info, session.context()).token_loss;
    }
    return sum / static_cast<double>(train.eval_batches);
}

index_t train(Session& session, const std::string& resume) {
    const Config& config = session.config();
    const Corpus corpus(config.data.path, config.model.seq_len, config.data.validation_fraction,
                        config.train.seed);
    index_t done = 0;
    TrainingState state = first_state(config);
    if (!resume.empty()) {
        const CheckpointReader reader(find_checkpoint(config.run.directory, resume));
        state = resumed_state(reader.manifest(), config);
        session.restore(reader);
        done = reader.manifest().step;
    }
    Log log(session, done + 1);
    const StopSignals signals;
    log.write(
        {{"type", "run"}, {"config", dump(config)}, {"layout", session.layout()}, {"first_step", done + 1}});
    log.line(concat(done > 0 ? concat("resumed at step ", done, " on ") : "training on ", session.layout(),
                    ", ", session.context().team.size(), " threads a rank"));
    CheckpointWriter writer({config.run.directory, config.run.keep_last, config.checkpoint},
                            session.context(), session.world());
    index_t saved = done;
    bool stopping = false;
    while (done < config.train.steps && !stopping) {
        const auto start = std::chrono::steady_clock::now();
        const index_t step = done + 1;
        const model::PassResult pass = run_micro_steps(session, corpus, step, state.samples_consumed);
        const ShardedOptimizer::Result update = session.optimizer().step(step, config.train.steps);
        log.step(step, pass, update, Seconds(std::chrono::steady_clock::now() - start).count());
        state.count_step(config.train.global_batch, update.applied);
        if (state.skipped_in_a_row >= config.train.max_skipped) {
            saved = publish(writer, saved, log);
            throw Error(concat("training: ", state.skipped_in_a_row,
                               " steps in a row had a gradient that is not finite, the last was ", step,
                               "; the last good checkpoint is of step ", saved, "; lower optimizer.lr"));
        }
        done = step;
        if (config.train.eval_every > 0 && done % config.train.eval_every == 0 &&
            config.data.validation_fraction > 0.0) {
            evaluate(session, corpus, done, log);
        }
        const Agreement agreed = agree(session.world(), writer);
        stopping = agreed.stop || done == config.run.stop_after;
        const bool due = config.run.checkpoint_every > 0 && done % config.run.checkpoint_every == 0;
        const bool save_now = due || stopping || done == config.train.steps;
        if (save_now || !agreed.writing) saved = publish(writer, saved, log);
        if (save_now) save(session, writer, done, state);
        if (save_now && !writer.in_background()) saved = publish(writer, saved, log);
    }
    publish(writer, saved, log);
    log.write({{"type", "end"}, {"step", done}, {"stopped_early", stopping}});
    if (stopping) log.line(concat("stopped as asked after step ", done, "; continue with --resume latest"));
    return done;
}

}  // namespace sy::runtime
