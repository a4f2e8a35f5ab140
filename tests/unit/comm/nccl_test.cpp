// Rows and gradients from GPU to GPU, on emulated GPUs of ranks that are threads.
// T tokens of a group, K choices, E experts, H hidden.
#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "comm/gradient_sync/gradient_sync.hpp"
#include "comm/gradient_sync/shadow_sync.hpp"
#include "comm/local/local_fabric.hpp"
#include "comm/nccl/gpu_group.hpp"
#include "comm/nccl/nccl_communicator.hpp"
#include "comm/topology/topology.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/nccl/faults.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/support/emulated_gpu.hpp"
#include "tests/support/read_values.hpp"
#include "tests/unit/comm/conformance.hpp"
#include "tests/unit/comm/exchange_problem.hpp"

using namespace sy;
using namespace sy::comm;
using namespace sy::test;

namespace {

/// Faults that a test plants and a device that it may break; all is as before afterwards.
class Machine {
  public:
    explicit Machine(int num_gpus, const emulation::NcclFaults& faults = {}) {
        emulation::options().num_devices = num_gpus;
        emulation::nccl_faults() = faults;
    }
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine() {
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
void on_gpus(int num_ranks, const std::function<void(GpuRank&)>& body,
             const emulation::NcclFaults& faults = {},
             std::chrono::milliseconds deadline = std::chrono::minutes(1)) {
    const Machine machine(num_ranks, faults);
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
    const Outcome staged = exchange_once<T>(rank.world, rank.context, setup, 1.1F, way);
    SY_REQUIRE(direct == staged, setup.to_string(), ": not what comes through the host's memory");
}

const std::vector<Setup>& setups() {
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

/// A plan of matrices that are uneven over the ranks, in two or three buckets.
BucketPlan gradient_plan(int num_ranks) {
    std::vector<FlatMatrix> matrices;
    index_t offset = 0;
    for (const auto& [rows, cols] :
         std::initializer_list<std::pair<index_t, index_t>>{{5, 7}, {1, 9}, {40, 20}, {3, 5}}) {
        matrices.push_back({offset, rows, cols});
        offset += rows * cols;
    }
    return make_bucket_plan(matrices, num_ranks, 100);
}

template <class T>
T gradient_of(int rank, index_t i) {
    const float draw =
        normal({5, 0, static_cast<std::uint32_t>(rank), RandomPurpose::test}, static_cast<std::uint64_t>(i));
    if constexpr (std::is_same_v<T, float>) {
        return draw * (i % 3 == 0 ? 1e-4F : 1e2F);
    } else {
        return static_cast<T>(static_cast<double>(draw) * 0x1p55);
    }
}

/// Sums in ascending rank order to the bit, and weights that reach all.
template <class T>
void check_gradients(GpuRank& rank) {
    const int size = rank.world.size();
    const BucketPlan plan = gradient_plan(size);
    const index_t elements = plan.matrices.back().offset + 15;
    std::vector<T> values;
    for (index_t i = 0; i < elements; ++i) values.push_back(gradient_of<T>(rank.world.rank(), i));
    Tensor flat = upload(std::span<const T>(values), rank.context);
    GradientSync sync(*rank.group, plan, 10, rank.context);
    for (index_t matrix = plan.matrices.size() - 1; matrix >= 0; --matrix) sync.ready(matrix, flat);
    sync.finish(flat);
    const std::vector<T> found = read_values<T>(flat, rank.context);
    for (const Bucket& bucket : plan.buckets) {
        const Range owned = bucket.elements_of(rank.world.rank());
        for (index_t i = owned.begin; i < owned.end; ++i) {
            T sum = gradient_of<T>(0, i);
            for (int other = 1; other < size; ++other) sum += gradient_of<T>(other, i);
            SY_REQUIRE(found[at(i)] == sum, "element ", i, " is ", found[at(i)], " instead of ", sum);
        }
    }
    SY_REQUIRE(size == 1 || sync.sent_bytes() > 0, "nothing was sent");
}

void check_gathering(GpuRank& rank) {
    const BucketPlan plan = gradient_plan(rank.world.size());
    const index_t elements = plan.matrices.back().offset + 15;
    std::vector<float> whole;
    for (index_t i = 0; i < elements; ++i) whole.push_back(gradient_of<float>(7, i));
    std::vector<float> mine(whole.size(), -1.0F);
    for (const Bucket& bucket : plan.buckets) {
        const Range owned = bucket.elements_of(rank.world.rank());
        std::copy(whole.begin() + owned.begin, whole.begin() + owned.end, mine.begin() + owned.begin);
    }
    Tensor weights = upload(std::span<const float>(mine), rank.context);
    GradientSync(*rank.group, plan, 10, rank.context).gather(weights);
    require_equal<float>(read_values<float>(weights, rank.context), whole, "gathered weights");
}

/// A matrix of rank 0 that all ranks hold.
void check_shadows(GpuRank& rank) {
    std::vector<int> holders;
    for (int holder = 0; holder < rank.world.size(); ++holder) holders.push_back(holder);
    Indexed<SetAxis, std::vector<CopiedMatrix>> sets(1);
    sets[0].push_back({2, 11, 0, holders});
    std::vector<float> values;
    for (index_t i = 0; i < 20; ++i) values.push_back(gradient_of<float>(rank.world.rank(), i));
    Tensor flat = upload(std::span<const float>(values), rank.context);
    ShadowSync sync(*rank.group, sets, 10, rank.context);
    sync.start(0, flat);
    while (!sync.try_finish(0, flat)) continue;
    sync.finish(flat);
    sync.spread(flat);
    for (index_t i = 2; i < 13; ++i) {
        values[at(i)] = gradient_of<float>(0, i);
        for (int other = 1; other < rank.world.size(); ++other) values[at(i)] += gradient_of<float>(other, i);
    }
    require_equal<float>(read_values<float>(flat, rank.context), values, "sums over copies");
}

/// A stream waits for rows, and the host for something else.
void dispatch_and_wait(GpuRank& rank) {
    const int other = 1 - rank.world.rank();
    Tensor rows(rank.gpu, DType::f32, {2, 100});
    RowMessages messages(*rank.group, 1, device_messages(*rank.group), rank.context);
    messages.receive(rows.ref().rows_of({0, 1}), other);
    messages.send(rows.ref().rows_of({1, 2}), other);
    messages.start();
    messages.wait("nothing, as the stream does");
    for (;;) rank.world.poll_all("test");
}

/// Runs it, and returns the message that it must end with.
std::string message_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const CommError& error) {
        return error.what();
    }
    return "nothing was thrown";
}

}  // namespace

TEST_CASE("nccl: an exchange from GPU to GPU gives the dense computation, and the bits of the staged one",
          "[unit]") {
    const int num_ranks = GENERATE(1, 2, 4);
    const std::uint64_t max_delay = GENERATE(0U, 7U);
    on_gpus(num_ranks,
            [](GpuRank& rank) {
                for (Setup setup : setups()) {
                    setup.chunks = SlotChunks::one;
                    check_exchange<bf16>(rank, setup);
                    setup.return_rows = ReturnRows::per_choice;
                    setup.chunks = SlotChunks::by_arrival;
                    check_exchange<float>(rank, setup);
                }
            },
            {.max_delay = max_delay});
}

TEST_CASE("nccl: rows that cross the network once to a node are passed on from GPU to GPU", "[unit]") {
    const int num_ranks = GENERATE(2, 4);
    const int ranks_of_node = GENERATE(2, 3);
    on_gpus(num_ranks,
            [&](GpuRank& rank) {
                const Way way{ExchangeKind::hierarchical, ranks_of_node};
                for (Setup setup : setups()) {
                    setup.chunks = SlotChunks::one;
                    check_exchange<bf16>(rank, setup, way);
                    setup.return_rows = ReturnRows::per_choice;
                    setup.chunks = SlotChunks::by_arrival;
                    check_exchange<float>(rank, setup, way);
                    // Sums have the order of the shared memory of processors.
                    setup.return_rows = ReturnRows::per_unit;
                    const Outcome relayed = exchange_once<float>(*rank.group, rank.context, setup, 1.1F, way);
                    CpuDevice processor(1);
                    const Context host{processor, processor.compute()};
                    const Outcome shared = exchange_once<float>(rank.world, host, setup, 1.1F, way);
                    require_equal<float>(relayed.outputs, shared.outputs, setup.to_string());
                    SY_REQUIRE(relayed.traffic.network == shared.traffic.network, setup.to_string(),
                               ": other rows cross the network");
                }
            },
            {.max_delay = 7});
}

TEST_CASE("nccl: gradients are added in ascending rank order, integers exactly, and weights reach all",
          "[unit]") {
    on_gpus(GENERATE(1, 2, 3), [](GpuRank& rank) {
        check_gradients<float>(rank);
        check_gradients<std::int64_t>(rank);
        check_gathering(rank);
        check_shadows(rank);
    });
}

TEST_CASE("nccl: two dispatches under way do not mix", "[unit]") {
    on_gpus(2, [](GpuRank& rank) {
        const Problem problem({.tokens = 60});
        const Range mine = problem.tokens_of(rank.world.rank(), 2);
        const auto exchange =
            make_exchange(ExchangeKind::flat, *rank.group, discover_topology(rank.world), rank.context);
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
            const std::vector<float> rows = read_values<float>(pending->wait(), rank.context);
            require_equal<float>(rows, std::vector<float>(rows.size(), value), "rows of a dispatch");
        }
    });
}

TEST_CASE("nccl: a GPU that hangs ends in the time-out of the wait for it", "[unit][fault]") {
    const int silent_rank = GENERATE(0, 1);
    const auto deadline = std::chrono::milliseconds(300);
    const auto nothing = [](GpuRank&) {};
    CHECK_THAT(message_of([&] { on_gpus(2, nothing, {.silent_rank = silent_rank}, deadline); }),
               Catch::StartsWith("first message between GPUs on world rank ") &&
                   Catch::Contains("rows between GPUs, to ranks "));
    CHECK_THAT(message_of([&] { on_gpus(2, nothing, {.absent_rank = silent_rank}, deadline); }),
               Catch::StartsWith("connecting of GPUs by NCCL on world rank "));
    CHECK_THAT(message_of([&] {
                   on_gpus(2, dispatch_and_wait, {.silent_rank = silent_rank, .operation = 1}, deadline);
               }),
               Catch::StartsWith("wait for rows between GPUs on world rank ") &&
                   Catch::Contains("nothing after ") && Catch::Contains("(400 bytes), from ranks "));
}

TEST_CASE("nccl: an error of NCCL is told in its words", "[unit][fault]") {
    // The first operation connects the ranks; the second is the dispatch.
    CHECK_THAT(message_of([&] { on_gpus(2, dispatch_and_wait, {.failing_rank = 1, .operation = 1}); }),
               Catch::StartsWith("rows between GPUs, to ranks ") && Catch::Contains("ncclGroupEnd") &&
                   (Catch::Contains("unhandled system error") || Catch::Contains("remote process exited")));
}

TEST_CASE("nccl: two ranks on one GPU, and rows that are not the GPU's, are refused", "[unit]") {
    CHECK_THAT(message_of([] {
                   const Machine machine(1);
                   LocalFabric(2, {}).run([](Communicator& world) {
                       EmulatedGpu gpu;
                       const auto library = make_nccl_library(load_nccl_calls());
                       connect_nccl(world, *library, gpu);
                   });
               }),
               Catch::Contains("invalid usage") && Catch::Contains("start one rank a GPU"));
}

TEST_CASE("nccl: without the module of CUDA rows are said to go through the host's memory", "[unit]") {
    LocalFabric(2, {}).run([](Communicator& world) {
        const NcclChoice choice = load_nccl(world);
        SY_REQUIRE(choice.library == nullptr, "there is no module here");
        SY_REQUIRE(choice.note.find("as rank 0 has no NCCL") != std::string::npos, choice.note);
    });
}
