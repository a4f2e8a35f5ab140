// Collectives, the exchange and gradient synchronisation on ranks that are threads, against serial computations.
#include <catch2/catch.hpp>

#include <numeric>

#include "comm/collectives.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/gradient_sync/gradient_sync.hpp"
#include "comm/local/local_fabric.hpp"
#include "comm/topology/topology.hpp"
#include "tests/support/session.hpp"

using namespace sy;
using namespace sy::comm;
using test::TestMatrix;
using test::TestSession;

namespace {

LocalOptions delayed() {
    LocalOptions options;
    options.faults.max_delay = std::chrono::microseconds(300);
    return options;
}

}  // namespace

TEST_CASE("collectives: agree with a serial computation on 1, 2, 3, 4 and 8 ranks, also with late messages",
          "[unit]") {
    const int ranks = GENERATE(1, 2, 3, 4, 8);
    const bool late = GENERATE(false, true);
    const int count = GENERATE(0, 1, 5, 9001);
    LocalFabric fabric(ranks, late ? delayed() : LocalOptions{});
    std::vector<std::vector<std::int64_t>> results(static_cast<std::size_t>(ranks));
    fabric.run([&](Communicator& world) {
        std::vector<std::int64_t>& result = results[static_cast<std::size_t>(world.rank())];
        std::vector<std::int64_t> values;
        for (int i = 0; i < count; ++i) values.push_back((world.rank() + 1) * 1000 + i);
        std::vector<std::int64_t> sum = values;
        all_reduce(world, std::span<std::int64_t>(sum));
        std::vector<std::int64_t> before = values;
        const std::vector<std::int64_t> totals = exscan(world, std::span<std::int64_t>(before));
        std::vector<std::int64_t> from_last = values;
        broadcast(world, std::span<std::int64_t>(from_last), ranks - 1);
        barrier(world);
        for (const auto& part : {sum, totals, before, from_last})
            result.insert(result.end(), part.begin(), part.end());
        const std::vector<std::string> names =
            all_gather(world, std::string(static_cast<std::size_t>(world.rank()), 'x'));
        for (const std::string& name : names) result.push_back(static_cast<std::int64_t>(name.size()));
    });
    for (int rank = 0; rank < ranks; ++rank) {
        const std::vector<std::int64_t>& result = results[static_cast<std::size_t>(rank)];
        REQUIRE(result.size() == static_cast<std::size_t>(4 * count + ranks));
        bool good = true;
        for (int i = 0; i < count; ++i) {
            std::int64_t total = 0;
            std::int64_t lower = 0;
            for (int other = 0; other < ranks; ++other) {
                total += (other + 1) * 1000 + i;
                if (other < rank) lower += (other + 1) * 1000 + i;
            }
            const auto at = [&](int part) { return result[static_cast<std::size_t>(part * count + i)]; };
            good = good && at(0) == total && at(1) == total && at(2) == lower && at(3) == ranks * 1000 + i;
        }
        CHECK(good);
        for (int other = 0; other < ranks; ++other)
            CHECK(result[static_cast<std::size_t>(4 * count + other)] == other);
    }
}

TEST_CASE("collectives: the reproducible sum has the same bits however the addends are dealt out", "[unit]") {
    std::vector<double> addends;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        addends.push_back(static_cast<double>(normal({3, 0, 0, RandomPurpose::test}, i)) *
                          (i % 7 == 0 ? 1e-9 : 1e3));
    }
    std::vector<double> sums;
    for (const int ranks : {1, 2, 3, 8}) {
        LocalFabric(ranks).run([&](Communicator& world) {
            const Range part = part_of(1000, ranks, world.rank());
            const double sum = reproducible_sum(
                world, std::span<const double>(addends).subspan(static_cast<std::size_t>(part.begin),
                                                                static_cast<std::size_t>(part.size())));
            if (world.rank() == 0) sums.push_back(sum);
        });
    }
    double plain = 0.0;
    for (const double value : addends) plain += value;
    CHECK(sums[0] == Approx(plain).epsilon(1e-12));
    for (const double sum : sums) CHECK(sum == sums[0]);
}

TEST_CASE("communicator: a rank that never comes is named when the deadline passes", "[unit]") {
    LocalOptions options;
    options.settings.deadline = std::chrono::milliseconds(50);
    std::string text;
    try {
        LocalFabric(2, options).run([](Communicator& world) {
            if (world.rank() == 1) return;
            std::vector<std::byte> bytes(10);
            std::vector<std::unique_ptr<Request>> requests;
            requests.push_back(world.receive(bytes, 1, 7));
            wait_all(world, requests, "a test");
        });
    } catch (const TimeoutError& error) {
        text = error.what();
    }
    CHECK(text.find("receive of 10 bytes from rank 1, tag 7") != std::string::npos);
}

TEST_CASE("local fabric: a failing rank releases the others and its error is the one reported", "[unit]") {
    LocalOptions options;
    options.faults.failing_rank = 2;
    options.faults.failing_operation = 3;
    std::string text;
    try {
        LocalFabric(4, options).run([](Communicator& world) {
            for (int i = 0; i < 10; ++i) barrier(world);
        });
    } catch (const CommError& error) {
        text = error.what();
    }
    CHECK(text.find("rank 2 fails at operation 3") != std::string::npos);
}

TEST_CASE("topology: nodes and the process grid follow the ranks", "[unit]") {
    LocalOptions options;
    options.ranks_per_node = 2;
    LocalFabric(6, options).run([](Communicator& world) {
        const Topology topology = discover_topology(world);
        SY_REQUIRE(topology.node_of_rank == std::vector<int>({0, 0, 1, 1, 2, 2}), topology.to_string());
        GridCommunicators groups = split_grid(world, make_process_grid(6, 3));
        SY_REQUIRE(groups.expert_group->size() == 3 && groups.expert_group->rank() == world.rank() % 3,
                   "expert group");
        SY_REQUIRE(groups.replica_group->size() == 2 && groups.replica_group->rank() == world.rank() / 3,
                   "replica group");
        groups.close();
    });
    CHECK_THROWS_AS(make_process_grid(6, 4), ConfigError);
}

namespace {

/// The choices of tokens [first, first + count): pseudo-random experts, some dropped.
struct Drawn {
    std::vector<std::int32_t> expert;
    std::vector<float> weight;
    std::vector<std::uint8_t> kept;
    Choices choices;

    Drawn(index_t first, index_t count, index_t top_k, index_t experts) {
        for (index_t t = first; t < first + count; ++t) {
            for (index_t j = 0; j < top_k; ++j) {
                const auto counter = static_cast<std::uint64_t>(t * top_k + j);
                const float u = uniform({9, 0, 0, RandomPurpose::test}, counter);
                expert.push_back((static_cast<std::int32_t>(u * static_cast<float>(experts)) +
                                  static_cast<std::int32_t>(j) * 2) %
                                 static_cast<std::int32_t>(experts));
                weight.push_back(0.125F * static_cast<float>(1 + counter % 8));
                kept.push_back(u < 0.85F ? 1 : 0);
            }
        }
        choices = {{expert.data(), count, top_k}, {weight.data(), count, top_k}, {kept.data(), count, top_k}};
    }
};

}  // namespace

TEST_CASE(
    "exchange: rows reach their experts once a rank, come back weighted, and sums do not show the layout",
    "[unit]") {
    const index_t experts = GENERATE(7, 2, 8);
    const auto mode = GENERATE(ReturnRows::per_rank, ReturnRows::per_choice);
    constexpr index_t kTokens = 40;
    constexpr index_t kTopK = 2;
    constexpr index_t kHidden = 18;
    const TestMatrix x(kTokens, kHidden, 1);
    std::vector<float> first_result;
    for (const int ranks : {1, 2, 3, 4, 8}) {
        TestMatrix y(kTokens, kHidden);
        TestMatrix scalars(kTokens, kTopK);
        std::vector<index_t> rows_sent(static_cast<std::size_t>(ranks));
        LocalFabric(ranks, delayed()).run([&](Communicator& world) {
            TestSession session(1);
            const Placement placement = block_placement(experts, ranks);
            const Range mine = part_of(kTokens, ranks, world.rank());
            const Drawn drawn(mine.begin, mine.size(), kTopK, experts);
            const auto exchange = make_flat_exchange(world, session.context);
            const DispatchPlan plan = exchange->plan(drawn.choices, placement, mode);
            Tensor rows = exchange->start_dispatch(x.view().rows_of(mine), plan).wait();
            // Expert e multiplies by (e + 1) and the weight: exactly representable factors.
            const std::vector<index_t> local = placement.experts_of(world.rank());
            TestMatrix slots(plan.receive.num_slots(), kHidden);
            std::vector<float> slot_values;
            for (std::size_t l = 0; l < local.size(); ++l) {
                for (index_t s = plan.receive.expert_offsets[l]; s < plan.receive.expert_offsets[l + 1];
                     ++s) {
                    const auto at = static_cast<std::size_t>(s);
                    for (index_t i = 0; i < kHidden; ++i) {
                        slots.view()(s, i) = plan.receive.slot_weight[at] * static_cast<float>(local[l] + 1) *
                                             rows.matrix<float>()(plan.receive.slot_row[at], i);
                    }
                    slot_values.push_back(static_cast<float>(local[l]));
                }
            }
            Tensor back = exchange->start_return(slots.view(), plan).wait();
            combine_returned(back.matrix<float>(), plan, Combine::overwrite, y.view().rows_of(mine),
                             session.context);
            exchange->return_scalars(slot_values, plan, scalars.view().rows_of(mine));
            rows_sent[static_cast<std::size_t>(world.rank())] = plan.send.num_rows();
        });
        const Drawn all(0, kTokens, kTopK, experts);
        const Placement placement = block_placement(experts, ranks);
        index_t expected_rows = 0;
        double worst = 0.0;
        for (index_t t = 0; t < kTokens; ++t) {
            std::vector<bool> seen(static_cast<std::size_t>(ranks), false);
            for (index_t j = 0; j < kTopK; ++j) {
                const std::int32_t expert = all.choices.expert(t, j);
                const bool kept = all.choices.kept(t, j) != 0;
                CHECK(scalars.view()(t, j) == (kept ? static_cast<float>(expert) : 0.0F));
                if (kept) seen[static_cast<std::size_t>(placement.rank_of(expert))] = true;
            }
            expected_rows += std::count(seen.begin(), seen.end(), true);
            for (index_t i = 0; i < kHidden; ++i) {
                double expected = 0.0;
                for (index_t j = 0; j < kTopK; ++j) {
                    if (all.choices.kept(t, j) == 0) continue;
                    expected += static_cast<double>(all.choices.weight(t, j)) *
                                (all.choices.expert(t, j) + 1) * static_cast<double>(x.view()(t, i));
                }
                worst = std::max(worst, std::fabs(expected - static_cast<double>(y.view()(t, i))));
            }
        }
        CHECK(worst < 1e-4);
        CHECK(std::accumulate(rows_sent.begin(), rows_sent.end(), index_t{0}) == expected_rows);
        if (first_result.empty()) first_result = y.values;
        if (mode == ReturnRows::per_choice) CHECK(y.values == first_result);
    }
}

TEST_CASE("dispatch plan: a record that cannot be is refused and its sender named", "[unit]") {
    const std::vector<index_t> offsets{0, 1, 2};
    const std::vector<SlotRecord> records{{0, 0, 0, 0, 1.0F}, {5, 0, 0, 0, 1.0F}};
    CHECK_THROWS_WITH(make_receive_plan(offsets, offsets, records, block_placement(4, 2), 0),
                      Catch::Contains("rank 1 sent record 0"));
}

TEST_CASE("gradient sync: slices cover every row once and hold the sum over ranks; gather restores the whole",
          "[unit]") {
    const int ranks = GENERATE(1, 2, 3, 8);
    const std::vector<FlatMatrix> matrices{{0, 5, 7}, {35, 1, 9}, {44, 30, 4}, {164, 2, 11}};
    const BucketPlan plan = make_bucket_plan(matrices, ranks, 50);
    std::vector<int> owners(186, 0);
    for (int rank = 0; rank < ranks; ++rank) {
        for (const RowRange& range : plan.rows_of(rank)) {
            const FlatMatrix& matrix = matrices[static_cast<std::size_t>(range.matrix)];
            for (index_t i = range.rows.begin * matrix.cols; i < range.rows.end * matrix.cols; ++i) {
                ++owners[static_cast<std::size_t>(matrix.offset + i)];
            }
        }
    }
    CHECK(owners == std::vector<int>(186, 1));
    std::vector<std::int64_t> whole(186, 0);
    LocalFabric(ranks, delayed()).run([&](Communicator& world) {
        TestSession session(1);
        GradientSync sync(world, plan, 0, session.context);
        for (int round = 0; round < 2; ++round) {
            std::vector<std::int64_t> gradient(186);
            for (std::size_t i = 0; i < 186; ++i)
                gradient[i] = static_cast<std::int64_t>(i) * (world.rank() + 1);
            for (const index_t matrix : {3, 1, 2, 0})
                sync.ready(matrix, std::span<const std::int64_t>(gradient));
            sync.finish(std::span<std::int64_t>(gradient));
            std::vector<float> weights(186, -1.0F);
            for (const RowRange& range : plan.rows_of(world.rank())) {
                const FlatMatrix& matrix = matrices[static_cast<std::size_t>(range.matrix)];
                for (index_t i = matrix.offset + range.rows.begin * matrix.cols;
                     i < matrix.offset + range.rows.end * matrix.cols; ++i)
                    weights[static_cast<std::size_t>(i)] =
                        static_cast<float>(gradient[static_cast<std::size_t>(i)]);
            }
            sync.gather(std::span<float>(weights));
            for (std::size_t i = 0; i < 186; ++i) {
                const auto expected = static_cast<float>(static_cast<int>(i) * ranks * (ranks + 1) / 2);
                SY_REQUIRE(weights[i] == expected, "element ", i, " is ", weights[i], " instead of ",
                           expected);
            }
        }
    });
}
