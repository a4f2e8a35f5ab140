// Dispatch and return of rows against the MPI library's own all-to-all: of the same bytes, and as a program without plans
// uses it, with a row for each choice.
#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/collectives.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "comm/topology/topology.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "runtime/bench/bench.hpp"

namespace sy::runtime::bench {
namespace {

struct ExchangeShape {
    const char* name;
    index_t tokens;  ///< of a rank
    index_t hidden;
    index_t experts;
    index_t top_k;
    float hot = 0.0F;  ///< share of tokens whose first choice is expert 0, beside those that draw it
};

struct ChoiceAxis;
struct ByteAxis;

/// Random different experts for every token, with equal weights that add up to one.
struct Routing {
    Indexed<ChoiceAxis, std::int32_t> expert;
    Indexed<ChoiceAxis, float> weight;
    Indexed<ChoiceAxis, std::uint8_t> kept;
    index_t tokens;
    index_t top_k;

    Routing(const ExchangeShape& shape, int rank)
        : weight(shape.tokens * shape.top_k, 1.0F / static_cast<float>(shape.top_k)),
          kept(shape.tokens * shape.top_k, 1),
          tokens(shape.tokens),
          top_k(shape.top_k) {
        for (index_t t = 0; t < tokens; ++t) {
            const auto stream = static_cast<std::uint64_t>(rank * tokens + t);
            const float u = uniform({5, 0, 0, RandomPurpose::test}, stream);
            const float v = uniform({6, 0, 0, RandomPurpose::test}, stream);
            const auto first =
                v < shape.hot ? 0 : static_cast<index_t>(u * static_cast<float>(shape.experts));
            // A stride that is odd meets every one of a power of two experts.
            for (index_t j = 0; j < top_k; ++j)
                expert.push_back(static_cast<std::int32_t>((first + j * 5) % shape.experts));
        }
    }
    comm::Choices choices() const {
        return {MatrixView<const std::int32_t>(expert.data(), tokens, top_k),
                MatrixView<const float>(weight.data(), tokens, top_k),
                MatrixView<const std::uint8_t>(kept.data(), tokens, top_k)};
    }
};

/// Slowest rank of each.
Times slowest(comm::Communicator& world, Times times) {
    double values[2] = {times.best_ms, times.median_ms};
    comm::all_reduce(world, std::span<double>(values), comm::ReduceOp::max);
    return {values[0], values[1]};
}

/// Repetitions that all ranks agree on: each stops by its own clock otherwise.
Times time_together(comm::Communicator& world, int repeats, const std::function<void()>& body) {
    std::vector<double> times;
    body();
    for (int repeat = 0; repeat < repeats; ++repeat) {
        comm::barrier(world);
        const auto start = std::chrono::steady_clock::now();
        body();
        times.push_back(
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(times.begin(), times.end());
    return slowest(world, {times.front(), times[times.size() / 2]});
}

/// What travels there and back, and whether it came back as it went.
struct RoundTrip {
    Times dispatch;
    Times back;
    double error = 0.0;
    double ms() const { return dispatch.best_ms + back.best_ms; }
};

class ExchangeBench {
  public:
    ExchangeBench(const BenchOptions& options, const ExchangeShape& shape, comm::Communicator& world,
                  Report& report)
        : machine_(options.threads),
          repeats_(options.seconds > 0.0 ? 15 : 1),
          shape_(shape),
          world_(world),
          report_(report),
          placement_(comm::block_placement(shape.experts, world.size())),
          routing_(shape, world.rank()),
          topology_(comm::discover_topology(world)),
          x_(machine_.random<float>({shape.tokens, shape.hidden},
                                    static_cast<std::uint64_t>(10 + world.rank()))),
          y_(machine_.arena, DType::f32, {shape.tokens, shape.hidden}) {}

    void run() {
        double raw = 0.0;
        double naive = 0.0;
        for (const auto& [kind, name] : {std::pair{comm::ExchangeKind::flat, "flat"},
                                         {comm::ExchangeKind::hierarchical, "hierarchical"}}) {
            const auto exchange = comm::make_exchange(kind, world_, topology_, machine_.context);
            comm::DispatchPlan plan;
            const Times planning = time_together(world_, repeats_, [&] {
                plan = exchange->plan(routing_.choices(), placement_, comm::ReturnRows::per_unit);
            });
            if (kind == comm::ExchangeKind::flat && comm::launched_by_mpi()) {
                raw = raw_ms(plan);
                const RoundTrip of_naive = naive_round_trip(plan);
                naive = of_naive.ms();
                print("row per choice", "dispatch", of_naive.dispatch, raw, of_naive.error);
                print("row per choice", "return", of_naive.back, raw, of_naive.error);
            }
            print(name, "plan", planning, 0.0, 0.0);
            const RoundTrip trip = round_trip(*exchange, plan);
            print(name, "dispatch", trip.dispatch, raw, trip.error);
            print(name, "return", trip.back, raw, trip.error);
            if (naive > 0.0)
                report_.note(concat("    ", name, ": ", 2.0 * raw / trip.ms(),
                                    " of the speed of two MPI_Alltoallv, ", naive / trip.ms(),
                                    " of a row per choice"));
        }
    }

  private:
    /// Slots are their rows times their weights: as the weights of a token add up to one, it comes back as it went.
    RoundTrip round_trip(comm::Exchange& exchange, const comm::DispatchPlan& plan) {
        RoundTrip trip;
        Tensor rows;
        trip.dispatch =
            time_together(world_, repeats_, [&] { rows = exchange.start_dispatch(x_, plan).wait(); });
        Tensor results = exchange.make_results(plan, shape_.hidden);
        weigh(rows, plan.receive.slot_row, plan.receive.slot_weight, results.ref().rows_of(plan.back.slots));
        trip.back = time_together(world_, repeats_, [&] {
            results = exchange.start_return(std::move(results), plan).wait();
            comm::combine_returned(results, plan, Write::overwrite, y_, machine_.context);
        });
        trip.error = combine_error();
        return trip;
    }

    /// What MPI's all-to-all needs for the bytes that a flat exchange moves one way.
    double raw_ms(const comm::DispatchPlan& plan) {
        const index_t row_bytes = shape_.hidden * index_t{sizeof(float)};
        const auto out = plan.send.row_offsets.scaled(row_bytes);
        const auto in = plan.receive.row_offsets.scaled(row_bytes);
        Tensor source(machine_.arena, DType::f32, {plan.send.num_rows(), shape_.hidden});
        Tensor target(machine_.arena, DType::f32, {plan.receive.num_rows(), shape_.hidden});
        source.fill_zero();
        return time_together(world_, repeats_,
                             [&] { comm::mpi_alltoallv(world_, source.raw(), out, target.raw(), in); })
            .best_ms;
    }

    /// A row for each choice, gathered by destination, carried by MPI's all-to-all and added up at home.
    RoundTrip naive_round_trip(const comm::DispatchPlan& plan) {
        RoundTrip trip;
        const index_t row_bytes = shape_.hidden * index_t{sizeof(float)};
        const auto out = plan.send.slot_offsets.scaled(row_bytes);
        comm::RankOffsets records;
        for (int source = 0; source < world_.size(); ++source) {
            index_t count = 0;
            for (const std::int32_t from : plan.receive.slot_source) count += from == source ? 1 : 0;
            records.append(count);
        }
        const auto in = records.scaled(row_bytes);
        std::vector<std::int32_t> tokens;
        for (const comm::SlotRecord& slot : plan.send.slots) tokens.push_back(slot.token);
        Tensor there(machine_.arena, DType::f32, {plan.send.num_slots(), shape_.hidden});
        Tensor rows(machine_.arena, DType::f32, {plan.receive.num_slots(), shape_.hidden});
        trip.dispatch = time_together(world_, repeats_, [&] {
            ops::gather_rows(x_, tokens, there, machine_.context);
            comm::mpi_alltoallv(world_, std::as_const(there).raw(), out, rows.raw(), in);
        });
        Tensor weighted(machine_.arena, DType::f32, {plan.receive.num_slots(), shape_.hidden});
        std::vector<std::int32_t> as_they_came;
        std::vector<float> weight(static_cast<std::size_t>(plan.receive.num_slots()),
                                  1.0F / static_cast<float>(shape_.top_k));
        for (index_t s = 0; s < plan.receive.num_slots(); ++s)
            as_they_came.push_back(static_cast<std::int32_t>(s));
        weigh(rows, as_they_came, weight, weighted);
        Offsets<TokenAxis> choices;
        for (index_t t = 0; t < shape_.tokens; ++t) choices.append(shape_.top_k);
        trip.back = time_together(world_, repeats_, [&] {
            comm::mpi_alltoallv(world_, std::as_const(weighted).raw(), in, there.raw(), out);
            ops::sum_rows(there, choices, plan.send.slot_of_choice, Write::overwrite, y_, machine_.context);
        });
        trip.error = combine_error();
        return trip;
    }

    static void weigh(const Tensor& rows, std::span<const std::int32_t> row, std::span<const float> weight,
                      TensorRef slots) {
        const MatrixView<float> to = host<float>(slots);
        for (index_t s = 0; s < to.rows; ++s) {
            const auto from = rows.matrix<float>().row_span(row[static_cast<std::size_t>(s)]);
            for (index_t i = 0; i < to.cols; ++i)
                to(s, i) = weight[static_cast<std::size_t>(s)] * from[static_cast<std::size_t>(i)];
        }
    }

    double combine_error() {
        double error = 0.0;
        for (std::size_t i = 0; i < y_.values<float>().size(); ++i) {
            const double difference =
                static_cast<double>(y_.values<float>()[i]) - static_cast<double>(x_.values<float>()[i]);
            error = std::max(error, std::isfinite(difference) ? std::fabs(difference) : HUGE_VAL);
        }
        comm::all_reduce(world_, std::span<double>(&error, 1), comm::ReduceOp::max);
        y_.fill_zero();
        return error;
    }

    /// @param raw_ms  of MPI_Alltoallv of the bytes of one way; 0: not measured
    void print(const char* exchange, const char* pass, const Times& times, double raw_ms, double error) {
        BenchRow row;
        row.what = "exchange";
        row.shape = concat(shape_.name, ", ", exchange);
        row.dtype = "f32";
        row.mode = "fast";
        row.pass = pass;
        row.ranks = world_.size();
        row.threads = machine_.team.size();
        row.times = times;
        // By payload: the values of the tokens that all ranks send and get back.
        if (raw_ms > 0.0)
            row.rate = 1e-6 * static_cast<double>(shape_.tokens * shape_.hidden * world_.size()) *
                       sizeof(float) / times.best_ms;
        row.share = raw_ms / times.best_ms;
        row.error = error;
        row.tolerance = 1e-5;
        report_.row(row);
    }

    Machine machine_;
    int repeats_;
    ExchangeShape shape_;
    comm::Communicator& world_;
    Report& report_;
    comm::Placement placement_;
    Routing routing_;
    comm::Topology topology_;
    Tensor x_;
    Tensor y_;
};

}  // namespace

void exchange(const BenchOptions& options, comm::Communicator& world, Report& report) {
    report.note(concat(world.size(), " ranks, ", options.threads,
                       " threads a rank; times of the slowest rank; a return includes adding up",
                       comm::launched_by_mpi() ? "" : "; start with mpirun to compare with MPI_Alltoallv"));
    for (const ExchangeShape& shape : {ExchangeShape{"16 x 1024, top 2 of 8", 16, 1024, 8, 2},
                                       {"512 x 512, top 2 of 8", 512, 512, 8, 2},
                                       {"4096 x 512, top 2 of 8", 4096, 512, 8, 2},
                                       {"4096 x 512, top 8 of 64", 4096, 512, 64, 8},
                                       {"4096 x 512, hot, top 8 of 64", 4096, 512, 64, 8, 0.3F},
                                       {"1024 x 4096, top 8 of 64", 1024, 4096, 64, 8}})
        ExchangeBench(options, shape, world, report).run();
}

}  // namespace sy::runtime::bench
