// What the parts of a training step take on this machine, for `plan --recommend`: short steps of models of one and three
// blocks.
#include <algorithm>
#include <filesystem>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "kernels/core/philox.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/telemetry/records.hpp"
#include "runtime/train/calibration.hpp"
#include "runtime/train/least_squares.hpp"
#include "runtime/train/step.hpp"

namespace sy::runtime::bench {
namespace {

/// Parameters of a measured block at most; larger ones have fewer experts, as they have over many ranks.
constexpr index_t kMostParameters = index_t{64} << 20;
constexpr index_t kMostSequences = 8;
/// Everything is measured so often, in turns: what disturbs the machine for seconds then disturbs a round, not a cost.
constexpr int kRounds = 5;
constexpr int kLeastSteps = 2;
/// Blocks of the larger model. The differences between it and a model of one block are what blocks take.
constexpr index_t kManyBlocks = 3;

/// Medians over the steps of a round, means over ranks.
struct StepSeconds {
    double all = 0.0;
    double optimizer = 0.0;
    double parameters = 0.0;      ///< of the model
    double row_bytes = 0.0;       ///< that a rank sends to others of its node in a step
    double gradient_bytes = 0.0;  ///< that a rank sends in a step
};

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

MicroBatch random_tokens(const Session& session, index_t step) {
    const Config& config = session.config();
    const Range mine = part_of(config.train.global_batch, session.world().size(), session.world().rank());
    MicroBatch batch;
    for (index_t i = 0; i < mine.size() * (config.model.seq_len + 1); ++i) {
        const float u = uniform({5, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(mine.begin),
                                 RandomPurpose::test},
                                static_cast<std::uint64_t>(i));
        batch.ids.push_back(static_cast<std::int32_t>(u * static_cast<float>(config.model.vocab_size)));
    }
    batch.info = {
        mine.begin * config.model.seq_len, config.train.global_batch * config.model.seq_len, step, 0, 1, {}};
    return batch;
}

StepSeconds measure_steps(const Config& config, double seconds, comm::Communicator& world) {
    Session session(config, world);
    session.transformer().set_token_counts(
        std::vector<index_t>(static_cast<std::size_t>(config.model.vocab_size), 1));
    PhaseTimer timer(steady_seconds, [&session] { return session.waited_seconds(); });
    std::vector<double> all;
    std::vector<double> optimizer;
    index_t rows_before = 0;
    index_t gradients_before = 0;
    double measured = 0.0;
    // The first step warms up.
    for (index_t step = 0; std::ssize(all) < kLeastSteps || measured < seconds; ++step) {
        if (step == 1) {
            rows_before = session.exchange().traffic().node.bytes;
            gradients_before = session.optimizer().sent_bytes();
        }
        comm::barrier(world);
        const double start = steady_seconds();
        run_step(
            session, [&](index_t) { return random_tokens(session, step + 1); }, step + 1, timer);
        double took = steady_seconds() - start;
        // All ranks go on alike.
        comm::all_reduce(world, std::span<double>(&took, 1), comm::ReduceOp::max);
        const PhaseSeconds phases = timer.take();
        if (step == 0) continue;
        all.push_back(took);
        optimizer.push_back(phases[Phase::optimizer]);
        measured += took;
    }
    const auto num_steps = static_cast<double>(all.size());
    StepSeconds result{median(all), median(optimizer),
                       static_cast<double>(model::model_size(config.model, config.moe).total_parameters),
                       static_cast<double>(session.exchange().traffic().node.bytes - rows_before) / num_steps,
                       static_cast<double>(session.optimizer().sent_bytes() - gradients_before) / num_steps};
    session.close();
    return result;
}

/// The measurements of one machine. All functions are @par Collective over the world.
class Calibrator {
  public:
    Calibrator(const BenchOptions& options, comm::Communicator& world)
        : options_(options), world_(world), cores_(options.threads * world.size()) {}

    /// Measures in rounds; costs are of the medians over rounds.
    Calibration measure();
    bool has_fewer_experts() const { return has_fewer_experts_; }

  private:
    /// What was measured in the rounds so far, of one configuration.
    struct Series {
        std::vector<double> all;
        std::vector<double> optimizer;
    };

    /// The costs by all rounds so far, after another one.
    Calibration measure_once_more();
    ComputeCosts compute(int num_ranks);
    /// The exchange of a mixture. @param kind  flat or hierarchical @param alone  costs of the ranks by themselves
    CostLine exchange(ExchangeSetting kind, const ComputeCosts& alone);
    CostLine gradients(const ComputeCosts& alone);

    Config small(index_t layers, const char* mixtures, index_t sequences, int threads);
    /// Ranks by themselves, `num_ranks` of them at once.
    StepSeconds alone(const Config& config, int num_ranks);
    StepSeconds together(const Config& config) {
        return median_of_rounds(measure_steps(config, options_.seconds / kRounds, world_));
    }
    /// Every round calls this for the same configurations in the same order.
    StepSeconds median_of_rounds(StepSeconds measured);
    double tokens(index_t sequences) const {
        return static_cast<double>(sequences * options_.config.model.seq_len);
    }
    index_t many(int num_ranks) const {
        const index_t share = options_.config.train.global_batch / num_ranks;
        return std::clamp(share, index_t{2}, kMostSequences);
    }

    const BenchOptions& options_;
    comm::Communicator& world_;
    int cores_;
    bool has_fewer_experts_ = false;
    std::vector<Series> series_;
    std::size_t next_series_ = 0;
};

Config Calibrator::small(index_t layers, const char* mixtures, index_t sequences, int threads) {
    Config config = options_.config;
    config.model.layers = layers;
    config.model.mtp_depth = 0;
    config.model.recompute = model::Recompute::none;
    config.moe.layers = mixtures;
    if (config.model.attention.window > 0) config.model.attention.window_layers = "all";
    config.train.global_batch = sequences;
    config.train.accumulation = 1;
    config.train.steps = 1'000'000;
    config.parallel = {};
    config.parallel.deadline_seconds = options_.config.parallel.deadline_seconds;
    config.parallel.threads = threads;
    config.parallel.expert_parallel = 1;
    while (config.moe.experts % 2 == 0 && config.moe.experts / 2 >= config.moe.top_k &&
           config.moe.groups == 0 &&
           model::model_size(config.model, config.moe).expert_parameters / layers > kMostParameters) {
        config.moe.experts /= 2;
        has_fewer_experts_ = true;
    }
    return config;
}

StepSeconds Calibrator::median_of_rounds(StepSeconds measured) {
    if (next_series_ == series_.size()) series_.emplace_back();
    Series& series = series_[next_series_++];
    series.all.push_back(measured.all);
    series.optimizer.push_back(measured.optimizer);
    measured.all = median(series.all);
    measured.optimizer = median(series.optimizer);
    return measured;
}

StepSeconds Calibrator::alone(const Config& config, int num_ranks) {
    StepSeconds mine;
    comm::barrier(world_);
    if (world_.rank() < num_ranks) {
        comm::LocalFabric(1).run(
            [&](comm::Communicator& one) { mine = measure_steps(config, options_.seconds / kRounds, one); });
    }
    double sums[] = {mine.all, mine.optimizer, mine.parameters};
    comm::all_reduce(world_, std::span<double>(sums));
    for (double& sum : sums) sum /= num_ranks;
    return median_of_rounds({sums[0], sums[1], sums[2], 0.0, 0.0});
}

ComputeCosts Calibrator::compute(int num_ranks) {
    const int threads = cores_ / num_ranks;
    const index_t more = many(num_ranks);
    std::vector<Observation> observations;
    // A step without AdamW is the sum of its blocks and of the rest, each a base and so much a token. Values are divided by
    // the seconds, so that errors count relative to them.
    const auto observe = [&](index_t layers, bool mixtures, index_t sequences) {
        const StepSeconds step =
            alone(small(layers, mixtures ? "all" : "none", sequences, threads), num_ranks);
        const double seconds = step.all - step.optimizer;
        Observation& observed = observations.emplace_back(Observation{{}, 1.0});
        for (const double parts : {mixtures ? static_cast<double>(layers) : 0.0,
                                   mixtures ? 0.0 : static_cast<double>(layers), 1.0}) {
            observed.factors.push_back(parts / seconds);
            observed.factors.push_back(parts * tokens(sequences) / seconds);
        }
        return step;
    };
    observe(1, true, 1);
    observe(1, true, more);
    observe(kManyBlocks, true, 1);
    const StepSeconds most = observe(kManyBlocks, true, more);
    const std::vector<bool> blocks = model::moe_blocks(options_.config.moe, options_.config.model);
    const bool has_dense = std::ranges::find(blocks, false) != blocks.end();
    if (has_dense) {
        observe(kManyBlocks, false, 1);
        observe(kManyBlocks, false, more);
    }
    const std::vector<double> fitted = nonnegative_least_squares(observations);
    ComputeCosts costs;
    costs.threads = threads;
    costs.mixture = {fitted[0], fitted[1]};
    costs.dense = has_dense ? CostLine{fitted[2], fitted[3]} : costs.mixture;
    costs.rest = {fitted[4], fitted[5]};
    costs.optimizer_s_per_parameter = most.optimizer / most.parameters;
    Config again = small(kManyBlocks, "all", more, threads);
    again.model.recompute = model::Recompute::block;
    const StepSeconds recomputed = alone(again, num_ranks);
    const double of_blocks = static_cast<double>(kManyBlocks) * costs.mixture.at(tokens(more));
    costs.recompute = std::max(1.0, 1.0 + (recomputed.all - most.all) / std::max(1e-9, of_blocks));
    return costs;
}

CostLine Calibrator::exchange(ExchangeSetting kind, const ComputeCosts& alone) {
    const int ranks = world_.size();
    struct Point {
        double bytes;
        double seconds;
    };
    const auto measure = [&](index_t sequences) {
        const auto with_layers = [&](index_t layers) {
            Config config = small(layers, "all", sequences * ranks, options_.threads);
            config.parallel.expert_parallel = ranks;
            config.parallel.exchange = kind;
            return together(config);
        };
        const StepSeconds one = with_layers(1);
        const StepSeconds many = with_layers(kManyBlocks);
        constexpr auto kMore = static_cast<double>(kManyBlocks - 1);
        const double block = ((many.all - many.optimizer) - (one.all - one.optimizer)) / kMore;
        double bytes = (many.row_bytes - one.row_bytes) / kMore;
        comm::all_reduce(world_, std::span<double>(&bytes, 1));
        return Point{bytes / ranks, std::max(0.0, block - alone.mixture.at(tokens(sequences)))};
    };
    const Point few = measure(1);
    const Point more = measure(many(ranks));
    CostLine line = line_through(few.bytes, few.seconds, more.bytes, more.seconds);
    comm::broadcast(world_, std::span<double>(&line.base, 1), 0);
    comm::broadcast(world_, std::span<double>(&line.slope, 1), 0);
    return line;
}

CostLine Calibrator::gradients(const ComputeCosts& alone) {
    const int ranks = world_.size();
    const auto measure = [&](index_t layers) {
        const StepSeconds step = together(small(layers, "all", ranks, options_.threads));
        const double computed = static_cast<double>(layers) * alone.mixture.at(tokens(1)) +
                                alone.rest.at(tokens(1)) +
                                alone.optimizer_s_per_parameter * step.parameters / ranks;
        return std::pair(step.gradient_bytes, std::max(0.0, step.all - computed));
    };
    const auto [bytes, seconds] = measure(1);
    const auto [more_bytes, more_seconds] = measure(kManyBlocks);
    return line_through(bytes, seconds, more_bytes, more_seconds);
}

std::vector<int> divisors(int number) {
    std::vector<int> result;
    for (int divisor = 1; divisor <= number; ++divisor)
        if (number % divisor == 0) result.push_back(divisor);
    return result;
}

Calibration Calibrator::measure_once_more() {
    next_series_ = 0;
    Calibration calibration;
    for (const int ranks : divisors(world_.size())) calibration.compute.push_back(compute(ranks));
    std::ranges::sort(calibration.compute, {}, &ComputeCosts::threads);
    if (world_.size() == 1) return calibration;
    const ComputeCosts alone = calibration.compute_with(options_.threads);
    calibration.flat = exchange(ExchangeSetting::flat, alone);
    calibration.hierarchical = exchange(ExchangeSetting::hierarchical, alone);
    calibration.gradients = gradients(alone);
    return calibration;
}

Calibration Calibrator::measure() {
    Calibration calibration;
    for (int round = 0; round < kRounds; ++round) calibration = measure_once_more();
    return calibration;
}

}  // namespace

void calibrate(const BenchOptions& options, comm::Communicator& world, Report& report) {
    const std::filesystem::path path = options.calibration;
    if (options.config.model.architecture == model::Architecture::encoder_decoder)
        throw ConfigError("bench --calibrate measures decoders and encoders that stand alone");
    if (comm::discover_topology(world).num_nodes() > 1)
        throw ConfigError("bench --calibrate measures one node; start all ranks on one");
    detail::fail_on_all_ranks(world, "calibrating failed", [&] {
        if (world.rank() == 0 && std::filesystem::exists(path))
            throw IoError(concat(path.string(), " exists; remove it, or give --calibrate another name"));
    });
    Calibrator calibrator(options, world);
    Calibration calibration = calibrator.measure();
    calibration.model = calibrated_model(options.config);
    calibration.host = host_name();
    if (world.size() == 1) {
        const Calibration assumed = assumed_calibration(options.config);
        calibration.flat = assumed.flat;
        calibration.hierarchical = assumed.hierarchical;
        calibration.gradients = assumed.gradients;
        calibration.assumed.push_back(concat(
            assumed.assumed[2], ": one rank sends nothing; calibrate under mpirun with a rank a core"));
    }
    if (calibrator.has_fewer_experts())
        calibration.assumed.emplace_back(
            "a token's experts take as long among fewer experts than the model has, which one rank could not "
            "hold");
    for (const ComputeCosts& costs : calibration.compute)
        report.note(concat(costs.threads, " threads: a mixture ", 1e3 * costs.mixture.base, " ms and ",
                           1e6 * costs.mixture.slope, " us a token, head and the rest ",
                           1e3 * costs.rest.base, " ms and ", 1e6 * costs.rest.slope, " us a token, AdamW ",
                           1e9 * costs.optimizer_s_per_parameter, " ns a parameter, recomputation x ",
                           costs.recompute));
    detail::fail_on_all_ranks(world, "writing the calibration failed", [&] {
        if (world.rank() == 0) write_calibration(path, calibration);
    });
    report.note(concat(path.string(), " is written; plan --recommend --calibration reads it"));
}

}  // namespace sy::runtime::bench
