#include "tests/unit/model/checks.hpp"

#include <catch2/catch.hpp>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"

namespace sy::test {

using namespace sy::model;

void check_gradients(const ModelConfig& config, const MoeConfig& moe, Use use, double tolerance) {
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Rank rank(world, 1, NumericsMode::fast, config, moe);
        const std::vector<std::int32_t> ids = tokens(0, 2, config);
        const BatchInfo batch{0, 2 * config.seq_len, 0, 0, 1};
        const auto loss = [&] {
            return use == Use::train ? rank.transformer.train(ids, batch, rank.session.context).total
                                     : rank.transformer.evaluate(ids, batch, rank.session.context).total;
        };
        for (const Sharding sharding : {Sharding::replicated, Sharding::expert}) {
            rank.parameters.zero_gradients();
            rank.transformer.train(ids, batch, rank.session.context);
            FlatGroup& flat = rank.parameters.group(sharding);
            const std::span<float> weights = flat.weights.values<float>();
            // Kept, for later passes add to it.
            const std::span<float> summed = flat.gradient.values<float>();
            const std::vector<float> gradient(summed.begin(), summed.end());
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
                const auto slope_over = [&](double length) {
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
                    return (values[1] - values[0]) / (2.0 * length);
                };
                // Two lengths, so that the loss's curvature cancels (Richardson).
                const double slope = (4.0 * slope_over(1e-2) - slope_over(2e-2)) / 3.0;
                std::copy(kept.begin(), kept.end(), weights.begin() + matrix.place.offset);
                INFO(rank.parameters.specs()[static_cast<std::size_t>(matrix.parameter)].name
                     << " " << matrix.global_idx);
                CHECK(slope == Approx(norm).epsilon(tolerance).margin(5e-5));
            }
        }
    });
}

void check_decoding(const ModelConfig& config, const MoeConfig& moe) {
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

}  // namespace sy::test
