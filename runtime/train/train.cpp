#include "runtime/train/train.hpp"

#include <numbers>

#include "comm/collectives.hpp"
#include "runtime/checkpoint/agree.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/checkpoint/writer.hpp"
#include "runtime/train/branch.hpp"
#include "runtime/train/data_record.hpp"
#include "runtime/train/drop_log.hpp"
#include "runtime/train/isa_bits.hpp"
#include "runtime/train/rebalance.hpp"
#include "runtime/train/run_lock.hpp"
#include "runtime/train/resume.hpp"
#include "runtime/train/routing_trace.hpp"
#include "runtime/train/run_log.hpp"
#include "runtime/train/step.hpp"
#include "runtime/train/tracer.hpp"

namespace sy::runtime {
namespace {

/// Whether some rank wants it. @par Collective
bool wanted_by_any(comm::Communicator& world, bool wanted) {
    std::int32_t flag = wanted ? 1 : 0;
    comm::all_reduce(world, std::span(&flag, 1), comm::ReduceOp::max);
    return flag != 0;
}

/// Rank 0's lock on the run's folder; nothing on others. @par Collective
std::unique_ptr<RunLock> lock_run(const Session& session) {
    std::unique_ptr<RunLock> lock;
    if (!session.config().run.lock) return lock;
    decided_by_rank_0(session.world(), [&] {
        lock = std::make_unique<RunLock>(session.config().run.directory);
        return std::string();
    });
    return lock;
}

/// A run from its first step, or the one after a checkpoint, to its last.
class TrainingRun {
  public:
    TrainingRun(Session& session, const std::string& resume, const std::function<bool()>& stop_wanted)
        : session_(session),
          config_(session.config()),
          stop_wanted_(stop_wanted),
          corpus_(config_, session.num_threads()),
          lock_(lock_run(session)),
          done_(restore(resume)),
          log_(session, done_ + 1, notes_),
          drop_log_(session),
          routing_tracer_(session),
          tracer_(session),
          rebalancer_(session),
          timer_(
              steady_seconds, [&session] { return session.waited_seconds(); }, &session.trace()),
          writer_({config_.run.directory, config_.run.keep_last, config_.checkpoint, &session.trace()},
                  session.context(), session.world()) {}

    TrainingEnd run() {
        bool asked = wanted_by_any(session_.world(), asked_to_stop());
        bool stopping = asked;
        while (done_ < config_.train.steps && !stopping) {
            tracer_.begin(done_ + 1);
            step();
            if (validation_due()) validate();
            const Agreement agreed = agree();
            asked = agreed.stop;
            stopping = asked || done_ == config_.run.stop_after;
            const bool last = stopping || done_ == config_.train.steps;
            checkpoint(last, agreed.writing);
            tracer_.end(done_, last);
        }
        publish();
        const bool early = done_ < config_.train.steps;
        log_.end(done_, early);
        return {done_, early && asked};
    }

  private:
    /// What all ranks know after a step.
    struct Agreement {
        bool stop = false;    ///< some rank was asked to stop
        bool writing = true;  ///< some rank still writes its part of a checkpoint
    };

    /// Whether this rank was asked to stop, now or before.
    bool asked_to_stop() {
        asked_to_stop_ = asked_to_stop_ || stop_wanted_();
        return asked_to_stop_;
    }

    /// Every rank reads the whole text once, and only for the router that asks. A checkpoint holds the table itself.
    /// A run that is asked to stop meanwhile ends before its first step, which alone would need the counts.
    void count_tokens() {
        if (config_.moe.router != "hash" || config_.moe.hash != model::HashTable::balanced) return;
        std::vector<index_t> counts = corpus_.count_tokens([this] { return asked_to_stop(); });
        counts.resize(static_cast<std::size_t>(config_.model.vocab_size), 0);
        session_.transformer().set_token_counts(counts);
    }

    std::optional<DataRecord> record_text() {
        return record_data(config_, corpus_, session_.world(), [this] { return asked_to_stop(); });
    }

    /// @return the step of the checkpoint
    index_t restore(const std::string& resume) {
        for (const std::string& note :
             {session_.processor_note(), session_.exchange_note(), session_.gpu_note()})
            if (!note.empty()) notes_.push_back(note);
        comm::Communicator& world = session_.world();
        const std::filesystem::path run = config_.run.directory;
        if (resume.empty()) {
            decided_by_rank_0(world, [&] {
                check_new_run(run);
                return std::string();
            });
            state_ = first_state(config_, record_text());
            count_tokens();
            begin_branch_at(0);
            return 0;
        }
        AgreedCheckpoint found = agree_on_checkpoint(world, run, resume);
        decided_by_rank_0(world, [&] {
            check_same_run(run, found.folder, found.manifest);
            return std::string();
        });
        const CheckpointReader reader(found.folder, std::move(found.manifest));
        Resumption resumption = resume_training(reader.manifest(), config_, record_text());
        state_ = std::move(resumption.state);
        for (const std::vector<std::string>& notes :
             {isa_notes(config_, reader.manifest().isa, session_.rank_device().instruction_set()),
              resumption.notes})
            notes_.insert(notes_.end(), notes.begin(), notes.end());
        with_advice_on_damage(world, found.folder, [&] { session_.restore(reader); });
        // A run with nothing left to do leaves what came after the step as it is.
        if (reader.manifest().step < config_.train.steps) begin_branch_at(reader.manifest().step);
        return reader.manifest().step;
    }

    void begin_branch_at(index_t step) {
        const std::string note =
            decided_by_rank_0(session_.world(), [&] { return begin_branch(config_.run.directory, step); });
        if (!note.empty()) notes_.push_back(note);
    }

    void step() {
        const double start = steady_seconds();
        const index_t number = done_ + 1;
        const auto batches = [&](index_t micro_step) {
            return make_batch(session_, corpus_, Split::train, {number, micro_step, state_.samples_consumed});
        };
        routing_tracer_.begin(number);
        const StepOutcome outcome = [&] {
            const TraceSpan span(&session_.trace(), TraceKind::step, "step");
            return run_step(session_, batches, number, timer_);
        }();
        const double seconds = steady_seconds() - start;
        {
            const TraceSpan span(&session_.trace(), TraceKind::communication, "records");
            log_.step(number, outcome, timer_.take(), seconds);
        }
        drop_log_.write();
        routing_tracer_.write(number);
        done_ = number;
        rebalancer_.count(outcome.pass);
        if (rebalancer_.due(done_)) {
            const TraceSpan span(&session_.trace(), TraceKind::communication, "rebalancing");
            log_.placement(rebalancer_.rebalance(done_));
        }
        state_.count_step(config_.train.global_batch, outcome.update.applied);
        if (state_.skipped_in_a_row < config_.train.max_skipped) return;
        publish();
        throw Error(concat("training: ", state_.skipped_in_a_row,
                           " steps in a row had a gradient that is not finite, the last was ", done_,
                           advice_on_last_good_checkpoint()));
    }

    /// Names a checkpoint that was written before steps were skipped.
    std::string advice_on_last_good_checkpoint() {
        return decided_by_rank_0(session_.world(), [this] {
            const std::filesystem::path run = config_.run.directory;
            const std::optional<index_t> step = detail::last_good_step(run / "checkpoints");
            if (!step)
                return std::string(
                    "; no checkpoint is from before them; start again, in another "
                    "run.directory, with a lower optimizer.lr");
            return concat("; the last checkpoint before them is of step ", *step,
                          "; go on from it, or from an earlier one, with a lower optimizer.lr");
        });
    }

    bool validation_due() const {
        return config_.train.eval_every > 0 && done_ % config_.train.eval_every == 0 &&
               config_.data.validation_fraction > 0.0;
    }

    void validate() {
        const TraceSpan span(&session_.trace(), TraceKind::phase, "validation");
        const double start = steady_seconds();
        const std::optional<Validation> validation =
            validation_loss(session_, corpus_, [this] { return asked_to_stop(); });
        if (validation) {
            log_.validation(done_, *validation, steady_seconds() - start);
        } else {
            log_.validation_abandoned(done_);
        }
    }

    Agreement agree() {
        const TraceSpan span(&session_.trace(), TraceKind::wait, "agree to go on");
        std::int32_t flags[] = {asked_to_stop() ? 1 : 0, writer_.busy() ? 1 : 0};
        comm::all_reduce(session_.world(), std::span<std::int32_t>(flags), comm::ReduceOp::max);
        return {flags[0] != 0, flags[1] != 0};
    }

    /// Publishes what has been written, and starts a checkpoint when one is due. While steps are being skipped the
    /// weights may be lost already: what is due waits, so that it cannot push the last good checkpoint out.
    void checkpoint(bool last_step, bool writing) {
        due_ = due_ || (config_.run.checkpoint_every > 0 && done_ % config_.run.checkpoint_every == 0);
        const bool save_now = last_step || (due_ && state_.skipped_in_a_row == 0);
        if (save_now || !writing) publish();
        if (!save_now) return;
        due_ = false;
        Manifest manifest;
        manifest.step = done_;
        manifest.config = dump(config_);
        manifest.written_on = session_.layout();
        manifest.isa = session_.rank_device().instruction_set();
        manifest.state = state_;
        manifest.state.router = session_.transformer().router_state();
        const TraceSpan span(&session_.trace(), TraceKind::io, "start checkpoint");
        Session::Snapshot snapshot = session_.snapshot();
        writer_.start(snapshot.pieces, std::move(manifest), std::move(snapshot.values));
        if (!writer_.in_background()) publish();
    }

    /// Publishes the checkpoint that is under way, if there is one.
    void publish() {
        if (!writer_.under_way()) return;
        const TraceSpan span(&session_.trace(), TraceKind::io, "publish checkpoint");
        log_.checkpoint(writer_.finish());
    }

    Session& session_;
    const Config& config_;
    const std::function<bool()>& stop_wanted_;
    bool asked_to_stop_ = false;
    Corpus corpus_;
    std::unique_ptr<RunLock> lock_;
    TrainingState state_;
    std::vector<std::string> notes_;
    index_t done_;
    bool due_ = false;
    RunLog log_;
    DropLog drop_log_;
    RoutingTracer routing_tracer_;
    Tracer tracer_;
    Rebalancer rebalancer_;
    PhaseTimer timer_;
    CheckpointWriter writer_;
};

/// Tokens and the bytes of text that they stand for.
struct TokenBytes {
    index_t num_tokens = 0;
    index_t num_bytes = 0;

    /// Counts the targets of a decoder, or all tokens that an encoder has read.
    /// @param ids  [sequences, S + 1]
    void count(std::span<const std::int32_t> ids, const model::ModelConfig& model,
               const Tokenizer& tokenizer) {
        const index_t stride = model.seq_len + 1;
        const index_t not_counted = model.architecture == model::Architecture::decoder ? 0 : model.seq_len;
        for (index_t i = 0; i < std::ssize(ids); ++i) {
            if (i % stride == not_counted) continue;
            ++num_tokens;
            num_bytes += tokenizer.num_bytes(ids[static_cast<std::size_t>(i)]);
        }
    }
};

}  // namespace

Validation validation_loss(Session& session, const Corpus& corpus) {
    return validation_loss(session, corpus, [] { return false; }).value();
}

std::optional<Validation> validation_loss(Session& session, const Corpus& corpus,
                                          const std::function<bool()>& stop_wanted) {
    if (corpus.num_windows(Split::validation) == 0) {
        throw ConfigError(
            "validation: data.validation_fraction = 0 keeps no text for it; give the share that the run had");
    }
    ExactSum sum;
    index_t num_targets = 0;
    TokenBytes read;
    const TrainConfig& train = session.config().train;
    for (index_t i = 0; i < train.eval_batches * train.accumulation; ++i) {
        if (wanted_by_any(session.world(), stop_wanted())) return std::nullopt;
        const index_t step = i / train.accumulation + 1;
        const MicroBatch batch = make_batch(session, corpus, Split::validation,
                                            {step, i % train.accumulation, (step - 1) * train.global_batch});
        read.count(batch.ids, session.config().model, corpus.tokenizer());
        const model::PassResult pass =
            session.transformer().evaluate(batch.ids, batch.info, session.context());
        sum += pass.token_sum;
        num_targets += pass.num_targets;
    }
    index_t totals[] = {read.num_tokens, read.num_bytes};
    comm::all_reduce(session.world(), std::span<index_t>(totals), comm::ReduceOp::sum);
    const double loss = sum.value() / static_cast<double>(num_targets);
    return Validation{
        loss, loss / std::numbers::ln2 * (static_cast<double>(totals[0]) / static_cast<double>(totals[1]))};
}

TrainingEnd train(Session& session, const std::string& resume, const std::function<bool()>& stop_wanted) {
    return TrainingRun(session, resume, stop_wanted).run();
}

}  // namespace sy::runtime
