#pragma once

#include <functional>
#include <iosfwd>
#include <string>

#include "comm/communicator.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "runtime/bench/report.hpp"
#include "runtime/config/config.hpp"

/// `switchyard bench`: times of products, operations, the mixture layer, its routers and
/// balance losses, the writing of checkpoints, the exchange and the training step, each beside
/// a limit or a peer measured in the same run, each checked.
namespace sy::runtime {

struct BenchOptions {
    std::string what;  ///< "gemm", "ops", "layer", "device", ..., or "calibrate"
    int threads = 0;   ///< of a rank; 0: the cores of its node shared among its ranks
    /// Least time of measuring, of seven rounds or more; 0: one round, to see that results are right.
    double seconds = 0.5;
    ReportStyle style = ReportStyle::table;
    /// Routing that `exchange` repeats, a file of telemetry.routing_trace; empty: generated.
    std::string trace;
    bool full = false;  ///< `exchange` measures all its sizes
    /// Where `exchange` writes which exchange is fastest, a file of parallel.exchange_table; empty: nowhere.
    std::string exchange_table;
    /// Where `calibrate` writes what a step's parts cost, a file of plan --recommend.
    std::string calibration;
    Config config;
    bool has_config = false;  ///< `exchange` and `step` measure this config instead of their own models
};

/// Runs one benchmark; rank 0 prints.
/// @return whether every result was right
/// @throws ConfigError for an unknown name
/// @par Collective over `world`
bool run_bench(const BenchOptions& options, comm::Communicator& world, std::ostream& out);

namespace bench {

/// What operations need, for one rank and one numerics mode.
struct Machine {
    CpuDevice device;
    Context context;

    explicit Machine(int threads, NumericsMode numerics = NumericsMode::fast)
        : device(threads), context{device, device.compute(), numerics} {}

    /// random_values on it, rounded to bf16 if In is.
    template <class In>
    Tensor random(Shape shape, std::uint64_t stream, float deviation = 1.0F);
};

/// Normal numbers that depend on `stream` alone, in the memory of the context's device. @param dtype  f32, or bf16 for
/// the same rounded
Tensor random_values(const Context& context, DType dtype, Shape shape, std::uint64_t stream,
                     float deviation = 1.0F);

/// Whether another round is to be run. @param total_ms  that the rounds have taken
bool go_on(const BenchOptions& options, int rounds, double total_ms);

const char* mode_name(NumericsMode numerics);

/// Runs every body once for warming up, then all in turn, as often as options.seconds says: what disturbs the machine
/// meanwhile meets them alike, so that their ratios hold.
std::vector<Times> time_in_turns(const BenchOptions& options, std::span<const std::function<void()>> bodies);
Times time_repeatedly(const BenchOptions& options, const std::function<void()>& body);

/// Bytes a second that the team copies, counting what is read and what is written, from arrays far larger than the
/// caches.
double measure_bandwidth(const BenchOptions& options, Machine& machine);

void gemm(const BenchOptions& options, Report& report);
void operations(const BenchOptions& options, Report& report);
void layer(const BenchOptions& options, Report& report);
/// What moves and multiplies rows on parallel.device, beside the two limits of that device.
void device(const BenchOptions& options, Report& report);
void routing(const BenchOptions& options, Report& report);
/// Writes into options.config.run.directory.
void checkpoint(const BenchOptions& options, Report& report);
void exchange(const BenchOptions& options, comm::Communicator& world, Report& report);
void step(const BenchOptions& options, comm::Communicator& world, Report& report);
/// Measures what `plan --recommend` reads. @par Collective over the world, of one node
void calibrate(const BenchOptions& options, comm::Communicator& world, Report& report);

}  // namespace bench
}  // namespace sy::runtime
