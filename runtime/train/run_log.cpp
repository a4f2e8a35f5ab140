#include "runtime/train/run_log.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <iomanip>
#include <iostream>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "runtime/train/gather.hpp"

namespace sy::runtime {
namespace {

constexpr double kNanosecond = 1e-9;
constexpr int kRanksTag = 2904;

/// What a rank tells rank 0 at the end.
struct RankWords {
    std::array<char, 64> host{};
    double useful_seconds = 0.0;
    index_t memory_bytes = 0;
};

/// @par Collective
std::vector<RankRecord> ranks_on_rank_0(const Session& session, double useful_seconds) {
    RankWords mine{{}, useful_seconds, session.memory_bytes()};
    const std::string host = host_name();
    std::copy_n(host.begin(), std::min(host.size(), mine.host.size() - 1), mine.host.begin());
    std::vector<RankRecord> ranks;
    for (const RankWords& words : gather_on_rank_0(session.world(), std::span<const RankWords>(&mine, 1),
                                                   kRanksTag, "time and memory of all ranks"))
        ranks.push_back({words.host.data(), words.useful_seconds, words.memory_bytes});
    return ranks;
}

/// @par Collective
double max_over_ranks(comm::Communicator& world, double seconds) {
    comm::all_reduce(world, std::span<double>(&seconds, 1), comm::ReduceOp::max);
    return seconds;
}

/// The numbers of this rank so far, to add them up over ranks; times in nanoseconds.
std::vector<index_t> words_of(const comm::Exchange& exchange, double useful_seconds) {
    const comm::ExchangeTraffic traffic = exchange.traffic();
    std::vector<index_t> words{traffic.rank.rows,     traffic.rank.bytes,   traffic.node.rows,
                               traffic.node.bytes,    traffic.network.rows, traffic.network.bytes,
                               traffic.network_bound, traffic.metadata};
    const comm::ExchangeTimes times = exchange.times();
    for (const comm::PhaseTime& time : {times.plan, times.dispatch, times.back}) {
        words.push_back(static_cast<index_t>(time.total_seconds / kNanosecond));
        words.push_back(static_cast<index_t>(time.exposed_seconds / kNanosecond));
    }
    words.push_back(static_cast<index_t>(useful_seconds / kNanosecond));
    return words;
}

comm::ExchangeTraffic traffic_of(const std::vector<index_t>& words) {
    return {{words[0], words[1]}, {words[2], words[3]}, {words[4], words[5]}, words[6], words[7]};
}

/// The mean over ranks.
comm::ExchangeTimes times_of(const std::vector<index_t>& words, int num_ranks) {
    const auto phase = [&](std::size_t first) {
        const double unit = kNanosecond / num_ranks;
        return comm::PhaseTime{static_cast<double>(words[first]) * unit,
                               static_cast<double>(words[first + 1]) * unit};
    };
    return {phase(8), phase(10), phase(12)};
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
    record.memory_bytes = session.memory_bytes();
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
                                   session.world().size(), session.num_threads(),
                                   session.rank_device().instruction_set(), first_step, all_notes}));
    progress_->note(concat(
        first_step > 1 ? concat("resumed at step ", first_step - 1, " on ") : "training on ",
        session.layout(), ", ", session.num_threads(), " threads a rank, ", session.rank_device().text()));
    for (const std::string& note : all_notes) progress_->note("note: " + note);
}

void RunLog::step(index_t step, const StepOutcome& outcome, const PhaseSeconds& phases, double seconds) {
    if (!outcome.update.applied) ++skipped_;
    const double useful_seconds = phases.total() - phases[Phase::communication];
    useful_seconds_ += useful_seconds;
    const std::vector<index_t> words = words_of_all_ranks();
    const double most_useful = max_over_ranks(session_.world(), useful_seconds);
    if (!file_) return;
    StepRecord record = make_record(session_, step, outcome);
    record.traffic = traffic_of(words);
    record.exchange_seconds = times_of(words, session_.world().size());
    record.skipped = skipped_;
    record.phases = phases;
    record.useful_seconds = {static_cast<double>(words.back()) * kNanosecond / session_.world().size(),
                             most_useful};
    record.seconds = seconds;
    file_->write(to_json(record));
    progress_->step(record);
}

std::vector<index_t> RunLog::words_of_all_ranks() {
    const std::vector<index_t> so_far = words_of(session_.exchange(), useful_seconds_);
    counted_.resize(so_far.size());
    std::vector<index_t> words(so_far.size());
    std::ranges::transform(so_far, counted_, words.begin(), std::minus());
    comm::all_reduce(session_.world(), std::span<index_t>(words));
    counted_ = so_far;
    return words;
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
    const std::vector<RankRecord> ranks = ranks_on_rank_0(session_, useful_seconds_);
    if (!file_) return;
    file_->write(to_json(EndRecord{last_step, stopped_early, skipped_, ranks}));
    if (!stopped_early) return;
    progress_->note(last_step < first_step_
                        ? std::string("stopped early, before the first step; nothing to save")
                        : concat("stopped early, after step ", last_step, "; continue with --resume latest"));
}

}  // namespace sy::runtime
