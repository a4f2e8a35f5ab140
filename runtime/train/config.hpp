#pragma once

#include <cstdint>
#include <string>

#include "kernels/core/device.hpp"

/// The settings that training owns.
namespace sy::runtime {

struct TrainConfig {
    index_t steps = 200;
    index_t global_batch = 16;  ///< sequences of an optimizer step, whatever the number of ranks
    index_t accumulation = 1;
    std::uint64_t seed = 1;
    index_t eval_every = 50;
    index_t eval_batches = 4;
    index_t max_skipped = 10;
    std::string freeze;  ///< patterns of parameter names, joined by commas
};

struct OptimizerConfig {
    double lr = 1e-3;
    double min_lr_ratio = 0.1;  ///< of the peak, at the last step
    index_t warmup_steps = 20;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.1;
    double clip_norm = 1.0;  ///< 0: no clipping
};

/// Where experts are: in equal runs for the whole run, or where measured load puts them.
enum class PlacementRule { block, balanced };

/// How rows travel: as comm::ExchangeKind says, or whichever suits the nodes of the run.
enum class ExchangeSetting { automatic, flat, hierarchical, one_sided };

struct ParallelConfig {
    index_t ranks = 0;  ///< what the run must be started with; 0: any number
    index_t expert_parallel = 0;
    DeviceKind device = DeviceKind::cpu;  ///< of every rank
    index_t threads = 0;
    index_t deadline_seconds = 120;
    ExchangeSetting exchange = ExchangeSetting::automatic;
    std::string
        exchange_table;  ///< of `bench exchange --exchange-table`, which `automatic` reads; empty: none
    PlacementRule placement = PlacementRule::block;
    index_t rebalance_every = 0;  ///< steps; 0: never
    index_t spare_experts = 0;    ///< copies a rank may hold beyond its even share
};

struct RunConfig {
    std::string directory = "run";
    index_t checkpoint_every = 100;
    index_t keep_last = 2;
    index_t stop_after = 0;  ///< leave cleanly after this step, as a signal would make it; 0: never
    index_t log_every = 10;
    bool drop_ledger = false;
    bool lock = true;  ///< keep other runs out of the directory
};

}  // namespace sy::runtime
