#pragma once

#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "comm/local/local_fabric.hpp"
#include "comm/nccl/gpu_group.hpp"
#include "comm/nccl/nccl_communicator.hpp"
#include "comm/topology/topology.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/nccl/faults.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/support/emulated_gpu.hpp"
#include "tests/support/one_processor.hpp"
#include "tests/support/read_values.hpp"
#include "tests/unit/comm/conformance.hpp"
#include "tests/unit/comm/exchange_problem.hpp"

/// Ranks that are threads, with an emulated GPU each, and an exchange between them.
// T tokens of a group, K choices, E experts, H hidden.
namespace sy::test {

using namespace sy::comm;

/// Faults that a test plants and a device that it may break; all is as before afterwards.
class GpuMachine {
  public:
    explicit GpuMachine(int num_gpus, const emulation::NcclFaults& faults = {}) {
        emulation::options().num_devices = num_gpus;
        emulation::nccl_faults() = faults;
    }
    GpuMachine(const GpuMachine&) = delete;
    GpuMachine& operator=(const GpuMachine&) = delete;
    ~GpuMachine() {
        emulation::recover();
        emulation::options().num_devices = 1;
        emulation::nccl_faults() = {};
    }
};

/// How rows travel, between ranks on nodes as they are dealt.
struct Way {
    ExchangeKind kind = ExchangeKind::flat;
    int ranks_of_node = 1;

    Topology topology(int num_ranks) const {
        Topology topology;
        for (int rank = 0; rank < num_ranks; ++rank) topology.node_of_rank.push_back(rank / ranks_of_node);
        return topology;
    }
};

/// A rank with a GPU of its own, which NCCL connects with the others'.
struct GpuRank {
    Communicator& world;  ///< whose messages go through the host's memory
    EmulatedGpu gpu;
    Context context;
    std::unique_ptr<NcclLibrary> library;
    std::unique_ptr<Communicator> group;

    explicit GpuRank(Communicator& world_)
        : world(world_),
          gpu({.index = world.rank(), .slab_bytes = 1, .staging_slab_bytes = 4096}),
          context{gpu, gpu.compute()},
          library(make_nccl_library(load_nccl_calls())),
          group(connect_nccl(world, *library, gpu)) {}
};

/// @param faults  may keep ranks from ending
inline void on_gpus(int num_ranks, const std::function<void(GpuRank&)>& body,
                    const emulation::NcclFaults& faults = {},
                    std::chrono::milliseconds deadline = std::chrono::minutes(1)) {
    const GpuMachine machine(num_ranks, faults);
    // The ranks take turns in the emulation. On several processors each turn costs messages between these: the device's memory
    // is opened and closed.
    const OnOneProcessor processor;
    LocalOptions options;
    options.ranks_per_node = 1;  // so that slots are in chunks, by arrival
    options.settings.deadline = deadline;
    LocalFabric(num_ranks, options).run([&](Communicator& world) {
        GpuRank rank(world);
        body(rank);
        rank.group->close();
    });
}

/// What a rank's tokens get from their experts.
struct Outcome {
    std::vector<float> outputs;  ///< [T of this rank, H]
    std::vector<float> scalars;  ///< [T of this rank, K]: 1 and the number of the expert
    ExchangeTraffic traffic;
    bool operator==(const Outcome&) const = default;
};

/// The experts of a chunk, computed by the host between two copies.
template <class T>
void compute_chunk(const SlotChunk& chunk, ConstTensorRef rows, const DispatchPlan& plan,
                   const Indexed<LocalExpertAxis, index_t>& local, TensorRef results,
                   const Context& context) {
    const index_t width = rows.cols();
    if (chunk.slots.size() == 0) return;
    // Others are still on their way.
    const auto read = part<const std::int32_t>(plan.receive.slot_row, chunk.slots);
    const auto [first, last] = std::ranges::minmax_element(read);
    const index_t first_row = *first;
    const HostValues host_rows(HostRead::snapshot, {rows.rows_of({first_row, *last + 1})}, context);
    const MatrixView<const T> values = host<const T>(host_rows[0]);
    std::vector<float> computed(at(chunk.slots.size() * width));
    for (index_t l = 0; l < chunk.experts.num_groups(); ++l) {
        for (index_t i = chunk.experts[l].begin; i < chunk.experts[l].end; ++i) {
            const index_t s = chunk.slots.begin + i;
            for (index_t column = 0; column < width; ++column) {
                const auto v = static_cast<float>(values(plan.receive.slot_row[s] - first_row, column));
                computed[at(i * width + column)] = plan.receive.slot_weight[s] * Problem::apply(local[l], v);
            }
        }
    }
    const Range slots{plan.back.slots.begin + chunk.slots.begin, plan.back.slots.begin + chunk.slots.end};
    context.device.upload(MatrixView<const float>(computed.data(), chunk.slots.size(), width),
                          results.rows_of(slots), context.stream);
}

/// @param factor  of the rows: with one that is no power of two, sums round
template <class T>
Outcome exchange_once(Communicator& group, const Context& context, const Setup& setup, float factor,
                      const Way& way) {
    const Problem problem(setup);
    const Placement placement = problem.placement(group.size());
    const Range mine = problem.tokens_of(group.rank(), group.size());
    const auto exchange = make_exchange(way.kind, group, way.topology(group.size()), context);
    const DispatchPlan plan =
        exchange->plan(problem.choices(mine), placement, setup.return_rows, setup.chunks);
    std::vector<T> x;
    for (index_t i = mine.begin * setup.hidden; i < mine.end * setup.hidden; ++i)
        x.push_back(T(problem.x[at(i)] * factor));
    PendingRows arriving = exchange->start_dispatch(
        upload(MatrixView<const T>(x.data(), mine.size(), setup.hidden), context), plan);
    const auto local = placement.experts_of(group.rank());
    Tensor results = exchange->make_results(plan, setup.hidden);
    const TensorRef slots = results;
    Tensor arrived;
    std::optional<PendingRows> returning;
    for (const SlotChunk& chunk : plan.receive.chunks) {
        if (!chunk.near) arrived = arriving.wait();
        const ConstTensorRef rows = arrived.empty() ? arriving.near_rows() : std::as_const(arrived).ref();
        compute_chunk<T>(chunk, rows, plan, local, slots, context);
        if (!chunk.near) returning.emplace(exchange->start_return(std::move(results), plan));
    }
    while (!returning->test()) exchange->poll();
    const Tensor back = returning->wait();
    Tensor y(context.device, DType::f32, {mine.size(), setup.hidden});
    combine_returned(back, plan, Write::overwrite, y, context);

    std::vector<float> slot_values;
    for (const SlotChunk& chunk : plan.receive.chunks) {
        for (index_t l = 0; l < chunk.experts.num_groups(); ++l)
            slot_values.insert(slot_values.end(), at(chunk.experts[l].size()),
                               static_cast<float>(local[l] + 1));
    }
    Tensor scalars(context.device, DType::f32, {mine.size(), setup.top_k});
    exchange->return_scalars(upload(std::span<const float>(slot_values), context), plan, scalars);
    Outcome outcome{read_values<float>(y, context), read_values<float>(scalars, context),
                    exchange->traffic()};
    exchange->close();
    return outcome;
}

/// Against the dense computation, and in all bits against rows that go through the host's memory.
template <class T>
void check_exchange(GpuRank& rank, const Setup& setup, const Way& way = {}) {
    const Outcome exact = exchange_once<T>(*rank.group, rank.context, setup, 1.0F, way);
    const Problem problem(setup);
    const Range mine = problem.tokens_of(rank.world.rank(), rank.world.size());
    std::vector<float> expected;
    for (index_t t = mine.begin; t < mine.end; ++t) {
        for (index_t i = 0; i < setup.hidden; ++i) expected.push_back(problem.expected(t, i));
    }
    require_equal<float>(exact.outputs, expected, setup.to_string());
    const index_t before = rank.gpu.num_reads(HostRead::messages);
    const Outcome direct = exchange_once<T>(*rank.group, rank.context, setup, 1.1F, way);
    SY_REQUIRE(rank.gpu.num_reads(HostRead::messages) == before + 1,
               "more than the scalars came to the host");
    Way through_host = way;
    if (way.kind == ExchangeKind::one_sided) through_host.kind = ExchangeKind::flat;
    const Outcome staged = exchange_once<T>(rank.world, rank.context, setup, 1.1F, through_host);
    SY_REQUIRE(direct == staged, setup.to_string(), ": not what comes through the host's memory");
}

inline const std::vector<Setup>& setups() {
    static const std::vector<Setup> all{
        {},
        {.tokens = 70, .experts = 9, .top_k = 4, .experts_on = ExpertsOn::copied},
        {.experts = 3, .experts_on = ExpertsOn::last_rank},
        {.tokens_on = TokensOn::first_rank},
        {.experts = 7, .tokens_on = TokensOn::odd_ranks, .experts_on = ExpertsOn::rotated},
        {.tokens = 0},
        {.tokens = 1},
        {.chosen = Chosen::all_dropped},
        {.tokens = 300, .hidden = 33, .chosen = Chosen::one_expert},
    };
    return all;
}

/// Between two ranks; what is started first is waited for last.
inline void check_two_dispatches(GpuRank& rank, ExchangeKind kind) {
    const Problem problem({.tokens = 60});
    const Range mine = problem.tokens_of(rank.world.rank(), 2);
    const auto exchange = make_exchange(kind, *rank.group, discover_topology(rank.world), rank.context);
    const DispatchPlan plan =
        exchange->plan(problem.choices(mine), problem.placement(2), ReturnRows::per_unit);
    const auto dispatch = [&](float value) {
        const std::vector<float> x(at(mine.size() * 4), value);
        return exchange->start_dispatch(
            upload(MatrixView<const float>(x.data(), mine.size(), 4), rank.context), plan);
    };
    PendingRows first = dispatch(1.0F);
    PendingRows second = dispatch(2.0F);
    for (auto& [pending, value] : {std::pair<PendingRows*, float>{&second, 2.0F}, {&first, 1.0F}}) {
        const Tensor arrived = pending->wait();
        const std::vector<float> rows =
            read_values<float>(arrived.ref().rows_of({0, plan.receive.num_rows()}), rank.context);
        require_equal<float>(rows, std::vector<float>(rows.size(), value), "rows of a dispatch");
    }
    exchange->close();
}

/// Runs it, and returns the message that it must end with.
inline std::string message_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was thrown";
}

}  // namespace sy::test
