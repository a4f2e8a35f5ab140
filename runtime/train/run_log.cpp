#include "runtime/train/run_log.hpp"

#include <iomanip>
#include <iostream>

#include "comm/mpi/mpi_session.hpp"
#include "kernels/core/isa.hpp"

namespace sy::runtime {
namespace {

StepRecord make_record(const Session& session, index_t step, const StepOutcome& outcome) {
    const Config& config = session.config();
    const comm::ExchangeBytes bytes = session.exchange().bytes();
    StepRecord record;
    record.step = step;
    record.loss = outcome.pass.total;
    record.token_loss = outcome.pass.token_loss;
    record.targets = outcome.pass.num_targets;
    for (const model::NamedLoss& loss : outcome.pass.extra_losses)
        record.extra_losses.emplace_back(loss.name, loss.value);
    record.learning_rate = learning_rate(config.optimizer, step, config.train.steps);
    record.gradient_norm = outcome.update.gradient_norm;
    record.applied = outcome.update.applied;
    record.tokens = config.train.global_batch * config.model.seq_len;
    record.flops_per_token = model::model_size(config.model, config.moe).train_flops_per_token();
    record.routing_hash = outcome.pass.routing_hash;
    record.dropped = outcome.pass.num_dropped;
    record.imbalance = outcome.pass.imbalance;
    for (const model::LayerResult& layer : outcome.pass.layers) {
        record.layers.push_back({layer.layer, layer.load, layer.num_dropped, layer.routing_hash});
    }
    record.row_bytes_sent = bytes.rows;
    record.row_bytes_bound = bytes.bound;
    record.gradient_bytes_sent = session.optimizer().sent_bytes();
    record.memory_bytes = session.arena_peak_bytes();
    return record;
}

}  // namespace

RunLog::RunLog(const Session& session, index_t first_step, const std::vector<std::string>& notes)
    : session_(session), first_step_(first_step) {
    if (session.world().rank() != 0) return;
    const Config& config = session.config();
    file_ = std::make_unique<JsonLines>(std::filesystem::path(config.run.directory) / "metrics.jsonl");
    const Launcher launcher = comm::launched_by_mpi() ? Launcher::yes : Launcher::no;
    progress_ = std::make_unique<Progress>(
        std::cout, Progress::Options{progress_style_of_stdout(launcher), first_step, config.train.steps,
                                     config.run.log_every, steady_seconds});
    std::vector<std::string> all_notes = model::model_notes(config.moe);
    all_notes.insert(all_notes.end(), notes.begin(), notes.end());
    file_->write(to_json(RunRecord{SY_VERSION, dump_json(config), session.layout(), host_name(),
                                   session.world().size(), session.context().team.size(),
                                   std::string(isa_name(isa())), first_step, all_notes}));
    progress_->note(
        concat(first_step > 1 ? concat("resumed at step ", first_step - 1, " on ") : "training on ",
               session.layout(), ", ", session.context().team.size(), " threads a rank, ", isa_name(isa())));
    for (const std::string& note : all_notes) progress_->note("note: " + note);
}

void RunLog::step(index_t step, const StepOutcome& outcome, const PhaseSeconds& phases, double seconds) {
    if (!outcome.update.applied) ++skipped_;
    if (!file_) return;
    StepRecord record = make_record(session_, step, outcome);
    record.skipped = skipped_;
    record.phases = phases;
    record.seconds = seconds;
    file_->write(to_json(record));
    progress_->step(record);
}

void RunLog::validation(index_t step, const Validation& validation, double seconds) {
    if (!file_) return;
    file_->write(to_json(EvalRecord{step, validation.loss, validation.bits_per_byte, seconds}));
    progress_->note(concat("validation at step ", step, ": loss ", validation.loss, ", ",
                           validation.bits_per_byte, " bits per byte"));
}

void RunLog::validation_abandoned(index_t step) {
    if (!progress_) return;
    progress_->note(
        concat("validation at step ", step, " abandoned, to stop; `switchyard eval` can make up for it"));
}

void RunLog::checkpoint(const CheckpointWriter::Published& published) {
    if (!file_) return;
    const std::string folder = published.folder.string();
    file_->write(
        to_json(CheckpointRecord{published.step, folder, published.seconds, published.total_seconds}));
    progress_->note(concat("checkpoint ", folder));
    for (const std::string& note : published.notes) progress_->note(note);
}

void RunLog::placement(const PlacementRecord& record) {
    if (!file_) return;
    file_->write(to_json(record));
    if (record.moved == 0) return;
    progress_->note(concat("placement after step ", record.step, ": ", record.moved, " experts moved, ",
                           record.shadows, " shadows, busiest rank ", std::setprecision(3),
                           record.imbalance_before, " -> ", record.imbalance_after, " of the mean"));
}

void RunLog::end(index_t last_step, bool stopped_early) {
    if (!file_) return;
    file_->write(to_json(EndRecord{last_step, stopped_early, skipped_}));
    if (!stopped_early) return;
    progress_->note(last_step < first_step_
                        ? std::string("stopped early, before the first step; nothing to save")
                        : concat("stopped early, after step ", last_step, "; continue with --resume latest"));
}

}  // namespace sy::runtime
