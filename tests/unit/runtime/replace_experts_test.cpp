// Experts that change their ranks between steps, and copies of them that help to compute: neither shows in the result.
#include <catch2/catch.hpp>

#include <array>
#include <tuple>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "runtime/train/expert_moves.hpp"
#include "tests/unit/comm/conformance.hpp"
#include "tests/unit/model/layouts.hpp"

using namespace sy;
using namespace sy::model;
using test::Draws;

namespace {

/// Any placement: every expert anywhere, with any number of shadows.
comm::Placement random_placement(index_t num_experts, int num_ranks, Draws& draws) {
    PerExpert<int> rank_of_expert;
    std::vector<comm::Shadow> shadows;
    for (index_t expert = 0; expert < num_experts; ++expert) {
        rank_of_expert.push_back(static_cast<int>(draws.below(num_ranks)));
        for (int rank = 0; rank < num_ranks; ++rank) {
            if (rank != rank_of_expert.back() && draws.below(3) == 0) shadows.push_back({expert, rank});
        }
    }
    return comm::Placement(std::move(rank_of_expert), num_ranks, std::move(shadows));
}

comm::Placements random_placements(const comm::Placements& like, std::uint64_t seed) {
    Draws draws(seed);
    comm::Placements placements;
    for (const auto& [layer, placement] : like)
        placements.emplace(layer, random_placement(placement.num_experts(), placement.num_ranks(), draws));
    return placements;
}

/// Training in which experts change their ranks and get shadows every few steps.
struct Moved {
    test::History history;
    index_t num_shadows = 0;  ///< over all moves
};

Moved train_with_moves(test::Layout layout, test::Training training, index_t every) {
    Moved moved;
    training.after_step = [&](test::Rank& rank, runtime::ShardedOptimizer& optimizer, index_t step) {
        if (step % every != 0) return;
        optimizer.replace_experts(
            random_placements(rank.parameters.placements(), 100 + static_cast<std::uint64_t>(step)));
        if (rank.world.world.rank() != 0) return;
        for (const auto& [layer, placement] : rank.parameters.placements())
            moved.num_shadows += placement.num_shadows();
    };
    moved.history = test::train(layout, training);
    return moved;
}

}  // namespace

TEST_CASE("replace experts: in reproducible mode neither moves nor shadows change a bit", "[unit]") {
    test::Training training{.steps = 20};
    training.moe.layers = "all";
    training.moe.capacity_factor = 0.9;
    training.moe.jitter = 0.05;
    training.config.dtype = GENERATE(DType::f32, DType::bf16);
    training.config.recompute = training.config.dtype == DType::f32 ? Recompute::block : Recompute::none;
    const test::History reference = test::train({}, training);
    CHECK(reference.loss.back() < reference.loss.front());
    for (const test::Layout& layout : test::kLayouts) {
        INFO(layout);
        const Moved moved = train_with_moves(layout, training, 3);
        CHECK(moved.history == reference);
        if (layout.expert_parallel > 1) CHECK(moved.num_shadows > 20);
    }
}

TEST_CASE("replace experts: in fast mode losses agree, and the same moves give the same bits", "[unit]") {
    const test::Training training{.steps = 8, .numerics = NumericsMode::fast};
    const test::History reference = test::train({}, training);
    for (const test::Layout& layout : test::kLayouts) {
        INFO(layout);
        const test::History moved = train_with_moves(layout, training, 2).history;
        for (std::size_t i = 0; i < 8; ++i) {
            CHECK(moved.loss[i] == Approx(reference.loss[i]).epsilon(1e-5));
            CHECK(moved.norm[i] == Approx(reference.norm[i]).epsilon(1e-4));
        }
        CHECK(moved.hash[0] == reference.hash[0]);
        CHECK(train_with_moves(layout, training, 2).history == moved);
    }
}

TEST_CASE("replace experts: evaluation and generation do not see it either", "[unit]") {
    const test::Training model;
    comm::LocalFabric(3).run([&](comm::Communicator& world) {
        test::Rank rank(world, 3, model.numerics, model.config, model.moe);
        runtime::ShardedOptimizer optimizer({}, rank.parameters, world, rank.groups, rank.session.context);
        const std::vector<std::int32_t> ids = test::tokens(2 * world.rank(), 2, model.config);
        const BatchInfo batch{2 * world.rank() * model.config.seq_len, 6 * model.config.seq_len, 0, 0, 1};
        const auto evaluate = [&] {
            return rank.transformer.evaluate(ids, batch, rank.session.context).total;
        };
        const auto decode = [&] {
            Transformer::Generation state = rank.transformer.start_generation(2, 4, rank.session.context);
            std::vector<float> all;
            for (index_t t = 0; t < 4; ++t) {
                const std::int32_t column[] = {ids[static_cast<std::size_t>(t)],
                                               ids[static_cast<std::size_t>(t) + 5]};
                const Tensor logits = rank.transformer.decode(column, state, rank.session.context);
                all.insert(all.end(), logits.values<float>().begin(), logits.values<float>().end());
            }
            return all;
        };
        const double loss = evaluate();
        const std::vector<float> logits = decode();
        for (std::uint64_t seed = 1; seed <= 3; ++seed) {
            optimizer.replace_experts(random_placements(rank.parameters.placements(), seed));
            SY_REQUIRE(evaluate() == loss, "loss ", evaluate(), " instead of ", loss);
            test::require_equal<float>(decode(), logits, "logits");
        }
        rank.groups.close();
    });
}

TEST_CASE("expert moves: everything arrives once, and what stays does not travel", "[unit]") {
    const std::vector<ParameterSpec> specs{
        {.name = "dense", .shape = {30, 7}, .key = {}},
        {.name = "one", .shape = {5, 6, 4}, .key = {{.block = 1}}, .sharding = Sharding::expert},
        {.name = "two", .shape = {5, 4, 10}, .key = {{.block = 1}}, .sharding = Sharding::expert},
        {.name = "other", .shape = {3, 2, 9}, .key = {{.block = 4}}, .sharding = Sharding::expert}};
    const index_t expert = 6 * 4 + 4 * 10;
    const index_t total = 5 * expert + 3 * 2 * 9;
    const comm::Placements before{{1, comm::block_placement(5, 2)}, {4, comm::block_placement(3, 2)}};
    const auto elements = [](const comm::MovePlan& plan) {
        index_t sum = 0;
        for (const comm::Move& move : plan.moves) sum += move.elements();
        return sum;
    };
    // Shadows alone: they get their weights from the primaries later.
    comm::Placements after = before;
    after.at(1) = comm::Placement({0, 0, 0, 1, 1}, 2, {{0, 1}, {4, 0}});
    runtime::ExpertMoves moves = runtime::plan_expert_moves(specs, before, after, {2, 1});
    CHECK(elements(moves.weights) == total);
    CHECK(moves.weights.moved_elements() == 0);
    CHECK(moves.moments.moved_elements() == 0);
    // Two experts change their ranks; with one replica moments go where weights go.
    after.at(1) = comm::Placement({0, 1, 0, 1, 0}, 2, {{0, 1}});
    moves = runtime::plan_expert_moves(specs, before, after, {2, 1});
    CHECK(moves.weights.moved_elements() == 2 * expert);
    CHECK(moves.moments.moved_elements() == 2 * expert);
    // Over replicas moments are cut by rows, each with one owner.
    for (const int replicas : {2, 3}) {
        moves = runtime::plan_expert_moves(specs, before, after, {2, replicas});
        CHECK(moves.weights.moved_elements() == 2 * expert);
        CHECK(elements(moves.moments) == total);
        CHECK(moves.moments.moved_elements() >= 2 * expert);
        CHECK(runtime::plan_expert_moves(specs, after, after, {2, replicas}).moments.moved_elements() == 0);
    }
    CHECK(moves == runtime::plan_expert_moves(specs, before, after, {2, 3}));
    CHECK_THROWS_WITH(runtime::plan_expert_moves(specs, before, {{1, comm::block_placement(5, 2)}}, {2, 1}),
                      Catch::Contains("layer 4 has no placement"));
    after.at(4) = comm::block_placement(4, 2);
    CHECK_THROWS_WITH(runtime::plan_expert_moves(specs, before, after, {2, 1}),
                      Catch::Contains("parameter other of shape [3, 2, 9] for 4 experts on 2 ranks"));
}
