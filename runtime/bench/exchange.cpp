// Dispatch and return of rows against the MPI library's own all-to-all: of the same bytes, and as a program without plans
// uses it, with a row for each choice.
#include <algorithm>
#include <utility>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/bench/round_trip.hpp"
#include "runtime/bench/routing_trace_source.hpp"

namespace sy::runtime::bench {
namespace {

class ExchangeRows {
  public:
    /// @param num_tokens  of all ranks
    ExchangeRows(const ExchangeShape& shape, index_t num_tokens, int threads, int ranks, Report& report)
        : shape_(shape), num_tokens_(num_tokens), threads_(threads), ranks_(ranks), report_(report) {}

    /// @param raw  of MPI_Alltoallv; null: not measured
    void print(const RoundTrip& way, const RoundTripTimes& times, const RoundTripTimes* raw) {
        const auto share = [&](const Times RoundTripTimes::*step) {
            return raw == nullptr ? 0.0 : (raw->*step).best_ms / (times.*step).best_ms;
        };
        if (way.has_plan()) row(way, "plan", times.plan, 0, 0.0, times.error);
        row(way, "dispatch", times.dispatch, 1, share(&RoundTripTimes::dispatch), times.error);
        row(way, "return", times.back, 1, share(&RoundTripTimes::back), times.error);
        row(way, "round trip", times.there_and_back, 2, share(&RoundTripTimes::there_and_back), times.error);
    }

  private:
    /// @param num_passes  of every token's values: the payload that the rate is of
    void row(const RoundTrip& way, const char* step, const Times& times, int num_passes, double share,
             double error) {
        BenchRow row;
        row.what = "exchange";
        row.shape = shape_.name;
        row.dtype = "f32";
        row.mode = "fast";
        row.pass = concat(way.name(), " ", step);
        row.ranks = ranks_;
        row.threads = threads_;
        row.times = times;
        row.rate = 1e-6 * num_passes * static_cast<double>(num_tokens_ * shape_.hidden) * sizeof(float) /
                   times.best_ms;
        row.share = share;
        row.error = error;
        row.tolerance = 1e-5;
        report_.row(row);
    }

    const ExchangeShape& shape_;
    index_t num_tokens_;
    int threads_;
    int ranks_;
    Report& report_;
};

void measure(const BenchOptions& options, const ExchangeShape& shape, BenchRouting routing,
             comm::Communicator& world, Report& report) {
    index_t num_tokens = routing.num_tokens();
    comm::all_reduce(world, std::span<index_t>(&num_tokens, 1));
    Machine machine(options.threads);
    ExchangeTask task(shape, std::move(routing), machine, world);
    const std::vector<std::unique_ptr<RoundTrip>> ways = make_round_trips(task);
    const std::vector<RoundTripTimes> times = time_round_trips(options, world, ways);
    const RoundTripTimes* const raw = comm::launched_by_mpi() ? &times.front() : nullptr;
    ExchangeRows rows(shape, num_tokens, options.threads, world.size(), report);
    for (std::size_t i = 0; i < ways.size(); ++i) rows.print(*ways[i], times[i], raw);
}

/// Every mixture of the trace.
void repeat_trace(const BenchOptions& options, comm::Communicator& world, Report& report) {
    for (const RecordedMixture& mixture : read_recorded_mixtures(options.trace, world)) {
        const model::RoutingRecord& share = mixture.share;
        const ExchangeShape shape{concat(mixture.name, ": ", mixture.num_tokens, " x ", mixture.hidden,
                                         " in all, top ", share.top_k, " of ", mixture.experts),
                                  share.num_tokens, mixture.hidden, mixture.experts, share.top_k};
        measure(options, shape, BenchRouting(share), world, report);
    }
}

}  // namespace

void exchange(const BenchOptions& options, comm::Communicator& world, Report& report) {
    report.note(concat(world.size(), " ranks, ", options.threads,
                       " threads a rank; times of the slowest rank; a return includes adding up",
                       comm::launched_by_mpi() ? "" : "; start with mpirun to compare with MPI_Alltoallv"));
    if (!options.trace.empty()) return repeat_trace(options, world, report);
    for (const ExchangeShape& shape : {ExchangeShape{"16 x 1024, top 2 of 8", 16, 1024, 8, 2},
                                       {"512 x 512, top 2 of 8", 512, 512, 8, 2},
                                       {"4096 x 512, top 2 of 8", 4096, 512, 8, 2},
                                       {"4096 x 512, top 8 of 64", 4096, 512, 64, 8},
                                       {"4096 x 512, hot, top 8 of 64", 4096, 512, 64, 8, 0.3F},
                                       {"1024 x 4096, top 8 of 64", 1024, 4096, 64, 8}})
        measure(options, shape, BenchRouting(shape, world.rank()), world, report);
}

}  // namespace sy::runtime::bench
