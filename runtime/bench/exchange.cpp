// Dispatch and return of rows against the MPI library's own all-to-all of the same bytes.
#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/collectives.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "kernels/core/philox.hpp"
#include "runtime/bench/bench.hpp"

namespace sy::runtime::bench {
namespace {

struct ExchangeShape {
    const char* name;
    index_t tokens;  ///< of a rank
    index_t hidden;
    index_t experts;
    index_t top_k;
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
            const auto first = static_cast<index_t>(u * static_cast<float>(shape.experts));
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

/// What experts do here: the slot's row times its weight.
void weigh(const Tensor& rows, const comm::ReceivePlan& plan, Tensor& slots) {
    for (index_t s = 0; s < plan.num_slots(); ++s) {
        const auto from = rows.matrix<float>().row_span(plan.slot_row[s]);
        const auto to = slots.matrix<float>().row_span(s);
        for (std::size_t i = 0; i < from.size(); ++i) to[i] = plan.slot_weight[s] * from[i];
    }
}

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
          exchange_(comm::make_flat_exchange(world, machine_.context)),
          x_(machine_.random<float>({shape.tokens, shape.hidden},
                                    static_cast<std::uint64_t>(10 + world.rank()))) {}

    void run() {
        comm::DispatchPlan plan;
        row("plan", time_together(world_, repeats_, [&] { plan = make_plan(); }), 0.0, 0.0, 0.0);
        Tensor rows;
        const Times dispatch =
            time_together(world_, repeats_, [&] { rows = exchange_->start_dispatch(x_, plan).wait(); });
        Tensor slots(machine_.arena, DType::f32, {plan.receive.num_slots(), shape_.hidden});
        weigh(rows, plan.receive, slots);
        Tensor returned;
        const Times back =
            time_together(world_, repeats_, [&] { returned = exchange_->start_return(slots, plan).wait(); });
        const double raw = comm::launched_by_mpi() ? raw_ms(plan) : 0.0;
        const double bytes = remote_bytes(plan);
        const double error = combine_error(returned, plan);
        row("dispatch", dispatch, bytes, raw / dispatch.best_ms, error);
        row("return", back, bytes, raw / back.best_ms, error);
        if (raw > 0.0) {
            report_.note(concat("    MPI_Alltoallv of the same bytes: ", raw, " ms; deduplicated rows ",
                                plan.send.num_rows(), " instead of ", plan.send.num_slots(), " on rank 0"));
        }
    }

  private:
    comm::DispatchPlan make_plan() {
        return exchange_->plan(routing_.choices(), placement_, comm::ReturnRows::per_rank);
    }

    /// Bytes that leave all ranks for others.
    double remote_bytes(const comm::DispatchPlan& plan) {
        index_t rows = plan.send.num_rows() - plan.send.row_offsets[world_.rank()].size();
        comm::all_reduce(world_, std::span<index_t>(&rows, 1));
        return static_cast<double>(rows * shape_.hidden) * sizeof(float);
    }

    double raw_ms(const comm::DispatchPlan& plan) {
        const index_t row_bytes = shape_.hidden * index_t{sizeof(float)};
        const comm::RankOffsets out = plan.send.row_offsets.scaled(row_bytes);
        const comm::RankOffsets in = plan.receive.row_offsets.scaled(row_bytes);
        Indexed<ByteAxis, std::byte> source(out.total());
        Indexed<ByteAxis, std::byte> target(in.total());
        return time_together(world_, repeats_, [&] { comm::mpi_alltoallv(world_, source, out, target, in); })
            .best_ms;
    }

    /// The weights of a token add up to one, so it comes back as it went.
    double combine_error(const Tensor& returned, const comm::DispatchPlan& plan) {
        Tensor y(machine_.arena, DType::f32, {shape_.tokens, shape_.hidden});
        comm::combine_returned(returned, plan, Write::overwrite, y, machine_.context);
        double error = 0.0;
        for (std::size_t i = 0; i < y.values<float>().size(); ++i) {
            const double difference =
                static_cast<double>(y.values<float>()[i]) - static_cast<double>(x_.values<float>()[i]);
            error = std::max(error, std::isfinite(difference) ? std::fabs(difference) : HUGE_VAL);
        }
        comm::all_reduce(world_, std::span<double>(&error, 1), comm::ReduceOp::max);
        return error;
    }

    void row(const char* pass, const Times& times, double bytes, double share, double error) {
        BenchRow row;
        row.what = "exchange";
        row.shape = shape_.name;
        row.dtype = "f32";
        row.mode = "fast";
        row.pass = pass;
        row.ranks = world_.size();
        row.threads = machine_.team.size();
        row.times = times;
        row.rate = 1e-6 * bytes / times.best_ms;
        row.share = share;
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
    std::unique_ptr<comm::Exchange> exchange_;
    Tensor x_;
};

}  // namespace

void exchange(const BenchOptions& options, comm::Communicator& world, Report& report) {
    report.note(concat(world.size(), " ranks, ", options.threads,
                       " threads a rank; times of the slowest rank",
                       comm::launched_by_mpi() ? "" : "; start with mpirun to compare with MPI_Alltoallv"));
    for (const ExchangeShape& shape : {ExchangeShape{"512 tokens, top 2 of 8", 512, 512, 8, 2},
                                       ExchangeShape{"4096 tokens, top 2 of 8", 4096, 512, 8, 2},
                                       ExchangeShape{"4096 tokens, top 6 of 64", 4096, 512, 64, 6}}) {
        ExchangeBench(options, shape, world, report).run();
    }
}

}  // namespace sy::runtime::bench
