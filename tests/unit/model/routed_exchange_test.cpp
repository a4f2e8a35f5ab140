// Routing and exchange around experts of the caller: the same on all layouts, equal to what one computes directly, and
// wrong input is refused on all ranks.
#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "model/moe/routed_exchange.hpp"
#include "tests/support/session.hpp"

using namespace sy;
using namespace sy::model;

namespace {

constexpr index_t kTokens = 48;  // of the global batch
constexpr index_t kSequence = 4;
constexpr index_t kExperts = 6;
constexpr index_t kWidth = 5;

MoeConfig mixture() {
    MoeConfig moe;
    moe.experts = kExperts;
    moe.top_k = 2;
    return moe;
}

float expert_output(index_t expert, float x) {
    return static_cast<float>(expert + 1) * x + 0.5F;
}

/// What all ranks together decided and computed, in the order of tokens.
struct Whole {
    std::vector<std::int32_t> expert;
    std::vector<float> weight;
    std::vector<std::uint8_t> kept;
    std::vector<index_t> load;
    std::vector<double> losses;
    index_t num_dropped = 0;
    std::vector<float> y;
    bool operator==(const Whole&) const = default;
};

template <class T>
std::vector<T> gathered(comm::Communicator& world, std::span<const T> mine) {
    std::vector<T> all;
    const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size_bytes());
    for (const std::string& part : comm::all_gather(world, bytes)) {
        const std::size_t before = all.size();
        all.resize(before + part.size() / sizeof(T));
        std::copy(part.begin(), part.end(), reinterpret_cast<char*>(all.data() + before));
    }
    return all;
}

Whole run(int ranks, const RoutedExchangeConfig& config, NumericsMode numerics, Use use = Use::train) {
    Whole whole;
    test::TestMatrix logits(kTokens, kExperts, 7, 1.5F);
    test::TestMatrix x(kTokens, kWidth, 8);
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        test::TestSession session(1, numerics);
        RoutedExchange exchange(config, world, session.context);
        const Range sequences = part_of(kTokens / kSequence, ranks, world.rank());
        const Range mine{sequences.begin * kSequence, sequences.end * kSequence};
        const RoutedTokens routed = exchange.route(logits.view().rows_of(mine), use, 3);
        DispatchedRows arrived = exchange.dispatch(x.view().rows_of(mine), routed);
        const MatrixView<float> rows = arrived.rows.matrix<float>();
        for (std::size_t l = 0; l < arrived.experts.size(); ++l) {
            for (index_t s = arrived.expert_offsets[l]; s < arrived.expert_offsets[l + 1]; ++s) {
                for (float& value : rows.row_span(s)) value = expert_output(arrived.experts[l], value);
            }
        }
        test::TestMatrix y(mine.size(), kWidth, 9);
        exchange.combine(rows, routed, y.view());
        Whole here;
        here.expert = gathered(world, routed.expert.values<std::int32_t>());
        here.weight = gathered(world, routed.weight.values<float>());
        here.kept = gathered(world, std::span<const std::uint8_t>(routed.kept));
        here.y = gathered(world, std::span<const float>(y.values));
        here.load = routed.load;
        here.num_dropped = routed.num_dropped;
        for (const NamedLoss& loss : routed.losses) here.losses.push_back(loss.value);
        if (world.rank() == ranks - 1) whole = here;
    });
    return whole;
}

/// y from the choices alone, without an exchange.
std::vector<float> directly(const Whole& whole) {
    const test::TestMatrix x(kTokens, kWidth, 8);
    const index_t num_choices = static_cast<index_t>(whole.expert.size()) / kTokens;
    std::vector<float> y;
    for (index_t t = 0; t < kTokens; ++t) {
        for (index_t h = 0; h < kWidth; ++h) {
            double sum = 0.0;
            for (index_t j = 0; j < num_choices; ++j) {
                const auto i = static_cast<std::size_t>(t * num_choices + j);
                if (whole.kept[i] == 0) continue;
                sum += static_cast<double>(whole.weight[i]) *
                       static_cast<double>(expert_output(whole.expert[i], x.view()(t, h)));
            }
            y.push_back(static_cast<float>(sum));
        }
    }
    return y;
}

/// The message with which every rank refuses logits, or rows, that `spoil` has changed on the last rank.
std::string refusal(const std::function<void(RoutedExchange&, const RoutedTokens&, bool is_last)>& body) {
    std::vector<std::string> said(3);
    comm::LocalFabric(3).run([&](comm::Communicator& world) {
        test::TestSession session;
        RoutedExchange exchange({.moe = mixture(), .seq_len = kSequence}, world, session.context);
        const test::TestMatrix logits(kSequence, kExperts, 1);
        const RoutedTokens routed = exchange.route(logits.view(), Use::train);
        try {
            body(exchange, routed, world.rank() == 2);
        } catch (const ShapeError& error) {
            said[static_cast<std::size_t>(world.rank())] = error.what();
        }
    });
    CHECK(said[0] == said[2]);
    CHECK(said[1] == said[2]);
    return said[2];
}

}  // namespace

TEST_CASE("routed_exchange: every layout decides alike and gives what a direct computation gives", "[unit]") {
    std::vector<RoutedExchangeConfig> configs(4, {.moe = mixture(), .seq_len = kSequence, .seed = 11});
    configs[1].moe.capacity_factor = 0.75;
    configs[1].moe.min_capacity = 1;
    configs[1].moe.drop_by = DropBy::score;
    configs[2].moe.noise = LogitNoise::gaussian;
    configs[2].moe.random_second = true;
    configs[2].moe.balance.sequence_loss = 0.1;
    configs[3].moe.router = "expert_choice";
    configs[3].moe.allow_noncausal = true;
    configs[3].moe.balance.switch_loss = 0.0;
    for (const RoutedExchangeConfig& config : configs) {
        CAPTURE(config.moe.router, config.moe.capacity_factor);
        const Whole alone = run(1, config, NumericsMode::reproducible);
        const std::vector<float> expected = directly(alone);
        CHECK(test::relative_error(alone.y, expected) < 1e-6);
        CHECK((alone.num_dropped > 0) == (config.moe.capacity_factor > 0.0));
        CHECK_FALSE(alone.losses.empty());
        for (const double loss : alone.losses) CHECK(loss > 0.0);
        for (const int ranks : {2, 5, 12}) {
            CAPTURE(ranks);
            const Whole shared = run(ranks, config, NumericsMode::reproducible);
            if (config.moe.router != "expert_choice")
                CHECK(shared == alone);  // there K differs between ranks
            CHECK(shared.y == alone.y);
            CHECK(shared.load == alone.load);
            CHECK(test::relative_error(run(ranks, config, NumericsMode::fast).y, expected) < 1e-6);
        }
    }
}

TEST_CASE("routed_exchange: noise and drops are of training; a step has noise of its own", "[unit]") {
    RoutedExchangeConfig config{.moe = mixture(), .seq_len = kSequence, .seed = 11};
    config.moe.noise = LogitNoise::gumbel;
    config.moe.capacity_factor = 0.5;
    config.moe.min_capacity = 1;
    const Whole training = run(2, config, NumericsMode::fast);
    const Whole generating = run(2, config, NumericsMode::fast, Use::generate);
    CHECK(training.expert != generating.expert);
    CHECK(training.num_dropped > 0);
    CHECK(generating.num_dropped == 0);
    config.layer_idx = 1;
    CHECK(run(2, config, NumericsMode::fast).expert != training.expert);
}

TEST_CASE("routed_exchange: ranks without tokens take part", "[unit]") {
    comm::LocalFabric(2).run([](comm::Communicator& world) {
        test::TestSession session;
        RoutedExchange exchange({.moe = mixture(), .seq_len = kSequence}, world, session.context);
        const index_t tokens = world.rank() == 0 ? 0 : 2 * kSequence;
        const test::TestMatrix logits(tokens, kExperts, 3);
        const test::TestMatrix x(tokens, kWidth, 4);
        const RoutedTokens routed = exchange.route(logits.view(), Use::evaluate);
        const DispatchedRows arrived = exchange.dispatch(x.view(), routed);
        CHECK(arrived.rows.shape()[0] > 0);
        test::TestMatrix y(tokens, kWidth);
        exchange.combine(arrived.rows.matrix<float>(), routed, y.view());
        CHECK(test::relative_error(y.values, x.values) < 1e-6);
        const test::TestMatrix none(0, kExperts);
        CHECK_THROWS_WITH(exchange.route(none.view(), Use::evaluate), "route: no rank has a token");
    });
}

TEST_CASE("routed_exchange: the selection bias moves towards even loads", "[unit]") {
    comm::LocalFabric(1).run([](comm::Communicator& world) {
        test::TestSession session;
        RoutedExchangeConfig config{.moe = mixture()};
        config.moe.balance.bias_rate = 0.25;
        RoutedExchange exchange(config, world, session.context);
        exchange.finish_step(std::vector<index_t>{12, 0, 0, 0, 0, 0});
        CHECK(exchange.state()[0] == -0.25);
        CHECK(exchange.state()[5] == 0.25);
    });
}

TEST_CASE("routed_exchange: what does not fit is refused on every rank, with every problem", "[unit]") {
    using Catch::Matchers::Contains;
    CHECK_THAT(refusal([](RoutedExchange& exchange, const RoutedTokens&, bool is_last) {
                   test::TestMatrix logits(kSequence + (is_last ? 1 : 0), kExperts, 1);
                   if (is_last) {
                       logits.view()(1, 2) = std::numeric_limits<float>::quiet_NaN();
                       logits.view()(3, 0) = -std::numeric_limits<float>::infinity();
                   }
                   static_cast<void>(exchange.route(logits.view(), Use::train));
               }),
               Contains("rank 2: logits of 5 tokens, which are not whole sequences of 4") &&
                   Contains("rank 2: 2 logits are not finite, the first is nan for token 1 and expert 2"));
    CHECK_THAT(refusal([](RoutedExchange& exchange, const RoutedTokens&, bool is_last) {
                   const test::TestMatrix logits(kSequence, kExperts + (is_last ? 2 : 0), 1);
                   static_cast<void>(exchange.route(logits.view(), Use::train));
               }),
               Contains("rank 2: logits [4, 8] for moe.experts = 6"));
    CHECK_THAT(refusal([](RoutedExchange& exchange, const RoutedTokens& routed, bool is_last) {
                   const test::TestMatrix x(kSequence + (is_last ? 3 : 0), kWidth, 1);
                   static_cast<void>(exchange.dispatch(x.view(), routed));
               }),
               Contains("dispatch") && Contains("rank 2: rows [7, 5] where 4 are expected"));
    CHECK_THAT(refusal([](RoutedExchange& exchange, const RoutedTokens& routed, bool is_last) {
                   const test::TestMatrix x(kSequence, kWidth + (is_last ? 1 : 0), 1);
                   static_cast<void>(exchange.dispatch(x.view(), routed));
               }),
               Contains("dispatch: rows of 6 on rank 2, of 5 on rank 0"));
    CHECK_THAT(refusal([](RoutedExchange& exchange, const RoutedTokens& routed, bool is_last) {
                   const test::TestMatrix outputs(routed.plan.receive.num_slots() + (is_last ? 1 : 0),
                                                  kWidth);
                   test::TestMatrix y(kSequence, kWidth + (is_last ? 1 : 0));
                   exchange.combine(outputs.view(), routed, y.view());
               }),
               Contains("combine") && Contains("rank 2: y [4, 6] where [4, 5] is expected") &&
                   Contains("rank 2: rows ["));
}

TEST_CASE("routed_exchange: a config is refused with everything that is wrong with it", "[unit]") {
    comm::LocalFabric(1).run([](comm::Communicator& world) {
        test::TestSession session;
        const auto problems = [&](const RoutedExchangeConfig& config) {
            std::vector<std::string> found;
            try {
                RoutedExchange(config, world, session.context);
            } catch (const ConfigError& error) {
                found = error.problems();
            }
            return found;
        };
        RoutedExchangeConfig config{.moe = mixture()};
        CHECK(problems(config).empty());
        config.moe.layers = "every:7";  // of a model, and not read
        CHECK(problems(config).empty());
        config.moe.top_k = 7;
        config.moe.jitter = 0.1;
        config.moe.shared_experts = 1;
        config.moe.expert_dropout = 0.1;
        config.moe.router_dtype = DType::bf16;
        config.moe.noise = LogitNoise::learned;
        config.seq_len = 0;
        CHECK(problems(config).size() == 7);
        for (const char* router : {"hash", "reinforce", "none"}) {
            RoutedExchangeConfig other{.moe = mixture()};
            other.moe.router = router;
            CHECK_FALSE(problems(other).empty());
        }
        RoutedExchangeConfig wrong{.moe = mixture(), .seq_len = -1, .layer_idx = -1};
        wrong.moe.experts = 0;
        wrong.moe.top_k = 0;
        wrong.moe.capacity_factor = std::nan("");
        wrong.moe.routed_scale = -1.0;
        CHECK(problems(wrong).size() == 6);
    });
}
