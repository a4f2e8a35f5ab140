#include "runtime/bench/bench.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ostream>
#include <sstream>
#include <utility>

#include "comm/topology/topology.hpp"
#include "kernels/core/isa.hpp"
#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/random/random.hpp"
#include "runtime/train/processors.hpp"

namespace sy::runtime {
namespace bench {
namespace {

constexpr int kLeastRounds = 7;
constexpr int kMostRounds = 2000;

}  // namespace

bool go_on(const BenchOptions& options, int rounds, double total_ms) {
    if (options.seconds <= 0.0) return rounds < 1;
    return rounds < kLeastRounds || (total_ms < 1e3 * options.seconds && rounds < kMostRounds);
}

Tensor random_values(const Context& context, DType dtype, Shape shape, std::uint64_t stream,
                     float deviation) {
    Tensor values(context.device, DType::f32, shape);
    ops::fill_normal({stream, 0, 0, RandomPurpose::test}, 0, deviation, values, context);
    if (dtype == DType::f32) return values;
    Tensor rounded(context.device, dtype, shape);
    ops::cast(values, rounded, context);
    return rounded;
}

template <class In>
Tensor Machine::random(Shape shape, std::uint64_t stream, float deviation) {
    return random_values(context, dtype_of<In>::value, shape, stream, deviation);
}
template Tensor Machine::random<float>(Shape, std::uint64_t, float);
template Tensor Machine::random<bf16>(Shape, std::uint64_t, float);

const char* mode_name(NumericsMode numerics) {
    return numerics == NumericsMode::fast ? "fast" : "reproducible";
}

std::vector<Times> time_in_turns(const BenchOptions& options, std::span<const std::function<void()>> bodies) {
    using Clock = std::chrono::steady_clock;
    for (const std::function<void()>& body : bodies) body();
    std::vector<std::vector<double>> times(bodies.size());
    double total_ms = 0.0;
    for (int round = 0; go_on(options, round, total_ms); ++round) {
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            const auto start = Clock::now();
            bodies[i]();
            times[i].push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
            total_ms += times[i].back();
        }
    }
    std::vector<Times> result;
    for (std::vector<double>& of_body : times) {
        std::sort(of_body.begin(), of_body.end());
        result.push_back({of_body.front(), of_body[of_body.size() / 2]});
    }
    return result;
}

Times time_repeatedly(const BenchOptions& options, const std::function<void()>& body) {
    return time_in_turns(options, std::span(&body, 1)).front();
}

double measure_bandwidth(const BenchOptions& options, Machine& machine) {
    constexpr index_t kBytes = index_t{256} << 20;
    Tensor from(machine.device, DType::f32, {kBytes / index_t{sizeof(float)}});
    Tensor to(machine.device, DType::f32, from.shape());
    from.fill_zero();
    const std::byte* const source = std::as_const(from).raw().data();
    std::byte* const target = to.raw().data();
    const Times times = time_repeatedly(options, [&] {
        machine.device.team().for_ranges(kBytes, 4096, [&](index_t begin, index_t end) {
            std::memcpy(target + begin, source + begin, static_cast<std::size_t>(end - begin));
        });
    });
    return 2.0 * static_cast<double>(kBytes) / (1e-3 * times.best_ms);
}

}  // namespace bench

namespace {

/// Threads of a rank when the user has not said: its share of the cores.
int default_threads(comm::Communicator& world) {
    return plan_processors(0, world, comm::discover_topology(world)).threads;
}

/// @throws ConfigError for a benchmark of processors alone, with the reason and what there is for GPUs
void check_runs_on_gpu(const std::string& what) {
    const char* reason = nullptr;
    if (what == "ops")
        reason =
            "every result is compared with a plain body that reads the host's memory; bench device times a "
            "GPU's rows and products, and tests/gpu/run compares every operation";
    if (what == "routing")
        reason =
            "each rule's choices, weights and gradients are followed token by token in the host's memory; "
            "bench layer runs on a GPU with its router";
    if (what == "checkpoint") reason = "files are written from the host's memory, whatever the device";
    if (what == "exchange")
        reason =
            "its peers are MPI's calls on the host's memory; tests of training on several GPUs are in "
            "tests/multirank/emulated_gpus";
    if (what == "calibrate")
        reason = "the costs of plan --recommend are those of threads that share a processor";
    if (reason == nullptr) return;
    throw ConfigError(concat("bench ", what,
                             " measures the processor, and not parallel.device = cuda: ", reason,
                             "; leave parallel.device at cpu, or take bench device, gemm, layer or step"));
}

Report::Columns columns_of(const std::string& what) {
    if (what == "gemm") return {"GFLOP/s", "of peak", "error"};
    if (what == "ops") return {"GB/s", "of copying", "error"};
    if (what == "layer") return {"GFLOP/s", "of products", "error"};
    if (what == "device") return {"GB/s, GFLOP/s", "of limit", "error"};
    if (what == "routing") return {"Mtokens/s", "% of layer", "error"};
    if (what == "checkpoint") return {"MB/s", "of plain", "error"};
    if (what == "exchange") return {"GB/s", "of alltoallv", "error"};
    if (what == "step") return {"tokens/s", "of peak", "error"};
    if (what == "calibrate") return {"", "", ""};
    throw ConfigError(concat("bench: unknown benchmark '", what,
                             "'; write gemm, ops, layer, device, routing, checkpoint, exchange or step"));
}

}  // namespace

bool run_bench(const BenchOptions& options, comm::Communicator& world, std::ostream& out) {
    const bool is_cpu = options.config.parallel.device == DeviceKind::cpu;
    if (!is_cpu) check_runs_on_gpu(options.what);
    BenchOptions own = options;
    if (own.threads == 0) own.threads = default_threads(world);
    std::ostringstream discarded;
    Report report(world.rank() == 0 ? out : discarded, own.style, columns_of(own.what));
    if (is_cpu) report.note(concat("instruction set: ", isa_name(isa())));
    if (own.what == "exchange") {
        bench::exchange(own, world, report);
    } else if (own.what == "step") {
        bench::step(own, world, report);
    } else if (own.what == "calibrate") {
        bench::calibrate(own, world, report);
    } else if (world.rank() == 0) {
        // One rank is measured; the others would only take cores from it.
        if (own.what == "device" || (!is_cpu && (own.what == "gemm" || own.what == "layer"))) {
            bench::device(own, report);
        } else if (own.what == "gemm") {
            bench::gemm(own, report);
        } else if (own.what == "layer") {
            bench::layer(own, report);
        }
        if (own.what == "ops") bench::operations(own, report);
        if (own.what == "routing") bench::routing(own, report);
        if (own.what == "checkpoint") bench::checkpoint(own, report);
    }
    return report.all_right();
}

}  // namespace sy::runtime
