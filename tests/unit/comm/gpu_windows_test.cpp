// Rows that GPUs put into each other's memory, on emulated GPUs of ranks that are threads.
#include "comm/nccl/window_calls.hpp"
#include "tests/unit/comm/gpu_ranks.hpp"

using namespace sy;
using namespace sy::comm;
using namespace sy::test;

namespace {

constexpr Way kOneSided{ExchangeKind::one_sided, 4};
constexpr auto kShort = std::chrono::milliseconds(300);

std::unique_ptr<DeviceWindows> make_windows(GpuRank& rank) {
    WindowedGroup* const group = windowed_group(*rank.group);
    SY_REQUIRE(group != nullptr, "NCCL connects GPUs");
    return group->make_windows(rank.context);
}

/// Rows [2, 100] of a window, of which the first comes from the other rank; the second is sent there.
class OneMessage {
  public:
    OneMessage(GpuRank& rank, DeviceWindows& windows)
        : windows_(windows), arena_(4096, [&](index_t bytes) { return windows.open(bytes); }) {
        rows_ = Tensor(arena_, DType::f32, {2, 100});
        const std::vector<float> values(100, static_cast<float>(rank.world.rank() + 1));
        rank.gpu.upload(MatrixView<const float>(values.data(), 1, 100), rows_.ref().rows_of({1, 2}),
                        rank.context.stream);
    }
    std::unique_ptr<DeviceTransfer> start(GpuRank& rank) {
        const int other = 1 - rank.world.rank();
        const DeviceMessages::Outgoing sent[]{{std::as_const(rows_).ref().rows_of({1, 2}), other}};
        const DeviceMessages::Incoming received[]{{rows_.ref().rows_of({0, 1}), other}};
        return windows_.start(sent, received, rank.context);
    }
    void wait(GpuRank& rank, std::unique_ptr<DeviceTransfer> transfer) {
        rank.context.stream.wait(transfer->arrival());
        windows_.watch(std::move(transfer));
    }
    std::vector<float> received(GpuRank& rank) const {
        return read_values<float>(rows_.ref().rows_of({0, 1}), rank.context);
    }

  private:
    DeviceWindows& windows_;
    Arena arena_;
    Tensor rows_;
};

/// Rank 0 puts rows for rank 1, which never does.
void put_without_answer(GpuRank& rank, const std::function<void(GpuRank&, OneMessage&)>& body) {
    const auto windows = make_windows(rank);
    OneMessage message(rank, *windows);
    if (rank.world.rank() == 0) body(rank, message);
    for (;;) rank.world.poll_all("test");
}

}  // namespace

TEST_CASE("one-sided on GPUs: the dense computation, and the bits of rows through the host's memory",
          "[unit]") {
    const int num_ranks = GENERATE(1, 2, 4);
    on_gpus(num_ranks, [](GpuRank& rank) {
        for (Setup setup : setups()) {
            setup.chunks = SlotChunks::one;
            check_exchange<bf16>(rank, setup, kOneSided);
            setup.return_rows = ReturnRows::per_choice;
            setup.chunks = SlotChunks::by_arrival;
            check_exchange<float>(rank, setup, kOneSided);
            setup.hidden = 32;  // pieces of 16 bytes
            check_exchange<bf16>(rank, setup, kOneSided);
        }
    });
}

TEST_CASE("one-sided on GPUs: two dispatches under way do not mix", "[unit]") {
    on_gpus(2, [](GpuRank& rank) { check_two_dispatches(rank, ExchangeKind::one_sided); });
}

TEST_CASE("one-sided on GPUs: windows grow with what comes, and not in the steady state", "[unit]") {
    on_gpus(3, [](GpuRank& rank) {
        const auto exchange =
            make_exchange(ExchangeKind::one_sided, *rank.group, kOneSided.topology(3), rank.context);
        // All rows go to one rank, so that ranks have more and less.
        const Problem problem({.tokens = 60, .experts = 3, .experts_on = ExpertsOn::last_rank});
        const Range mine = problem.tokens_of(rank.world.rank(), 3);
        const auto round_trip = [&](index_t width) {
            const DispatchPlan plan =
                exchange->plan(problem.choices(mine), problem.placement(3), ReturnRows::per_unit);
            std::int64_t most[]{plan.receive.num_rows()};
            all_reduce(rank.world, std::span<std::int64_t>(most), ReduceOp::max);
            SY_REQUIRE(plan.most.rows == most[0] && most[0] > 40, "the busiest rank has ", plan.most.rows,
                       " rows, not ", most[0]);
            const std::vector<float> x(at(mine.size() * width), 1.0F);
            const Tensor rows =
                exchange
                    ->start_dispatch(
                        upload(MatrixView<const float>(x.data(), mine.size(), width), rank.context), plan)
                    .wait();
            return exchange->start_return(exchange->make_results(plan, width), plan).wait();
        };
        round_trip(16);
        const index_t first = exchange->reachable_bytes();
        for (int round = 0; round < 10; ++round) round_trip(16);
        SY_REQUIRE(first > 0 && exchange->reachable_bytes() == first, "windows grew from ", first, " to ",
                   exchange->reachable_bytes(), " bytes");
        round_trip(40000);
        SY_REQUIRE(exchange->reachable_bytes() > first, "windows did not grow");
        exchange->close();
    });
}

TEST_CASE("one-sided on GPUs: a window takes what a peer puts, and closes", "[unit]") {
    on_gpus(2, [](GpuRank& rank) {
        const auto windows = make_windows(rank);
        // Each in a window of its own.
        OneMessage first(rank, *windows);
        OneMessage second(rank, *windows);
        for (OneMessage* message : {&first, &first, &second, &first}) {
            message->wait(rank, message->start(rank));
            const std::vector<float> found = message->received(rank);
            require_equal<float>(found, std::vector<float>(100, static_cast<float>(2 - rank.world.rank())),
                                 "rows of the other rank");
        }
        windows->close();
    });
}

TEST_CASE("one-sided on GPUs: a peer that does not answer ends in the time-out of the wait for it",
          "[unit][fault]") {
    CHECK_THAT(message_of([] {
                   on_gpus(
                       2,
                       [](GpuRank& rank) {
                           put_without_answer(rank, [](GpuRank& self, OneMessage& message) {
                               message.wait(self, message.start(self));
                           });
                       },
                       {}, kShort);
               }),
               Catch::StartsWith("wait for rows between GPUs on world rank 0 of 2: nothing after ") &&
                   Catch::Contains("rows put by GPUs, to ranks 1 (400 bytes), from ranks 1 (400 bytes)"));
}

TEST_CASE("one-sided on GPUs: a kernel gives up by its own clock where the host waits for it",
          "[unit][fault]") {
    CHECK_THAT(
        message_of([] {
            on_gpus(
                2,
                [](GpuRank& rank) {
                    put_without_answer(rank, [](GpuRank& self, OneMessage& message) {
                        const std::unique_ptr<DeviceTransfer> transfer = message.start(self);
                        self.context.stream.wait(transfer->arrival());
                        self.context.stream.synchronise(std::chrono::seconds(30));
                        static_cast<void>(transfer->test());
                    });
                },
                {}, kShort);
        }),
        Catch::StartsWith("rows put by GPUs, to ranks 1") &&
            Catch::Contains("the GPU of rank 0 has waited 1300 ms for that of rank 1, and has given up"));
}

TEST_CASE("one-sided on GPUs: what cannot be is refused with the reason", "[unit]") {
    CHECK_THAT(message_of([] { on_gpus(2, [](GpuRank& rank) { make_windows(rank); }, {.lsa_ranks = 1}); }),
               Catch::StartsWith("rank 0 of world has no memory for rows that other GPUs put there: ") &&
                   Catch::Contains("reaches the memory of 1 of the 2 GPUs of its group"));
    CHECK_THAT(message_of([] {
                   on_gpus(2, [](GpuRank& rank) {
                       make_exchange(ExchangeKind::one_sided, rank.world, kOneSided.topology(2),
                                     rank.context);
                   });
               }),
               Catch::Contains("by NCCL, which does not connect world"));
    CHECK_THAT(
        message_of([] { on_gpus(2, [](GpuRank& rank) { make_windows(rank)->open(index_t{1} << 40); }); }),
        Catch::Contains("ncclMemAlloc of 1099511627776 bytes for rows of other GPUs, beside 4096"));
    CHECK_THAT(message_of([] {
                   on_gpus(2, [](GpuRank& rank) {
                       const auto windows = make_windows(rank);
                       Tensor outside(rank.gpu, DType::f32, {1, 100});
                       const DeviceMessages::Incoming received[]{{outside, 1 - rank.world.rank()}};
                       windows->start({}, received, rank.context);
                   });
               }),
               Catch::Contains("rows of 400 bytes from another GPU are in no window"));
    CHECK(window_problem(23203, 23200).empty());
    CHECK_THAT(window_problem(22809, 23203),
               Catch::Contains("it is of version 2.28, and kernels were compiled for the windows of 2.32"));
}
