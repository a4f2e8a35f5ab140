#include "runtime/bench/exchange_rows.hpp"

#include <utility>

#include "comm/collectives.hpp"

namespace sy::runtime::bench {
namespace {

/// A rank holds some eight times as much while all ways take turns.
constexpr index_t kMostChoiceBytes = index_t{256} << 20;

struct Wire {
    const char* name;
    /// Largest absolute error: values are at most 7, dispatched rows are rounded once and returned results once more.
    double tolerance;
};

Wire wire_of(model::WireFormat format) {
    switch (format) {
        case model::WireFormat::f32:
            return {"f32", 1e-5};
        case model::WireFormat::bf16:
            return {"bf16", 7.0 * 2.0 / 256.0};
        case model::WireFormat::fp8:
            return {"fp8", 7.0 * (1.0 / 16.0 + 1.0 / 256.0)};
    }
    return {};
}

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
        row.dtype = wire_of(way.wire()).name;
        row.mode = "fast";
        row.pass = concat(way.name(), " ", step);
        row.ranks = ranks_;
        row.threads = threads_;
        row.times = times;
        row.rate = 1e-6 * num_passes * static_cast<double>(num_tokens_ * shape_.hidden) * sizeof(float) /
                   times.best_ms;
        row.share = share;
        row.error = error;
        row.tolerance = wire_of(way.wire()).tolerance;
        report_.row(row);
    }

    const ExchangeShape& shape_;
    index_t num_tokens_;
    int threads_;
    int ranks_;
    Report& report_;
};

}  // namespace

std::vector<MeasuredWay> measure_exchanges(const BenchOptions& options, const ExchangeShape& shape,
                                           BenchRouting routing, Peers peers, comm::Communicator& world,
                                           Report& report) {
    if (shape.choice_bytes() > kMostChoiceBytes) {
        report.note(concat(shape.name, ": left out, a row for each choice takes ", shape.choice_bytes() >> 20,
                           " MiB a rank, more than ", kMostChoiceBytes >> 20));
        return {};
    }
    index_t num_tokens = routing.num_tokens();
    comm::all_reduce(world, std::span<index_t>(&num_tokens, 1));
    Machine machine(options.threads);
    ExchangeTask task(shape, std::move(routing), options.config.moe.wire, machine, world);
    const std::vector<std::unique_ptr<RoundTrip>> ways = make_round_trips(task, peers);
    const std::vector<RoundTripTimes> times = time_round_trips(options, world, ways);
    const RoundTripTimes* const raw = peers == Peers::mpi_alltoallv ? &times.front() : nullptr;
    ExchangeRows rows(shape, num_tokens, options.threads, world.size(), report);
    std::vector<MeasuredWay> measured;
    for (std::size_t i = 0; i < ways.size(); ++i) {
        rows.print(*ways[i], times[i], raw);
        measured.push_back({ways[i]->name(), times[i]});
    }
    return measured;
}

}  // namespace sy::runtime::bench
