#pragma once

#include <memory>
#include <string>
#include <utility>

#include "comm/topology/topology.hpp"
#include "kernels/core/host_values.hpp"
#include "model/transformer.hpp"
#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/config/config.hpp"
#include "runtime/train/exchange_choice.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/processors.hpp"
#include "runtime/train/rank_device.hpp"
#include "runtime/train/row_groups.hpp"

namespace sy::runtime {

/// Builds and owns everything that a run on this rank needs, in order of dependence.
class Session {
  public:
    /// infer: there are neither gradients nor moments, and weights have no values before restore().
    enum class Purpose { train, infer };
    /// @par Collective over `world`
    Session(const Config& config, comm::Communicator& world, Purpose purpose = Purpose::train);
    /// @par Collective
    void close() {
        exchange_->close();
        row_groups_.close();
        groups_.close();
    }

    const Config& config() const { return config_; }
    comm::Communicator& world() const { return world_; }
    const Context& context() const { return context_; }
    const comm::Topology& topology() const { return topology_; }
    const comm::ProcessGrid& grid() const { return grid_; }
    model::Parameters& parameters() { return parameters_; }
    model::Transformer& transformer() { return *transformer_; }
    /// @pre  Purpose::train
    ShardedOptimizer& optimizer() {
        check_trains();
        return *optimizer_;
    }
    const ShardedOptimizer& optimizer() const {
        check_trains();
        return *optimizer_;
    }
    const comm::Exchange& exchange() const { return *exchange_; }
    /// Seconds that this rank has spent waiting for messages so far.
    double waited_seconds() const {
        return world_.waited_seconds() + groups_.waited_seconds() + row_groups_.waited_seconds() +
               exchange_->waited_seconds();
    }
    /// What this rank's tokens have lost since the last call; nothing without run.drop_ledger.
    model::DropLedger take_drops() { return std::exchange(drops_, {}); }
    /// Where mixtures write down their routing while it is open.
    model::RoutingLog& routing_log() { return routing_; }
    /// Where this rank's time is written down while it is open.
    TraceLog& trace() { return trace_; }
    /// What keeps this rank's threads from processors; empty when nothing does.
    const std::string& processor_note() const { return processors_.note; }
    /// How rows travel, where the settings leave it open; else empty.
    const std::string& exchange_note() const { return exchange_choice_.note; }
    /// How rows go from GPU to GPU; else empty.
    const std::string& gpu_note() const { return row_groups_.note(); }
    /// What this rank computes on.
    const RankDevice& rank_device() const { return device_; }
    /// The most memory of its device that this rank has needed so far, with what other ranks can reach of it.
    index_t memory_bytes() const {
        const bool reaches_device =
            !device_.is_gpu() || exchange_choice_.kind == comm::ExchangeKind::one_sided;
        return device_.peak_bytes() + (reaches_device ? exchange_->reachable_bytes() : 0);
    }
    /// Threads of this rank: of the processor where that computes, and of what else the host does, such as tokenizing.
    int num_threads() const { return processors_.threads; }

    /// What this rank contributes to a checkpoint: weights and moments of the rows it owns. @pre  Purpose::train
    struct Snapshot {
        HostValues values;
        std::vector<Piece> pieces;  ///< of `values`
    };
    Snapshot snapshot();
    /// Weights of everything this rank holds, and moments of what it owns if it trains, from any layout's checkpoint.
    /// @throws ConfigError listing every parameter that differs in name or shape; IoError on every rank when any fails
    /// @par Collective over the world
    void restore(const CheckpointReader& reader);
    std::string layout() const;
    const comm::Placements& placements() const { return parameters_.placements(); }
    /// Gives experts other places between steps; what is computed stays the same.
    /// @throws LogicError when ranks were given different placements
    /// @par Collective over the world
    void replace_experts(comm::Placements placements);
    /// Where operations report their time from now on; null: nowhere. Borrowed.
    void set_profile(Profile* profile) { context_.profile = profile; }

  private:
    void check_trains() const {
        SY_REQUIRE(optimizer_ != nullptr, "session: a model that does not learn has no optimizer");
    }
    /// This rank's part of restore().
    void read_values(const CheckpointReader& reader);

    Config config_;
    comm::Communicator& world_;
    comm::Topology topology_;
    ProcessorPlan processors_;
    RankDevice device_;
    comm::ProcessGrid grid_;
    comm::GridCommunicators groups_;
    RowGroups row_groups_;
    Context context_;
    comm::Topology group_topology_;
    ExchangeChoice exchange_choice_;
    std::unique_ptr<comm::Exchange> exchange_;
    model::DropLedger drops_;
    model::RoutingLog routing_;
    TraceLog trace_;
    model::ModelWorld model_world_;
    model::Parameters parameters_;
    std::unique_ptr<model::Transformer> transformer_;
    std::unique_ptr<ShardedOptimizer> optimizer_;  ///< or none
};

}  // namespace sy::runtime
