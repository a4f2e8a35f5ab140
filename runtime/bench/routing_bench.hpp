#pragma once

#include "kernels/core/indexed.hpp"
#include "model/moe/balance/loss.hpp"
#include "model/moe/moe_layer.hpp"
#include "runtime/bench/bench.hpp"

/// What `bench routing` times rules on: T tokens, H hidden, E experts, K choices.
namespace sy::runtime::bench {

inline constexpr index_t kRoutingTokens = 4096;
inline constexpr index_t kRoutingHidden = 512;
inline constexpr index_t kRoutingSequence = 256;
inline constexpr index_t kRoutingVocabulary = 256;

/// The layer "fine" of bench layer, without losses.
model::MoeConfig fine_config();

/// A batch and what layers are built from; the same for the router alone and the whole layer.
struct RoutingBench {
    Machine& machine;
    comm::Communicator& world;
    model::MoeConfig moe;
    model::ModelConfig config;
    model::Parameters parameters;
    model::LayerContext shared;
    PerToken<std::int32_t> ids;
    PerToken<float> token_loss;
    Tensor x;
    model::PassInfo pass;

    RoutingBench(Machine& machine, comm::Communicator& world, const model::MoeConfig& moe);
};

/// A router with its losses, as the layer runs it. The gradient of the weights is a pattern where there is no loss.
class Routed {
  public:
    Routed(Machine& machine, comm::Communicator& world, const model::MoeConfig& moe);
    /// Forward and backward.
    void run();
    static double weight_gradient(index_t choice) { return static_cast<double>((choice * 5) % 7) - 2.5; }

    RoutingBench bench;
    model::Router router;
    std::vector<std::unique_ptr<model::RouterLoss>> losses;
    model::Routing routing;
    Tensor dx;
    PerExpert<index_t> load;
    double value = 0.0;  ///< of the loss
};

/// A row of one rule. @param layer_ms  of the whole layer with top_k
BenchRow routing_row(const BenchOptions& options, const std::string& rule, const std::string& pass,
                     Times times, double layer_ms);

/// Chance, capacity and budgets, beside top_k.
void routing_options(const BenchOptions& options, Machine& machine, comm::Communicator& world,
                     double layer_ms, Report& report);

}  // namespace sy::runtime::bench
