// Rows and gradients from GPU to GPU, on emulated GPUs of ranks that are threads.
// T tokens of a group, K choices, E experts, H hidden.
#include "comm/gradient_sync/gradient_sync.hpp"
#include "comm/gradient_sync/shadow_sync.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "tests/unit/comm/gpu_ranks.hpp"

using namespace sy;
using namespace sy::comm;
using namespace sy::test;

namespace {

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
    on_gpus(2, [](GpuRank& rank) { check_two_dispatches(rank, ExchangeKind::flat); });
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
    // The first of the two to be heard is the one that fails, or its peer, which was about to say where.
    CHECK_THAT(message_of([&] { on_gpus(2, dispatch_and_wait, {.failing_rank = 1, .operation = 1}); }),
               (Catch::StartsWith("rows between GPUs, to ranks ") || Catch::StartsWith("nccl: ")) &&
                   Catch::Contains("ncclGroupEnd") &&
                   (Catch::Contains("unhandled system error") || Catch::Contains("remote process exited")));
}

TEST_CASE("nccl: two ranks on one GPU, and rows that are not the GPU's, are refused", "[unit]") {
    CHECK_THAT(message_of([] {
                   const GpuMachine machine(1);
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
