// moe.router = hash: the table, its loads, and models that route by it.
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "comm/local/local_fabric.hpp"
#include "model/moe/router/problems.hpp"
#include "tests/unit/model/checks.hpp"

using namespace sy;
using namespace sy::model;
using test::Rank;

namespace {

MoeConfig hash_moe(index_t experts, index_t top_k, HashTable kind) {
    MoeConfig moe = test::tiny_moe();
    moe.router = "hash";
    moe.hash = kind;
    moe.experts = experts;
    moe.top_k = top_k;
    moe.balance.switch_loss = 0.0;
    moe.balance.z_loss = 0.0;
    return moe;
}

std::vector<double> table_of(const MoeConfig& moe, const TableInput& in) {
    const auto strategy = make_strategy(moe);
    strategy->make_table(in);
    return {strategy->state().begin(), strategy->state().end()};
}

std::vector<index_t> loads_of(const std::vector<double>& table, const MoeConfig& moe,
                              const std::vector<index_t>& counts) {
    std::vector<index_t> load(static_cast<std::size_t>(moe.experts), 0);
    for (std::size_t i = 0; i < table.size(); ++i)
        load[static_cast<std::size_t>(table[i])] += counts[i / static_cast<std::size_t>(moe.top_k)];
    return load;
}

/// The least highest load of any way to give ids to experts, one each, found by trying all.
index_t best_makespan(const std::vector<index_t>& counts, std::vector<index_t>& load, std::size_t id) {
    if (id == counts.size()) return *std::ranges::max_element(load);
    index_t best = std::accumulate(counts.begin(), counts.end(), index_t{0});
    for (index_t& own : load) {
        own += counts[id];
        best = std::min(best, best_makespan(counts, load, id + 1));
        own -= counts[id];
    }
    return best;
}

using State = std::map<std::string, std::vector<double>>;

/// Evaluates a model on one rank. @param state  set first, if not empty
PassResult evaluate(const MoeConfig& moe, const std::vector<index_t>& counts, State& state) {
    PassResult result;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        const ModelConfig config = test::tiny_model();
        Rank rank(world, 1, NumericsMode::reproducible, config, moe);
        if (!counts.empty()) rank.transformer.set_token_counts(counts);
        if (!state.empty()) rank.transformer.set_router_state(state);
        state = rank.transformer.router_state();
        result = rank.transformer.evaluate(test::tokens(0, 4, config), {0, 4 * config.seq_len, 1, 0, 1},
                                           rank.session.context);
        rank.groups.close();
    });
    return result;
}

std::vector<index_t> skewed_counts(index_t size) {
    std::vector<index_t> counts;
    for (index_t id = 0; id < size; ++id) counts.push_back(1000 / (1 + (id * 7) % size));
    return counts;
}

}  // namespace

TEST_CASE("hash: a random table gives every id K different experts, by seed and layer, all about as often",
          "[unit]") {
    const index_t top_k = GENERATE(1, 2, 6);
    const MoeConfig moe = hash_moe(8, top_k, HashTable::random);
    constexpr index_t kIds = 4000;
    const std::vector<double> table = table_of(moe, {kIds, 1, 5, {}});
    REQUIRE(table.size() == static_cast<std::size_t>(kIds * top_k));
    for (auto id = table.begin(); id != table.end(); id += top_k)
        REQUIRE(std::set<double>(id, id + top_k).size() == static_cast<std::size_t>(top_k));
    const double mean = static_cast<double>(kIds * top_k) / 8.0;
    for (const index_t load : loads_of(table, moe, std::vector<index_t>(kIds, 1)))
        CHECK(std::fabs(static_cast<double>(load) - mean) < 5.0 * std::sqrt(mean));
    const std::vector<index_t> counts(kIds, 3);
    CHECK(table == table_of(moe, {kIds, 1, 5, counts}));
    CHECK(table != table_of(moe, {kIds, 1, 6, {}}));
    CHECK(table != table_of(moe, {kIds, 2, 5, {}}));
    // An id keeps its experts when the vocabulary grows.
    const std::vector<double> larger = table_of(moe, {kIds + 1, 1, 5, {}});
    CHECK(std::equal(table.begin(), table.end(), larger.begin()));
}

TEST_CASE("hash: balanced assigns ids by falling count to the least loaded experts", "[unit]") {
    // By hand: 9 to 0; 7 to 1; 6 (id 1) to 2; 6 (id 4) to 2's 6 < 7 < 9, so 2 again; 5 to 1; 0 to the lowest load, 0.
    const std::vector<index_t> counts{9, 6, 5, 7, 6, 0};
    CHECK(table_of(hash_moe(3, 1, HashTable::balanced), {6, 0, 5, counts}) ==
          std::vector<double>{0, 2, 1, 1, 2, 0});
    // Two each: 9 to 0 1; 7 to 2 0; 6 to 2 1 (7, 9 < 16); 6 to 2 1 (13, 15 < 16); 5 to 0 2 (16, 19 < 21).
    CHECK(table_of(hash_moe(3, 2, HashTable::balanced), {6, 0, 5, counts}) ==
          std::vector<double>{0, 1, 2, 1, 0, 2, 2, 0, 2, 1, 0, 1});
}

TEST_CASE("hash: balanced loads are as near the best as longest-first promises, random ones are not",
          "[unit]") {
    const std::vector<index_t> counts = skewed_counts(10);
    std::vector<index_t> none(3, 0);
    const auto best = static_cast<double>(best_makespan(counts, none, 0));
    const auto highest = [&](HashTable kind) {
        const MoeConfig config = hash_moe(3, 1, kind);
        return static_cast<double>(
            std::ranges::max(loads_of(table_of(config, {10, 0, 5, counts}), config, counts)));
    };
    // Graham (1969): at most 4/3 - 1/(3E) of the optimum.
    CHECK(highest(HashTable::balanced) >= best);
    CHECK(highest(HashTable::balanced) <= (4.0 / 3.0 - 1.0 / 9.0) * best);
    CHECK(highest(HashTable::random) > highest(HashTable::balanced));

    // No two loads differ by more than one id adds, here over many ids: nearly even.
    const std::vector<index_t> many = skewed_counts(500);
    const MoeConfig wide = hash_moe(4, 2, HashTable::balanced);
    const std::vector<index_t> load = loads_of(table_of(wide, {500, 0, 5, many}), wide, many);
    CHECK(std::ranges::max(load) - std::ranges::min(load) <= 2);
}

TEST_CASE("hash: the router has no parameters and no gradient, and K experts weigh 1 / K", "[unit]") {
    const index_t top_k = GENERATE(1, 2);
    const MoeConfig moe = hash_moe(5, top_k, HashTable::random);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::TestSession session;
        const ModelConfig config = test::tiny_model();
        Parameters parameters(mixture_blueprint(config, moe), comm::block_placements({true}, moe.experts, 1),
                              0, DType::f32, session.context);
        LayerContext shared{config, parameters, [](ParameterId) {}};
        const Router router(shared, moe, kFirstMixture, world);
        for (const ParameterSpec& spec : parameters.specs())
            SY_REQUIRE(spec.key.layer.part != Part::mixture, "it has the parameter ", spec.name);
        router.strategy().make_table({config.vocab_size, 0, 5, {}});
        const std::vector<std::int32_t> ids{3, 22, 3, 0};
        PassInfo pass;
        pass.batch = {0, 4, 1, 0, 1};
        pass.ids = ids;
        const test::TestMatrix x(4, config.hidden, 8);
        const Routing routing = router.route(x.view(), pass, session.context);
        SY_REQUIRE(routing.scores.empty() && routing.logits.empty() && routing.lse.empty(), "it has scores");
        const std::span<double> table = router.strategy().state();
        const auto expert = std::as_const(routing.expert).matrix<std::int32_t>();
        const auto weight = std::as_const(routing.weight).matrix<float>();
        for (index_t t = 0; t < 4; ++t) {
            for (index_t j = 0; j < top_k; ++j) {
                const index_t entry = ids[static_cast<std::size_t>(t)] * top_k + j;
                SY_REQUIRE(expert(t, j) == table[static_cast<std::size_t>(entry)], "token ", t, " choice ",
                           j);
                SY_REQUIRE(weight(t, j) == 1.0F / static_cast<float>(top_k), "weight ", weight(t, j));
            }
        }
        test::TestMatrix dx(4, config.hidden, 9);
        router.backward(x.view(), routing, {}, pass, dx.view(), session.context);
        SY_REQUIRE(std::ranges::all_of(dx.values, [](float value) { return value == 0.0F; }), "a gradient");
    });
}

TEST_CASE("hash: models train to the same bits on every layout, and learn by finite differences", "[unit]") {
    const MoeConfig moe = hash_moe(5, GENERATE(1, 2), HashTable::random);
    test::check_layouts({.moe = moe, .steps = 5});
    test::check_gradients(test::tiny_model(), moe);
    test::check_decoding(test::tiny_model(), moe);
}

TEST_CASE("hash: a checkpoint's table replaces the own one, without any counts", "[unit]") {
    const MoeConfig moe = hash_moe(5, 2, HashTable::balanced);
    State saved;
    const PassResult first = evaluate(moe, skewed_counts(23), saved);
    REQUIRE(saved.size() == 1);
    REQUIRE(saved.begin()->second.size() == 23 * 2);
    State again = saved;
    const PassResult resumed = evaluate(moe, {}, again);
    CHECK(again == saved);
    CHECK(resumed.routing_hash == first.routing_hash);
    CHECK(resumed.token_loss == first.token_loss);
    State other;
    CHECK(evaluate(moe, std::vector<index_t>(23, 1), other).routing_hash != first.routing_hash);

    State none;
    CHECK_THROWS_WITH(evaluate(moe, {}, none), Catch::Contains("moe.hash = balanced has no table"));
    State damaged = saved;
    std::ranges::fill(damaged.begin()->second, 5.0);
    CHECK_THROWS_WITH(evaluate(moe, {}, damaged), Catch::Contains("has expert 5 of 5"));
}

TEST_CASE("hash: options that need scores are refused with all that is to be set", "[unit]") {
    MoeConfig moe;
    moe.router = "hash";
    const std::vector<std::string> defaults = routing_problems(moe);
    REQUIRE(defaults.size() == 1);
    CHECK_THAT(defaults[0], Catch::EndsWith("set balance.switch_loss = 0, balance.z_loss = 0"));

    moe = hash_moe(8, 2, HashTable::random);
    CHECK(routing_problems(moe).empty());
    const auto first_problem = [&](auto change) {
        MoeConfig changed = moe;
        change(changed);
        const std::vector<std::string> problems = routing_problems(changed);
        return problems.empty() ? std::string() : problems[0];
    };
    using Catch::EndsWith;
    CHECK_THAT(first_problem([](MoeConfig& m) { m.jitter = 0.1; }), EndsWith("set moe.jitter = 0"));
    CHECK_THAT(first_problem([](MoeConfig& m) { m.group_limit = 2; }), EndsWith("set moe.group_limit = 0"));
    CHECK_THAT(first_problem([](MoeConfig& m) { m.noise = LogitNoise::gumbel; }),
               EndsWith("set moe.noise = none"));
    CHECK_THAT(first_problem([](MoeConfig& m) { m.random_second = true; }),
               EndsWith("set moe.random_second = no"));
    CHECK_THAT(first_problem([](MoeConfig& m) { m.balance.bias_rate = 0.1; }),
               EndsWith("set balance.bias_rate = 0"));
    CHECK_THAT(first_problem([](MoeConfig& m) { m.balance.importance_loss = 0.1; }),
               EndsWith("set balance.importance_loss = 0"));
    CHECK_THAT(first_problem([](MoeConfig& m) { m.balance.sequence_loss = 0.1; }),
               EndsWith("set balance.sequence_loss = 0"));
}
