// A whole tiny model against the same model in double: losses, drops, and the gradient of every single weight.
#include <catch2/catch.hpp>

#include "comm/local/local_fabric.hpp"
#include "tests/unit/model/reference_model.hpp"
#include "tests/unit/model/tiny_model.hpp"

using namespace sy;
using namespace sy::model;
using test::Rank;

namespace {

/// Where each weight of a flat group belongs in the reference.
template <class Body>
void for_each_weight(Rank& rank, const Body& body) {
    for (const Sharding sharding : {Sharding::replicated, Sharding::expert}) {
        FlatGroup& flat = rank.parameters.group(sharding);
        for (const LocalMatrix& matrix : flat.matrices) {
            const index_t size = matrix.place.rows * matrix.place.cols;
            const std::string& name =
                rank.parameters.specs()[static_cast<std::size_t>(matrix.parameter)].name;
            for (index_t i = 0; i < size; ++i)
                body(flat, static_cast<std::size_t>(matrix.place.offset + i), name,
                     static_cast<std::size_t>(matrix.global_idx * size + i));
        }
    }
}

test::ReferenceWeights weights_of(Rank& rank) {
    test::ReferenceWeights weights;
    for (const ParameterSpec& spec : rank.parameters.specs())
        weights[spec.name].resize(static_cast<std::size_t>(spec.shape.num_elements()));
    for_each_weight(rank, [&](FlatGroup& flat, std::size_t from, const std::string& name, std::size_t to) {
        weights[name][to] = static_cast<double>(flat.weights.values<float>()[from]);
    });
    return weights;
}

/// Largest difference between our gradients and central differences of the reference, over the largest of a tensor.
double worst_gradient_error(Rank& rank, const ModelConfig& config, const MoeConfig& moe,
                            const std::vector<std::int32_t>& ids, std::string& worst) {
    test::ReferenceWeights weights = weights_of(rank);
    std::map<std::string, double> difference;
    std::map<std::string, double> scale;
    for_each_weight(rank, [&](FlatGroup& flat, std::size_t from, const std::string& name, std::size_t to) {
        double& weight = weights[name][to];
        const double kept = weight;
        constexpr double kStep = 1e-5;
        weight = kept + kStep;
        const double above = test::reference_loss(config, moe, weights, ids).total;
        weight = kept - kStep;
        const double below = test::reference_loss(config, moe, weights, ids).total;
        weight = kept;
        const double slope = (above - below) / (2.0 * kStep);
        const double ours = static_cast<double>(flat.gradient.values<float>()[from]);
        difference[name] = std::max(difference[name], std::fabs(ours - slope));
        scale[name] = std::max(scale[name], std::fabs(slope));
    });
    double error = 0.0;
    for (const auto& [name, value] : difference) {
        const double relative = value / scale[name];
        if (relative < error) continue;
        error = relative;
        worst = name;
    }
    return error;
}

}  // namespace

TEST_CASE("transformer: losses and every gradient are those of the model in double", "[unit]") {
    ModelConfig config = test::tiny_model();
    config.vocab_size = 11;
    config.hidden = 8;
    config.heads = 2;
    config.kv_heads = 1;
    config.ffn_width = 10;
    config.seq_len = 6;
    config.init_std = 0.4;
    config.tied_head = GENERATE(false, true);
    MoeConfig moe = test::tiny_moe();
    moe.expert_width = 6;
    moe.min_capacity = 1;
    moe.capacity_factor = GENERATE(0.0, 0.75);
    moe.renormalise = GENERATE(false, true);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Rank rank(world, 1, NumericsMode::fast, config, moe);
        const std::vector<std::int32_t> ids = test::tokens(0, 2, config);
        const PassResult ours =
            rank.transformer.train(ids, {0, 2 * config.seq_len, 0, 0, 1}, rank.session.context);
        const test::ReferenceLoss reference = test::reference_loss(config, moe, weights_of(rank), ids);
        CHECK(ours.token_loss == Approx(reference.token_loss).epsilon(1e-6));
        CHECK(ours.extra_losses[0].value == Approx(reference.balance_loss).epsilon(1e-6));
        CHECK(ours.extra_losses[1].value == Approx(reference.z_loss).epsilon(1e-6));
        CHECK(ours.num_dropped == reference.num_dropped);
        if (moe.capacity_factor > 0.0) CHECK(ours.num_dropped > 0);
        std::string worst;
        CHECK(worst_gradient_error(rank, config, moe, ids, worst) < 2e-5);
        INFO(worst);
        rank.groups.close();
    });
}
