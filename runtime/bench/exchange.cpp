// Dispatch and return of rows against the MPI library's own all-to-all: of the same bytes, and as a program without plans
// uses it, with a row for each choice.
#include "comm/mpi/mpi_session.hpp"
#include "runtime/bench/exchange_rows.hpp"
#include "runtime/bench/routing_trace_source.hpp"

namespace sy::runtime::bench {
namespace {

Peers peers() {
    return comm::launched_by_mpi() ? Peers::mpi_alltoallv : Peers::none;
}

std::vector<ExchangeShape> shapes(const BenchOptions& options, int num_ranks) {
    if (options.has_config) return {shape_of(options.config, num_ranks)};
    return options.full ? full_shapes() : quick_shapes();
}

/// Every mixture of the trace.
void repeat_trace(const BenchOptions& options, comm::Communicator& world, Report& report) {
    for (const RecordedMixture& mixture : read_recorded_mixtures(options.trace, world)) {
        const model::RoutingRecord& share = mixture.share;
        const ExchangeShape shape{concat(mixture.name, ": ", mixture.num_tokens, " x ", mixture.hidden,
                                         " in all, top ", share.top_k, " of ", mixture.experts),
                                  (mixture.num_tokens + world.size() - 1) / world.size(), mixture.hidden,
                                  mixture.experts, share.top_k};
        measure_exchanges(options, shape, BenchRouting(share), peers(), world, report);
    }
}

}  // namespace

void exchange(const BenchOptions& options, comm::Communicator& world, Report& report) {
    report.note(concat(world.size(), " ranks, ", options.threads,
                       " threads a rank; times of the slowest rank; a return includes adding up",
                       comm::launched_by_mpi() ? "" : "; start with mpirun to compare with MPI_Alltoallv"));
    if (!options.exchange_table.empty()) return tune_exchange(options, world, report);
    if (!options.trace.empty()) return repeat_trace(options, world, report);
    for (const ExchangeShape& shape : shapes(options, world.size()))
        measure_exchanges(options, shape, BenchRouting(shape, world.rank()), peers(), world, report);
}

}  // namespace sy::runtime::bench
