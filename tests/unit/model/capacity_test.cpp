// Who gets a slot: small cases by hand, then a sort of the whole batch in one place against the distributed rules.
#include "model/moe/capacity.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/philox.hpp"
#include "model/moe/selection.hpp"
#include "tests/unit/model/layouts.hpp"

using namespace sy;
using namespace sy::model;

namespace {

constexpr std::uint64_t kSeed = 11;

/// A global batch of routed tokens.
struct Batch {
    index_t tokens = 0;
    index_t top_k = 0;
    index_t seq_len = 1;
    std::vector<std::int32_t> expert;  ///< [T, K]
    std::vector<float> score;          ///< [T, K]
    Use use = Use::train;

    std::size_t size() const { return expert.size(); }
    PassInfo pass(index_t first_token) const {
        PassInfo pass;
        pass.batch = {first_token, tokens, 7, 1, 2};
        pass.use = use;
        pass.seed = kSeed;
        pass.seq_len = seq_len;
        return pass;
    }
};

/// The same decision, put together from all ranks.
struct Decision {
    std::vector<int> kept;
    std::vector<DropReason> reason;
    std::vector<index_t> load;
    index_t capacity = 0;
    index_t num_dropped = 0;
    bool operator==(const Decision&) const = default;
};

Decision decide(int ranks, const Batch& batch, const MoeConfig& config) {
    Decision all;
    all.kept.resize(batch.size());
    all.reason.assign(batch.size(), DropReason::none);
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        const Range sequences = part_of(batch.tokens / batch.seq_len, ranks, world.rank());
        const Range mine{sequences.begin * batch.seq_len, sequences.end * batch.seq_len};
        const index_t first = mine.begin * batch.top_k;
        const PassInfo pass = batch.pass(mine.begin);
        const CapacityResult result = apply_capacity(
            {MatrixView(batch.expert.data() + first, mine.size(), batch.top_k),
             batch.score.empty()
                 ? MatrixView<const float>()
                 : MatrixView<const float>(batch.score.data() + first, mine.size(), batch.top_k),
             pass},
            config, world);
        std::copy(result.kept.begin(), result.kept.end(), all.kept.begin() + first);
        std::copy(result.reason.begin(), result.reason.end(), all.reason.begin() + first);
        if (world.rank() != 0) return;
        all.load = result.load;
        all.capacity = result.capacity;
        all.num_dropped = result.num_dropped;
    });
    return all;
}

/// The rules of capacity.hpp by sorting: whoever comes first in `before` keeps a place.
struct Reference {
    const Batch& batch;
    const MoeConfig& config;
    std::vector<int> kept;

    Reference(const Batch& batch_, const MoeConfig& config_) : batch(batch_), config(config_) {
        for (const std::int32_t expert : batch.expert) kept.push_back(expert >= 0 ? 1 : 0);
    }
    /// ceil(factor * choices / parts) of a factor of whole tenths.
    static index_t share(double factor, index_t choices, index_t parts) {
        return ceil_div(std::llround(10.0 * factor) * choices, 10 * parts);
    }
    index_t token(std::size_t i) const { return static_cast<index_t>(i) / batch.top_k; }
    index_t choice(std::size_t i) const { return static_cast<index_t>(i) % batch.top_k; }
    double priority(std::size_t i) const {
        double highest = -std::numeric_limits<double>::infinity();
        for (index_t j = 0; j < batch.top_k; ++j) {
            const auto other = static_cast<std::size_t>(token(i) * batch.top_k + j);
            if (batch.expert[other] >= 0)
                highest = std::max(highest, static_cast<double>(batch.score[other]));
        }
        return highest;
    }
    /// Smaller is served earlier.
    std::array<double, 4> rank_of(std::size_t i) const {
        const auto t = static_cast<double>(token(i));
        const auto j = static_cast<double>(choice(i));
        const double queue = std::min(j, static_cast<double>(config.top_k - 1));
        if (config.drop_by == DropBy::position) return {queue, t, j, 0.0};
        if (config.drop_by == DropBy::score) return {-static_cast<double>(batch.score[i]), t, j, 0.0};
        return {queue, -priority(i), t, j};
    }
    void limit(std::vector<std::size_t> wanting, index_t places, bool by_score) {
        std::sort(wanting.begin(), wanting.end(), [&](std::size_t a, std::size_t b) {
            if (!by_score) return rank_of(a) < rank_of(b);
            return batch.score[a] != batch.score[b] ? batch.score[a] > batch.score[b] : a < b;
        });
        for (std::size_t i = 0; i < wanting.size(); ++i) {
            if (static_cast<index_t>(i) >= places) kept[wanting[i]] = 0;
        }
    }
    void limit_experts() {
        const index_t capacity = std::max(
            config.min_capacity, share(config.capacity_factor, config.top_k * batch.tokens, config.experts));
        for (std::int32_t expert = 0; expert < config.experts; ++expert) {
            std::vector<std::size_t> wanting;
            for (std::size_t i = 0; i < batch.size(); ++i) {
                if (batch.expert[i] == expert) wanting.push_back(i);
            }
            limit(wanting, capacity, false);
        }
    }
    void limit_devices() {
        const index_t size = config.experts / config.groups;
        const auto choices = std::count_if(batch.expert.begin(), batch.expert.end(),
                                           [](std::int32_t expert) { return expert >= 0; });
        const index_t budget = share(config.device_capacity, choices, config.groups);
        for (index_t group = 0; group < config.groups; ++group) {
            std::vector<std::size_t> wanting;
            index_t guarded = 0;
            for (std::size_t i = 0; i < batch.size(); ++i) {
                if (kept[i] == 0 || batch.expert[i] / size != group) continue;
                const auto sequence = static_cast<std::uint64_t>(token(i) / batch.seq_len);
                // Step 7, micro-step 1 of 2.
                const float draw = uniform({kSeed, 15, 0, RandomPurpose::protected_sequence}, sequence);
                if (static_cast<double>(draw) < config.protected_fraction) {
                    ++guarded;
                } else {
                    wanting.push_back(i);
                }
            }
            limit(wanting, std::max<index_t>(0, budget - guarded), true);
        }
    }
};

/// Random choices, some missing, with scores of which many are equal.
Batch random_batch(std::uint64_t stream, index_t sequences, index_t seq_len, index_t top_k, index_t experts) {
    Batch batch{sequences * seq_len, top_k, seq_len, {}, {}, Use::train};
    const RandomKey key{stream, 0, 0, RandomPurpose::test};
    std::uint64_t drawn = 0;
    const auto draw = [&](index_t below) {
        return static_cast<index_t>(uniform(key, drawn++) * static_cast<float>(below));
    };
    const float values[] = {0.0F, -0.0F, 0.5F, -1.5F, 1e-41F, 3.0F, 0.25F};
    for (index_t t = 0; t < batch.tokens; ++t) {
        std::vector<std::int32_t> all(static_cast<std::size_t>(experts));
        std::iota(all.begin(), all.end(), 0);
        for (index_t j = 0; j < top_k; ++j) {
            // Lower experts are wanted more.
            const index_t pick =
                std::min(draw(static_cast<index_t>(all.size())), draw(static_cast<index_t>(all.size())));
            batch.expert.push_back(draw(10) == 0 ? -1 : all[static_cast<std::size_t>(pick)]);
            all.erase(all.begin() + pick);
            batch.score.push_back(draw(2) == 0 ? values[draw(7)] : uniform(key, drawn++));
        }
    }
    return batch;
}

MoeConfig rule(index_t experts, index_t top_k, DropBy drop_by, double factor) {
    MoeConfig config;
    config.experts = experts;
    config.top_k = top_k;
    config.drop_by = drop_by;
    config.capacity_factor = factor;
    config.min_capacity = 1;
    return config;
}

}  // namespace

TEST_CASE("selection: keys order as floats do, zeros are equal and NaN is last", "[unit]") {
    const float inf = std::numeric_limits<float>::infinity();
    const float ascending[] = {-inf, -3.0F, -1e-42F, 0.0F, 1e-42F, 0.5F, std::nextafter(0.5F, 1.0F),
                               7.0F, inf};
    for (std::size_t i = 0; i + 1 < std::size(ascending); ++i)
        CHECK(score_key(ascending[i]) < score_key(ascending[i + 1]));
    CHECK(score_key(-0.0F) == score_key(0.0F));
    CHECK(score_key(std::numeric_limits<float>::quiet_NaN()) < score_key(-inf));
}

TEST_CASE("selection: equal scores go to those that come first, on any number of ranks", "[unit]") {
    // Nine contenders for bins 0 and 1, in global order.
    const std::vector<std::int32_t> bin{0, 1, 0, -1, 0, 1, 0, 1, 0};
    const std::vector<float> score{2.0F, 5.0F, 3.0F, 9.0F, 2.0F, 5.0F, 2.0F, 5.0F, 1.0F};
    const std::vector<std::uint8_t> wanted{1, 1, 1, 0, 1, 0, 0, 0, 0};
    for (const int ranks : {1, 2, 3, 9}) {
        std::vector<std::uint8_t> got(9);
        comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
            const Range mine = part_of(9, ranks, world.rank());
            const auto first = static_cast<std::size_t>(mine.begin);
            const auto count = static_cast<std::size_t>(mine.size());
            const std::vector<index_t> places{3, 1};
            const std::vector<std::uint8_t> won = select_best(
                {std::span(bin).subspan(first, count), std::span(score).subspan(first, count), places},
                &world);
            std::copy(won.begin(), won.end(), got.begin() + mine.begin);
        });
        CHECK(got == wanted);
    }
    CHECK(select_best({bin, score, std::vector<index_t>{0, 100}}, nullptr) ==
          std::vector<std::uint8_t>{0, 1, 0, 0, 0, 1, 0, 1, 0});
    CHECK_THROWS_AS(select_best({bin, {}, std::vector<index_t>{1}}, nullptr), LogicError);
}

TEST_CASE("capacity: four tokens by hand, in each order of service", "[unit]") {
    // Two experts, two choices; C = ceil(0.5 * 2 * 4 / 2) = 2. Token 1 has one choice only.
    const Batch batch{4, 2, 1, {0, 1, 0, -1, 1, 0, 0, 1}, {0.6F, 0.4F, 0.5F, 9.0F, 0.7F, 0.3F, 0.9F, 0.1F}};
    const int ranks = GENERATE(1, 2, 3, 4);
    const auto kept = [&](DropBy drop_by) {
        const Decision got = decide(ranks, batch, rule(2, 2, drop_by, 0.5));
        CHECK(got.load == std::vector<index_t>{4, 3});
        CHECK(got.capacity == 2);
        CHECK(got.num_dropped == 3);
        return got.kept;
    };
    // First choices of expert 0: tokens 0, 1, 3; of expert 1: token 2, then second choices of 0 and 3.
    CHECK(kept(DropBy::position) == std::vector<int>{1, 1, 1, 0, 1, 0, 0, 0});
    // Expert 0 sees 0.6, 0.5, 0.3, 0.9; expert 1 sees 0.4, 0.7, 0.1.
    CHECK(kept(DropBy::score) == std::vector<int>{1, 1, 0, 0, 1, 0, 1, 0});
    // Tokens in the order 3, 2, 0, 1: expert 0 takes 3 and 0; expert 1 takes 2, then the second choice of 3.
    CHECK(kept(DropBy::batch_priority) == std::vector<int>{1, 0, 0, 0, 1, 0, 1, 1});
}

TEST_CASE("capacity: slots and budgets of a decimal factor are exact", "[unit]") {
    // 1.6 * 3 * 15 / 4 = 18; in floating point the product is a little more.
    Batch batch{15, 3, 1, {}, {}};
    for (index_t t = 0; t < batch.tokens; ++t) {
        for (const std::int32_t expert : {0, 1, 2}) {
            batch.expert.push_back(expert);
            batch.score.push_back(0.5F);
        }
    }
    CHECK(decide(2, batch, rule(4, 3, DropBy::position, 1.6)).capacity == 18);
    MoeConfig devices = rule(16, 3, DropBy::position, 0.0);
    devices.groups = 4;
    devices.device_capacity = 1.6;
    devices.protected_fraction = 0.0;
    CHECK(decide(2, batch, devices).num_dropped == 45 - 18);
}

TEST_CASE("capacity: evaluation has a factor of its own, generation none", "[unit]") {
    Batch batch{4, 1, 1, {0, 0, 0, 0}, {0.6F, 0.5F, 0.7F, 0.9F}};
    MoeConfig config = rule(2, 1, DropBy::position, 0.5);
    const int ranks = GENERATE(1, 2, 3, 4);
    const auto dropped = [&](Use use) {
        batch.use = use;
        return decide(ranks, batch, config).num_dropped;
    };
    CHECK(dropped(Use::evaluate) == 3);
    config.eval_capacity_factor = 1.0;
    CHECK(dropped(Use::train) == 3);
    CHECK(dropped(Use::evaluate) == 2);
    config.eval_capacity_factor = 2.0;
    CHECK(dropped(Use::evaluate) == 0);
    CHECK(dropped(Use::generate) == 0);
}

TEST_CASE("capacity: a group over its budget drops its lowest scores, but no protected sequence", "[unit]") {
    // Four experts in two groups, one choice; five choices of group 0, one of group 1; budget 3 each.
    Batch batch{6, 1, 1, {0, 1, 0, 1, 0, 2}, {0.5F, 0.2F, 0.5F, 0.9F, 0.1F, 0.3F}};
    MoeConfig config = rule(4, 1, DropBy::position, 0.0);
    config.groups = 2;
    config.device_capacity = 1.0;
    config.protected_fraction = 0.0;
    const int ranks = GENERATE(1, 2, 4);
    const Decision got = decide(ranks, batch, config);
    CHECK(got.kept == std::vector<int>{1, 0, 1, 1, 0, 1});
    CHECK(got.reason[1] == DropReason::device);
    CHECK(got.num_dropped == 2);
    CHECK(got.load == std::vector<index_t>{3, 2, 1, 0});
    config.protected_fraction = 1.0;
    CHECK(decide(ranks, batch, config).num_dropped == 0);
    // Half protected: those stay, whatever their score.
    config.protected_fraction = 0.5;
    const Decision half = decide(ranks, batch, config);
    for (index_t t = 0; t < 6; ++t) {
        if (is_protected(batch.pass(0), t, 0.5)) CHECK(half.kept[static_cast<std::size_t>(t)] == 1);
    }
    config.protected_fraction = 0.0;
    for (const Use use : {Use::evaluate, Use::generate}) {
        batch.use = use;
        CHECK(decide(ranks, batch, config).num_dropped == 0);
    }
}

TEST_CASE("capacity: about the wanted share of sequences is protected, others in another step", "[unit]") {
    Batch batch;
    index_t guarded = 0;
    index_t moved = 0;
    PassInfo next = batch.pass(0);
    ++next.batch.step;
    for (index_t s = 0; s < 20000; ++s) {
        const bool now = is_protected(batch.pass(0), s, 0.1);
        guarded += now ? 1 : 0;
        moved += now != is_protected(next, s, 0.1) ? 1 : 0;
    }
    // Five standard errors.
    CHECK(std::fabs(static_cast<double>(guarded) - 2000.0) < 5.0 * std::sqrt(1800.0));
    CHECK(std::fabs(static_cast<double>(moved) - 3600.0) < 5.0 * std::sqrt(20000 * 0.18 * 0.82));
}

TEST_CASE("capacity: every rule agrees with a sort of the whole batch, on any number of ranks",
          "[unit][property]") {
    const DropBy drop_by = GENERATE(DropBy::position, DropBy::score, DropBy::batch_priority);
    const double device_capacity = GENERATE(0.0, 0.8);
    index_t dropped = 0;
    for (std::uint64_t stream = 1; stream <= 12; ++stream) {
        const index_t top_k = static_cast<index_t>(stream % 3) + 1;
        const Batch batch = random_batch(stream, 5, 9, top_k, 6);
        // Expert choice may hand out more choices a token than moe.top_k.
        MoeConfig config = rule(6, stream % 4 == 0 ? 1 : top_k, drop_by, stream % 5 == 0 ? 0.0 : 0.9);
        config.min_capacity = static_cast<index_t>(stream % 2) * 11;
        config.groups = 3;
        config.device_capacity = device_capacity;
        config.protected_fraction = 0.3;
        Reference reference(batch, config);
        if (config.capacity_factor > 0.0) reference.limit_experts();
        const std::vector<int> after_capacity = reference.kept;
        if (device_capacity > 0.0) reference.limit_devices();
        const Decision one = decide(1, batch, config);
        INFO("stream " << stream);
        REQUIRE(one.kept == reference.kept);
        for (const int ranks : {2, 3, 4, 8}) REQUIRE(decide(ranks, batch, config) == one);
        index_t lost = 0;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const bool by_capacity = batch.expert[i] >= 0 && after_capacity[i] == 0;
            const bool by_device = after_capacity[i] != 0 && one.kept[i] == 0;
            lost += by_capacity || by_device ? 1 : 0;
            REQUIRE(one.reason[i] == (by_capacity ? DropReason::capacity
                                      : by_device ? DropReason::device
                                                  : DropReason::none));
        }
        CHECK(one.num_dropped == lost);
        dropped += lost;
    }
    CHECK(dropped > 100);
}

TEST_CASE("capacity: locally every rank does for its tokens what one rank would, and loads stay global",
          "[unit]") {
    const DropBy drop_by = GENERATE(DropBy::position, DropBy::score, DropBy::batch_priority);
    const Batch batch = random_batch(3, 6, 8, 2, 4);
    MoeConfig config = rule(4, 2, drop_by, 0.8);
    config.capacity_scope = CapacityScope::local;
    const Decision together = decide(3, batch, config);
    index_t dropped = 0;
    for (index_t part = 0; part < 3; ++part) {
        Batch own{16, 2, 8, {}, {}, Use::train};
        own.expert.assign(batch.expert.begin() + part * 32, batch.expert.begin() + (part + 1) * 32);
        own.score.assign(batch.score.begin() + part * 32, batch.score.begin() + (part + 1) * 32);
        const Decision alone = decide(1, own, config);
        CHECK(std::equal(alone.kept.begin(), alone.kept.end(), together.kept.begin() + part * 32));
        dropped += alone.num_dropped;
    }
    CHECK(together.num_dropped == dropped);
    CHECK(dropped > 0);
    CHECK(together.load == decide(1, batch, config).load);
    CHECK(together.kept != decide(1, batch, config).kept);
}

TEST_CASE("capacity: generation drops nothing, and scores are needed when a rule reads them", "[unit]") {
    Batch batch = random_batch(5, 4, 4, 2, 4);
    batch.use = Use::generate;
    for (const DropBy drop_by : {DropBy::position, DropBy::score, DropBy::batch_priority}) {
        const Decision got = decide(2, batch, rule(4, 2, drop_by, 0.1));
        CHECK(got.num_dropped == 0);
        CHECK(got.capacity == 0);
        for (std::size_t i = 0; i < batch.size(); ++i) CHECK(got.kept[i] == (batch.expert[i] >= 0 ? 1 : 0));
        CHECK(needs_scores(rule(4, 2, drop_by, 0.1), Use::evaluate) == (drop_by != DropBy::position));
        CHECK_FALSE(needs_scores(rule(4, 2, drop_by, 0.1), Use::generate));
    }
    batch.use = Use::train;
    batch.score.clear();
    CHECK_THROWS_WITH(decide(1, batch, rule(4, 2, DropBy::score, 0.1)), Catch::Contains("scores [0, 0]"));
    CHECK(decide(1, batch, rule(4, 2, DropBy::position, 0.1)).num_dropped > 0);
}

TEST_CASE("capacity: settings that cannot be meant are refused with the remedy", "[unit]") {
    const ModelConfig model = test::tiny_model();
    MoeConfig moe = test::tiny_moe();
    const auto problem = [&] {
        const std::vector<std::string> problems = model_problems(model, moe);
        return problems.size() == 1 ? problems[0] : std::string{};
    };
    moe.device_capacity = 1.0;
    CHECK_THAT(problem(), Catch::Contains("moe.groups = 0"));
    moe.groups = 5;
    CHECK(model_problems(model, moe).empty());
    moe.device_capacity = 0.0;
    moe.drop_by = DropBy::score;
    CHECK_THAT(problem(), Catch::Contains("set a factor or moe.drop_by = position"));
    moe.drop_by = DropBy::position;
    moe.capacity_scope = CapacityScope::local;
    CHECK_THAT(problem(), Catch::Contains("set a factor or moe.capacity_scope = global"));
    moe.capacity_factor = 1.0;
    CHECK(model_problems(model, moe).empty());
    REQUIRE(model_notes(moe).size() == 1);
    CHECK_THAT(model_notes(moe)[0], Catch::Contains("depends on the number of ranks"));
    moe.capacity_scope = CapacityScope::global;
    CHECK(model_notes(moe).empty());
}

TEST_CASE("routing: a limit of groups that no rule looks at is told", "[unit]") {
    MoeConfig moe = test::tiny_moe();
    moe.groups = 4;
    moe.group_limit = 2;
    REQUIRE(model_notes(moe).size() == 1);
    CHECK_THAT(model_notes(moe)[0], Catch::Contains("moe.group_limit = 2 limits nothing"));
    moe.balance.communication_loss = 0.01;
    CHECK(model_notes(moe).empty());
    moe.balance.communication_loss = 0.0;
    moe.router = "group_limited";
    CHECK(model_notes(moe).empty());
}

TEST_CASE("training: whoever is dropped, 10 steps are bit-identical on every layout", "[unit]") {
    MoeConfig moe = test::tiny_moe();
    moe.layers = "all";
    moe.experts = 6;
    moe.capacity_factor = 0.9;
    moe.drop_by = GENERATE(DropBy::position, DropBy::score, DropBy::batch_priority);
    moe.groups = 2;
    moe.device_capacity = GENERATE(0.0, 0.7);
    moe.protected_fraction = 0.25;
    const test::History reference = test::check_layouts({.moe = moe});
    CHECK(reference.num_dropped > 0);
    // The ledger lists every drop once, and each layout the same ones.
    CHECK(static_cast<index_t>(reference.drops.size()) == reference.num_dropped);
    CHECK(std::adjacent_find(reference.drops.begin(), reference.drops.end()) == reference.drops.end());
    const auto by_device = std::count_if(reference.drops.begin(), reference.drops.end(),
                                         [](const auto& drop) { return drop.reason == DropReason::device; });
    CHECK((by_device > 0) == (moe.device_capacity > 0.0));
}
