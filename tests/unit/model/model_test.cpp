// Whole tiny models: gradients against finite differences, and training that does not show the layout.
#include <catch2/catch.hpp>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "tests/unit/model/tiny_training.hpp"

using namespace sy;
using namespace sy::model;
using test::History;
using test::Rank;
using test::tiny_model;
using test::tiny_moe;
using test::tokens;
using test::train;

TEST_CASE("transformer: gradients of every parameter agree with finite differences", "[unit]") {
    ModelConfig config = tiny_model();
    config.tied_head = GENERATE(false, true);
    config.recompute = GENERATE(Recompute::none, Recompute::block);
    MoeConfig moe = tiny_moe();
    // All experts chosen: no choice flips under the small changes, and the weights still carry gradients.
    moe.top_k = moe.experts;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Rank rank(world, 1, NumericsMode::fast, config, moe);
        const std::vector<std::int32_t> ids = tokens(0, 2, config);
        const BatchInfo batch{0, 2 * config.seq_len, 0, 0, 1};
        const auto loss = [&] { return rank.transformer.evaluate(ids, batch, rank.session.context).total; };
        rank.transformer.train(ids, batch, rank.session.context);
        for (const Sharding sharding : {Sharding::replicated, Sharding::expert}) {
            FlatGroup& flat = rank.parameters.group(sharding);
            const std::span<float> weights = flat.weights.values<float>();
            const std::span<float> gradient = flat.gradient.values<float>();
            for (const LocalMatrix& matrix : flat.matrices) {
                // Along the gradient itself the slope is its norm: one evaluation pair checks a whole matrix.
                const auto first = static_cast<std::size_t>(matrix.place.offset);
                const auto count = static_cast<std::size_t>(matrix.place.rows * matrix.place.cols);
                double norm = 0.0;
                for (std::size_t i = first; i < first + count; ++i)
                    norm += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
                norm = std::sqrt(norm);
                REQUIRE(norm > 1e-7);
                const std::vector<float> kept(
                    weights.begin() + matrix.place.offset,
                    weights.begin() + matrix.place.offset + static_cast<std::ptrdiff_t>(count));
                const double length = 2e-2;
                double values[2];
                for (const int side : {0, 1}) {
                    const double sign = side == 0 ? -1.0 : 1.0;
                    for (std::size_t i = 0; i < count; ++i) {
                        weights[first + i] =
                            kept[i] + static_cast<float>(sign * length *
                                                         static_cast<double>(gradient[first + i]) / norm);
                    }
                    values[side] = loss();
                }
                std::copy(kept.begin(), kept.end(), weights.begin() + matrix.place.offset);
                const double slope = (values[1] - values[0]) / (2.0 * length);
                INFO(rank.parameters.specs()[static_cast<std::size_t>(matrix.parameter)].name
                     << " " << matrix.global_idx);
                CHECK(slope == Approx(norm).epsilon(0.01).margin(2e-5));
            }
        }
    });
}

TEST_CASE("training: in reproducible mode 20 steps are bit-identical on every layout", "[unit]") {
    const ModelConfig config = tiny_model();
    MoeConfig moe = tiny_moe();
    moe.layers = "all";
    moe.capacity_factor = 0.9;
    moe.jitter = 0.05;
    const History reference = train(1, 1, NumericsMode::reproducible, config, moe, 20);
    CHECK(reference.loss.back() < reference.loss.front());
    CHECK(reference.num_dropped > 0);
    for (const auto& [ranks, expert_parallel] :
         {std::pair{2, 2}, {2, 1}, {3, 3}, {4, 2}, {4, 4}, {8, 8}, {8, 2}, {8, 1}}) {
        INFO(ranks << " ranks, expert-parallel " << expert_parallel);
        const History other = train(ranks, expert_parallel, NumericsMode::reproducible, config, moe, 20);
        CHECK(other.loss == reference.loss);
        CHECK(other.norm == reference.norm);
        CHECK(other.hash == reference.hash);
    }
}

TEST_CASE("training: in fast mode losses agree on every layout and the first routing is equal", "[unit]") {
    const ModelConfig config = tiny_model();
    MoeConfig moe = tiny_moe();
    moe.capacity_factor = 1.0;
    const History reference = train(1, 1, NumericsMode::fast, config, moe, 5);
    for (const auto& [ranks, expert_parallel] : {std::pair{2, 2}, {3, 3}, {4, 2}, {8, 4}}) {
        const History other = train(ranks, expert_parallel, NumericsMode::fast, config, moe, 5);
        for (std::size_t i = 0; i < 5; ++i) CHECK(other.loss[i] == Approx(reference.loss[i]).epsilon(1e-5));
        CHECK(other.hash[0] == reference.hash[0]);
    }
    const History again = train(4, 2, NumericsMode::fast, config, moe, 5);
    CHECK(again.loss == train(4, 2, NumericsMode::fast, config, moe, 5).loss);
}

TEST_CASE("training: recomputation changes no bit, and bf16 learns what float32 learns", "[unit]") {
    ModelConfig config = tiny_model();
    const MoeConfig moe = tiny_moe();
    const History plain = train(2, 2, NumericsMode::fast, config, moe, 5);
    config.recompute = Recompute::block;
    CHECK(train(2, 2, NumericsMode::fast, config, moe, 5).loss == plain.loss);
    config.recompute = Recompute::none;
    config.dtype = DType::bf16;
    const History rounded = train(2, 2, NumericsMode::fast, config, moe, 5);
    for (std::size_t i = 0; i < 5; ++i) CHECK(rounded.loss[i] == Approx(plain.loss[i]).epsilon(0.02));
}

TEST_CASE("generation: decoding with the cache gives the logits of a whole pass", "[unit]") {
    const ModelConfig config = tiny_model();
    const MoeConfig moe = tiny_moe();
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Rank rank(world, 2, NumericsMode::fast, config, moe);
        const std::vector<std::int32_t> ids = tokens(world.rank(), 1, config);
        Transformer::Generation state =
            rank.transformer.start_generation(1, config.seq_len, rank.session.context);
        double loss = 0.0;
        for (index_t t = 0; t < config.seq_len; ++t) {
            const Tensor logits = rank.transformer.decode(
                std::span<const std::int32_t>(ids).subspan(static_cast<std::size_t>(t), 1), state,
                rank.session.context);
            double sum = 0.0;
            for (const float value : logits.values<float>()) sum += std::exp(static_cast<double>(value));
            const auto target = static_cast<std::size_t>(ids[static_cast<std::size_t>(t) + 1]);
            loss += std::log(sum) - static_cast<double>(logits.values<float>()[target]);
        }
        double total = loss;
        comm::all_reduce(world, std::span<double>(&total, 1));
        const BatchInfo batch{world.rank() * config.seq_len, 2 * config.seq_len, 0, 0, 1};
        const double whole = rank.transformer.evaluate(ids, batch, rank.session.context).token_loss;
        SY_REQUIRE(std::fabs(total / static_cast<double>(2 * config.seq_len) - whole) < 1e-5, "decoded ",
                   total, ", whole ", whole);
        rank.groups.close();
    });
}
