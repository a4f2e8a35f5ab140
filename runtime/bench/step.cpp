// A whole training step: tokens a second, share of the register peak, and where the time goes beside where the
// arithmetic is.

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "comm/collectives.hpp"
#include "kernels/core/peak.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/train/step.hpp"

namespace sy::runtime::bench {
namespace {

/// Timed steps of a run.
index_t num_steps(const BenchOptions& options) {
    return options.seconds > 0.0 ? 8 : 1;
}

struct Named {
    std::string name;
    Config config;
};

Config small_model(index_t hidden, index_t experts, index_t top_k, index_t shared, index_t width) {
    Config config;
    config.model.vocab_size = 256;
    config.model.hidden = hidden;
    config.model.layers = 4;
    config.model.heads = hidden / 64;
    config.model.kv_heads = hidden / 64;
    config.model.seq_len = 256;
    config.moe.experts = experts;
    config.moe.top_k = top_k;
    config.moe.shared_experts = shared;
    config.moe.expert_width = width;
    config.train.global_batch = 8;
    config.train.steps = 1000;
    return config;
}

std::vector<Named> models(const BenchOptions& options) {
    if (options.has_config) return {{"config", options.config}};
    return {{"coarse", small_model(256, 8, 2, 0, 704)},
            {"fine", small_model(256, 64, 6, 2, 176)},
            {"coarse, H 512", small_model(512, 8, 2, 0, 1408)}};
}

/// The same random tokens every step, so that the loss has to fall.
MicroBatch random_batch(const Session& session, index_t step, index_t micro_step) {
    const Config& config = session.config();
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    const Range mine = part_of(sequences, session.world().size(), session.world().rank());
    MicroBatch batch;
    const index_t length = config.model.seq_len + 1;
    for (index_t i = (micro_step * sequences + mine.begin) * length;
         i < (micro_step * sequences + mine.end) * length; ++i) {
        const float u = uniform({3, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(i));
        batch.ids.push_back(static_cast<std::int32_t>(u * static_cast<float>(config.model.vocab_size)));
    }
    batch.info = {mine.begin * config.model.seq_len, sequences * config.model.seq_len, step, micro_step,
                  config.train.accumulation};
    return batch;
}

/// Steps of one session and what they took.
struct Measured {
    std::vector<double> seconds;
    double loss_before = 0.0;
    double loss_after = 0.0;
    bool all_applied = true;
    double waited = 0.0;  ///< in all timed steps
};

/// The loss of the first step's first batch, always masked alike, without dropout and noise.
double evaluate(Session& session) {
    const MicroBatch batch = random_batch(session, 1, 0);
    return session.transformer().evaluate(batch.ids, batch.info, session.context()).token_loss;
}

/// The first step warms up and is not counted.
Measured run_steps(Session& session, index_t num_steps, Profile* profile) {
    PhaseTimer timer(steady_seconds, [&session] { return session.waited_seconds(); });
    Measured measured;
    measured.loss_before = evaluate(session);
    double waited = 0.0;
    for (index_t step = 1; step <= num_steps + 1; ++step) {
        comm::barrier(session.world());
        if (step == 2) {
            waited = session.waited_seconds();
            session.set_profile(profile);
        }
        const double start = steady_seconds();
        const StepOutcome outcome = run_step(
            session, [&](index_t micro_step) { return random_batch(session, step, micro_step); }, step,
            timer);
        double seconds = steady_seconds() - start;
        timer.take();
        comm::all_reduce(session.world(), std::span<double>(&seconds, 1), comm::ReduceOp::max);
        measured.all_applied = measured.all_applied && outcome.update.applied;
        if (step > 1) measured.seconds.push_back(seconds);
    }
    session.set_profile(nullptr);
    measured.waited = session.waited_seconds() - waited;
    measured.loss_after = evaluate(session);
    return measured;
}

/// The table of kinds: share of the time beside share of the arithmetic, on rank 0.
void report_kinds(const Named& named, const Profile& profile, const Measured& measured, Report& report) {
    double all = 0.0;
    for (const double seconds : measured.seconds) all += seconds;
    double flops = 0.0;
    double known = measured.waited;
    for (const OpKind kind : kOpKinds) {
        flops += profile.entry(kind).flops;
        known += profile.entry(kind).seconds;
    }
    Json time_share;
    Json flop_share;
    std::ostringstream text;
    text << "    " << std::left << std::setw(22) << "where the step goes" << std::right << std::setw(10)
         << "% of time" << std::setw(13) << "% of FLOPs" << std::fixed;
    const auto line = [&](std::string_view name, double seconds, double operations) {
        time_share[name] = seconds / all;
        flop_share[name] = operations / flops;
        text << "\n    " << std::left << std::setw(22) << name << std::right << std::setprecision(1)
             << std::setw(10) << 100.0 * seconds / all << std::setprecision(3) << std::setw(13)
             << 100.0 * operations / flops;
    };
    for (const OpKind kind : kOpKinds)
        line(op_kind_name(kind), profile.entry(kind).seconds, profile.entry(kind).flops);
    line("communication", measured.waited, 0.0);
    line("rest", all - known, 0.0);
    const double other = 1.0 - profile.entry(OpKind::product).seconds / all;
    text << "\n    all that is not a matrix product: " << std::setprecision(1) << 100.0 * other << " %";
    report.extra(Json::Object{{"what", "step_kinds"},
                              {"shape", named.name},
                              {"share_of_time", std::move(time_share)},
                              {"share_of_flops", std::move(flop_share)},
                              {"not_products", other}},
                 text.str());
}

BenchRow row_of(const Named& named, const Session& session, const Measured& measured) {
    const Config& config = named.config;
    BenchRow row;
    row.what = "step";
    row.shape = named.name;
    row.dtype = dtype_name(config.model.dtype);
    row.mode = mode_name(config.numerics);
    row.pass = "train";
    row.ranks = session.world().size();
    row.threads = session.num_threads();
    std::vector<double> sorted = measured.seconds;
    std::sort(sorted.begin(), sorted.end());
    row.times = {1e3 * sorted.front(), 1e3 * sorted[sorted.size() / 2]};
    row.rate = static_cast<double>(config.train.global_batch * config.model.seq_len) / sorted.front();
    // Right: the loss starts at the logarithm of the vocabulary and falls.
    const double uniform_loss = std::log(static_cast<double>(config.model.vocab_size));
    row.error = std::fabs(measured.loss_before / uniform_loss - 1.0);
    if (!(measured.all_applied && measured.loss_after < measured.loss_before)) row.error = HUGE_VAL;
    row.tolerance = 0.05;
    return row;
}

/// The peak of the processors of all ranks together. @par Collective
double total_peak(const Session& session, DType dtype) {
    double peak = measure_peak_gflops(cpu(session.context()).team(), dtype);
    comm::all_reduce(session.world(), std::span<double>(&peak, 1));
    return peak;
}

void measure(const Named& named, index_t num_steps, comm::Communicator& world, Report& report) {
    Session session(named.config, world);
    const bool on_cpu = named.config.parallel.device == DeviceKind::cpu;
    if (!on_cpu) report.note("device: " + session.rank_device().text());
    // Ids are drawn evenly.
    session.transformer().set_token_counts(
        std::vector<index_t>(static_cast<std::size_t>(named.config.model.vocab_size), 1));
    Profile profile;
    // Times are of steps without a profile; the profile's clocks cost a little.
    const Measured measured = run_steps(session, num_steps, nullptr);
    BenchRow row = row_of(named, session, measured);
    // The peak of a GPU is not measured here.
    if (on_cpu)
        row.share = 1e-9 * row.rate *
                    model::model_size(named.config.model, named.config.moe).train_flops_per_token() /
                    total_peak(session, named.config.model.dtype);
    report.row(row);
    // What operations of a GPU take shows when they are waited for, not when they are queued.
    if (on_cpu && named.config.numerics == NumericsMode::fast)
        report_kinds(named, profile, run_steps(session, num_steps, &profile), report);
    session.close();
}

}  // namespace

void step(const BenchOptions& options, comm::Communicator& world, Report& report) {
    report.note(concat(world.size(), " ranks, ", options.threads, " threads a rank; AdamW and clipping"));
    for (Named named : models(options)) {
        const Config& config = named.config;
        report.note(concat(named.name, ": ", config.model.layers, " layers of width ", config.model.hidden,
                           ", ", config.train.global_batch, " sequences of ", config.model.seq_len,
                           " tokens"));
        named.config.parallel.threads = options.threads;
        named.config.parallel.device = options.config.parallel.device;
        std::vector<DType> dtypes{DType::f32, DType::bf16};
        if (options.has_config) dtypes = {named.config.model.dtype};
        for (const DType dtype : dtypes) {
            named.config.model.dtype = dtype;
            for (const NumericsMode numerics : {NumericsMode::fast, NumericsMode::reproducible}) {
                named.config.numerics = numerics;
                measure(named, num_steps(options), world, report);
            }
        }
    }
}

}  // namespace sy::runtime::bench
