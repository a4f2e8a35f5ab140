#include "runtime/train/run_log.hpp"

#include <array>
#include <iomanip>
#include <iostream>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "kernels/core/isa.hpp"

namespace sy::runtime {
namespace {

/// The numbers of a traffic, to add them up over ranks.
constexpr std::size_t kTrafficWords = 8;
std::array<index_t, kTrafficWords> words_of(const comm::ExchangeTraffic& traffic) {
    return {traffic.rank.rows,    traffic.rank.bytes,    traffic.node.rows,     traffic.node.bytes,
            traffic.network.rows, traffic.network.bytes, traffic.network_bound, traffic.metadata};
}

comm::ExchangeTraffic traffic_of(const std::array<index_t, kTrafficWords>& words) {
    return {{words[0], words[1]}, {words[2], words[3]}, {words[4], words[5]}, words[6], words[7]};
}

StepRecord make_record(const Session& session, index_t step, const StepOutcome& outcome) {
    const Config& config = session.config();
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
    const comm::ExchangeTraffic traffic = traffic_of_all_ranks();
    if (!file_) return;
    StepRecord record = make_record(session_, step, outcome);
    record.traffic = traffic;
    record.skipped = skipped_;
    record.phases = phases;
    record.seconds = seconds;
    file_->write(to_json(record));
    progress_->step(record);
}

comm::ExchangeTraffic RunLog::traffic_of_all_ranks() {
    const std::array<index_t, kTrafficWords> so_far = words_of(session_.exchange().traffic());
    const std::array<index_t, kTrafficWords> before = words_of(traffic_);
    std::array<index_t, kTrafficWords> words;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = so_far[i] - before[i];
    comm::all_reduce(session_.world(), std::span<index_t>(words));
    traffic_ = session_.exchange().traffic();
    return traffic_of(words);
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
