// A sequence's logits are the same bits whatever else is generated, where, on how many ranks, and in what pieces it is
// fed.
#include <catch2/catch.hpp>

#include <algorithm>
#include <tuple>

#include "comm/local/local_fabric.hpp"
#include "tests/unit/model/layouts.hpp"

using namespace sy;
using namespace sy::model;
using test::tiny_model;
using test::tiny_moe;

namespace {

struct Case {
    const char* name;
    void (*change)(ModelConfig&, MoeConfig&);
};

void latent(ModelConfig& model, MoeConfig&) {
    model.kv_heads = model.heads;
    model.head_dim = 6;
    model.attention.kind = AttentionKind::latent;
    model.attention.kv_rank = 10;
    model.attention.query_rank = 7;
    model.attention.rope_dim = 4;
    model.attention.value_dim = 5;
}

const Case kCases[] = {
    {"grouped", [](ModelConfig&, MoeConfig&) {}},
    {"multi-head with biases",
     [](ModelConfig& m, MoeConfig&) {
         m.kv_heads = m.heads;
         m.attention.bias = Biases::all;
     }},
    {"multi-query", [](ModelConfig& m, MoeConfig&) { m.kv_heads = 1; }},
    {"QK norm, wide heads",
     [](ModelConfig& m, MoeConfig&) {
         m.head_dim = 20;
         m.attention.qk_norm = QkNorm::head;
     }},
    {"windows, soft caps",
     [](ModelConfig& m, MoeConfig&) {
         m.attention.window = 4;
         m.attention.window_layers = "every:2";
         m.attention.softcap = 1.5;
         m.logit_softcap = 2.0;
     }},
    {"latent", latent},
    {"ALiBi", [](ModelConfig& m, MoeConfig&) { m.position.kind = PositionKind::alibi; }},
    {"T5 buckets",
     [](ModelConfig& m, MoeConfig&) {
         m.position.kind = PositionKind::t5;
         m.position.t5_buckets = 6;
         m.position.t5_max_distance = 9;
     }},
    {"learned positions, layer norms, parallel",
     [](ModelConfig& m, MoeConfig&) {
         m.position.kind = PositionKind::learned;
         m.norm = NormKind::layer;
         m.norm_bias = true;
         m.wiring = Wiring::parallel;
         m.tied_head = true;
     }},
    {"groups",
     [](ModelConfig&, MoeConfig& moe) {
         moe.router = "group_limited";
         moe.experts = 6;
         moe.groups = 3;
         moe.group_limit = 2;
     }},
    {"hash",
     [](ModelConfig&, MoeConfig& moe) {
         moe.router = "hash";
         moe.top_k = 1;
         moe.balance = {.switch_loss = 0.0, .z_loss = 0.0};
     }},
    {"base",
     [](ModelConfig&, MoeConfig& moe) {
         moe.router = "base";
         moe.score = Score::sigmoid;
         moe.renormalise = false;
         moe.top_k = 1;
         moe.balance = {.switch_loss = 0.0};
     }},
    {"sinkhorn",
     [](ModelConfig&, MoeConfig& moe) {
         moe.router = "sinkhorn";
         moe.score = Score::sigmoid;
         moe.renormalise = false;
         moe.top_k = 1;
         moe.balance = {.switch_loss = 0.0};
     }},
    {"reinforce",
     [](ModelConfig&, MoeConfig& moe) {
         moe.router = "reinforce";
         moe.renormalise = false;
         moe.top_k = 1;
         moe.balance = {.switch_loss = 0.0};
     }},
};

using Ids = std::vector<std::int32_t>;
/// Logits of all rows of each prompt, [S, V].
using AllLogits = std::vector<std::vector<float>>;

/// As many as the context holds, one token, and between.
std::vector<Ids> prompts(const ModelConfig& config) {
    const Ids ids = test::tokens(0, 5, config);
    std::vector<Ids> result;
    auto next = ids.begin();
    for (const index_t length : {index_t{7}, index_t{1}, config.seq_len, index_t{3}, index_t{6}}) {
        result.emplace_back(next, next + length);
        next += length;
    }
    return result;
}

/// How prompts are fed.
struct Serving {
    int ranks = 1;
    std::size_t prefilled = 0;  ///< tokens of each that come as its prompt; the others follow one by one
    bool alone = false;         ///< one prompt after the other, in the one slot of its rank
};

class Server {
  public:
    Server(test::Rank& rank, const Serving& serving, const std::vector<Ids>& texts, AllLogits& logits)
        : rank_(rank), serving_(serving), texts_(texts), logits_(logits) {}

    /// Prompts lie on ranks as cards are dealt, and in slots from the last one on.
    void serve() {
        const auto mine = [&](std::size_t text) {
            return static_cast<int>(text) % serving_.ranks == rank_.world.world.rank();
        };
        const index_t num_slots = serving_.alone ? 1 : static_cast<index_t>(texts_.size());
        auto state = rank_.transformer.start_generation(num_slots, capacity(), rank_.session.context);
        for (std::size_t text = 0; text < texts_.size(); ++text) {
            const index_t slot = serving_.alone ? 0 : num_slots - 1 - static_cast<index_t>(text);
            prefill(state, text, slot, mine(text));
            if (serving_.alone) {
                for (std::size_t step = 0; step < texts_[text].size(); ++step)
                    decode(state, {text}, {slot}, mine(text));
            }
        }
        if (serving_.alone) return;
        for (index_t step = 0; step < capacity(); ++step) {
            std::vector<std::size_t> active;
            std::vector<index_t> slots;
            for (std::size_t text = 0; text < texts_.size(); ++text) {
                const index_t slot = num_slots - 1 - static_cast<index_t>(text);
                if (!mine(text)) continue;
                active.push_back(text);
                slots.push_back(slot);
            }
            decode(state, active, slots, true);
        }
    }

  private:
    index_t capacity() const { return rank_.transformer.config().seq_len; }

    void keep(std::size_t text, std::span<const float> rows) {
        if (rows.empty()) return;  // of another rank's text, whose thread writes now
        logits_[text].insert(logits_[text].end(), rows.begin(), rows.end());
    }

    void prefill(Transformer::Generation& state, std::size_t text, index_t slot, bool mine) {
        if (serving_.prefilled == 0) return;
        const Ids& ids = texts_[text];
        const std::size_t count = mine ? std::min(serving_.prefilled, ids.size()) : 0;
        const Tensor rows = rank_.transformer.prefill(
            std::span(ids).first(count), slot, Transformer::LogitRows::all, state, rank_.session.context);
        keep(text, rows.values<float>());
    }

    /// Feeds the next token of those texts that have one.
    void decode(Transformer::Generation& state, const std::vector<std::size_t>& texts,
                const std::vector<index_t>& slots, bool mine) {
        Ids ids;
        std::vector<index_t> active;
        std::vector<std::size_t> fed;
        for (std::size_t i = 0; mine && i < texts.size(); ++i) {
            const auto at = static_cast<std::size_t>(state.lengths[static_cast<std::size_t>(slots[i])]);
            if (at >= texts_[texts[i]].size()) continue;
            ids.push_back(texts_[texts[i]][at]);
            active.push_back(slots[i]);
            fed.push_back(texts[i]);
        }
        const Tensor rows = rank_.transformer.decode(ids, active, state, rank_.session.context);
        for (std::size_t i = 0; i < fed.size(); ++i)
            keep(fed[i], rows.matrix<float>().row_span(static_cast<index_t>(i)));
    }

    test::Rank& rank_;
    Serving serving_;
    const std::vector<Ids>& texts_;
    AllLogits& logits_;
};

AllLogits serve(const Serving& serving, const ModelConfig& config, const MoeConfig& moe,
                NumericsMode numerics) {
    const std::vector<Ids> texts = prompts(config);
    AllLogits logits(texts.size());
    comm::LocalFabric(serving.ranks).run([&](comm::Communicator& world) {
        test::Rank rank(world, serving.ranks, numerics, config, moe);
        Server(rank, serving, texts, logits).serve();
        rank.groups.close();
    });
    return logits;
}

constexpr std::size_t kWhole = 1000;

/// The most memory that each way of reading takes beside weights and caches.
std::vector<index_t> memory_of_reading(const ModelConfig& config, const MoeConfig& moe) {
    std::vector<index_t> peaks;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::Rank rank(world, 1, NumericsMode::fast, config, moe);
        const Context& context = rank.session.context;
        Arena& arena = rank.session.device.arena();
        const auto add = [&](const auto& read) {
            const index_t before = arena.used_bytes();
            arena.reset_peak();
            read();
            peaks.push_back(arena.peak_bytes() - before);
        };
        const Ids ids = test::tokens(0, 2, config);
        add([&] { rank.transformer.evaluate(ids, {.global_tokens = 2 * config.seq_len}, context); });
        if (config.architecture == Architecture::decoder) {
            add([&] { rank.transformer.score(ids, config.seq_len + 1, context); });
            auto state = rank.transformer.start_generation(1, config.seq_len, context);
            add([&] {
                rank.transformer.prefill(std::span(ids).first(10), 0, Transformer::LogitRows::last, state,
                                         context);
            });
            add([&] { rank.transformer.decode(Ids{1}, state, context); });
        }
        rank.groups.close();
    });
    return peaks;
}

}  // namespace

TEST_CASE("generation: logits are the same bits in any company, on any ranks and in any pieces", "[unit]") {
    const Case& which = GENERATE(from_range(std::begin(kCases), std::end(kCases)));
    INFO(which.name);
    ModelConfig config = tiny_model();
    MoeConfig moe = tiny_moe();
    which.change(config, moe);
    config.dtype = GENERATE(DType::f32, DType::bf16);
    REQUIRE(model_problems(config, moe) == std::vector<std::string>{});
    const auto reproducible = NumericsMode::reproducible;
    const AllLogits wanted = serve({.prefilled = kWhole, .alone = true}, config, moe, reproducible);
    for (const int ranks : {1, 2, 3}) {
        INFO(ranks << " ranks");
        CHECK(serve({.ranks = ranks}, config, moe, reproducible) == wanted);
        CHECK(serve({.ranks = ranks, .prefilled = 3}, config, moe, reproducible) == wanted);
        CHECK(serve({.ranks = ranks, .prefilled = kWhole}, config, moe, reproducible) == wanted);
        CHECK(serve({.ranks = ranks, .prefilled = 2, .alone = true}, config, moe, reproducible) == wanted);
    }
    const AllLogits fast = serve({.prefilled = kWhole, .alone = true}, config, moe, NumericsMode::fast);
    CHECK(serve({.prefilled = 2}, config, moe, NumericsMode::fast) == fast);
}

TEST_CASE("generation: reading takes the memory of one block, however many there are", "[unit]") {
    ModelConfig config = tiny_model();
    const MoeConfig moe = tiny_moe();
    config.hidden = 64;
    std::tie(config.norm_placement, config.wiring) =
        GENERATE(table<NormPlacement, Wiring>({{NormPlacement::pre, Wiring::serial},
                                               {NormPlacement::pre, Wiring::parallel},
                                               {NormPlacement::post, Wiring::serial},
                                               {NormPlacement::both, Wiring::serial},
                                               {NormPlacement::outside, Wiring::serial}}));
    config.architecture =
        GENERATE(Architecture::decoder, Architecture::encoder, Architecture::encoder_decoder);
    const auto of_layers = [&](index_t layers) {
        config.layers = layers;
        return memory_of_reading(config, moe);
    };
    CHECK(of_layers(9) == of_layers(3));
}

TEST_CASE("generation: a slot forgets its sequence when it is given another prompt", "[unit]") {
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        const ModelConfig config = tiny_model();
        test::Rank rank(world, 1, NumericsMode::fast, config, tiny_moe());
        const Context& context = rank.session.context;
        const std::vector<Ids> texts = prompts(config);
        const auto last = Transformer::LogitRows::last;
        auto state = rank.transformer.start_generation(2, config.seq_len, context);
        const Tensor fresh = rank.transformer.prefill(texts[3], 1, last, state, context);
        CHECK(fresh.shape() == Shape{1, config.vocab_size});
        CHECK(state.lengths == std::vector<index_t>{0, 3});
        rank.transformer.prefill(texts[2], 1, last, state, context);
        CHECK(state.lengths == std::vector<index_t>{0, config.seq_len});
        CHECK_THROWS_WITH(rank.transformer.decode(Ids{1}, std::vector<index_t>{1}, state, context),
                          Catch::Contains("position 12 is beyond the context of 12 tokens"));
        const Tensor again = rank.transformer.prefill(texts[3], 1, last, state, context);
        CHECK(std::ranges::equal(again.values<float>(), fresh.values<float>()));
        rank.groups.close();
    });
}

TEST_CASE("generation: scores are the cross entropies of the logits", "[unit]") {
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        const ModelConfig config = tiny_model();
        test::Rank rank(world, 2, NumericsMode::reproducible, config, tiny_moe());
        const Context& context = rank.session.context;
        const Ids ids = world.rank() == 0 ? test::tokens(0, 1, config) : Ids{};
        const std::vector<float> losses = rank.transformer.score(ids, config.seq_len + 1, context);
        auto state = rank.transformer.start_generation(1, config.seq_len, context);
        const auto inputs = std::span(ids).first(ids.empty() ? 0 : ids.size() - 1);
        const Tensor logits =
            rank.transformer.prefill(inputs, 0, Transformer::LogitRows::all, state, context);
        SY_REQUIRE(losses.size() == inputs.size(), "losses ", losses.size());
        for (std::size_t t = 0; t < losses.size(); ++t) {
            const auto row = logits.matrix<float>().row_span(static_cast<index_t>(t));
            double sum = 0.0;
            for (const float logit : row) sum += std::exp(static_cast<double>(logit));
            const double wanted =
                std::log(sum) - static_cast<double>(row[static_cast<std::size_t>(ids[t + 1])]);
            SY_REQUIRE(std::fabs(static_cast<double>(losses[t]) - wanted) < 1e-5, "token ", t, ": ",
                       losses[t], " instead of ", wanted);
        }
        rank.groups.close();
    });
}
