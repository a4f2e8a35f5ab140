#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/exchange/traffic.hpp"
#include "kernels/core/types.hpp"
#include "runtime/json/json.hpp"
#include "runtime/telemetry/phase_timer.hpp"

/// What a run writes down. The names of the JSON fields are documented in runtime/telemetry/README.md; a test holds the
/// two together.
namespace sy::runtime {

/// A run begins, or goes on.
struct RunRecord {
    std::string version;
    std::string config_json;  ///< resolved
    std::string layout;
    std::string host;
    int ranks = 1;
    int threads = 1;  ///< of a rank
    std::string isa;  ///< instruction set that operations use
    index_t first_step = 1;
    std::vector<std::string> notes;  ///< model_notes, and what resuming had to say
};

/// Routing of one mixture layer in one step, over all ranks.
struct LayerRecord {
    index_t layer = 0;
    std::vector<index_t> load;  ///< choices of each expert, before drops
    index_t dropped = 0;
    std::uint64_t routing_hash = 0;
};

/// Seconds in which a rank did not wait for messages, over all ranks: how evenly they are loaded.
struct UsefulSeconds {
    double mean = 0.0;
    double max = 0.0;
};

/// One optimizer step. Losses are of the global batch; seconds, bytes and memory of rank 0.
struct StepRecord {
    index_t step = 0;
    double loss = 0.0;  ///< what is minimised; NaN without targets
    double token_loss = 0.0;
    index_t targets = 0;                                       ///< rows that have a target
    std::vector<std::pair<std::string, double>> extra_losses;  ///< by name, before their coefficients
    double learning_rate = 0.0;
    double gradient_norm = 0.0;
    bool applied = true;  ///< false: a gradient was not finite and the step was skipped
    index_t skipped = 0;  ///< steps skipped in this run so far
    index_t tokens = 0;
    double flops_per_token = 0.0;  ///< of the model's products, forward and backward
    double seconds = 0.0;
    PhaseSeconds phases;
    UsefulSeconds useful_seconds;
    std::uint64_t routing_hash = 0;  ///< sum over layers and micro-steps
    index_t dropped = 0;
    double imbalance = 1.0;  ///< highest load of an expert over the mean, worst layer
    std::vector<LayerRecord> layers;
    comm::ExchangeTraffic traffic;         ///< rows of tokens, of all ranks, since the step before
    comm::ExchangeTimes exchange_seconds;  ///< mean of all ranks, since the step before
    index_t gradient_bytes_sent = 0;
    index_t memory_bytes = 0;  ///< most that this rank has needed so far (Session::memory_bytes)

    double tokens_per_s() const;
    double flops_per_s() const { return tokens_per_s() * flops_per_token; }
    /// Share of the step in which this rank waited for messages.
    double communication_share() const;
};

struct EvalRecord {
    index_t step = 0;
    double loss = 0.0;  ///< nats a token
    double bits_per_byte = 0.0;
    double seconds = 0.0;
};

struct CheckpointRecord {
    index_t step = 0;
    std::string folder;
    double seconds = 0.0;        ///< that training stood still for it
    double total_seconds = 0.0;  ///< from the step to its publication
};

/// Experts of one mixture layer that got other places. Imbalance is of the load since the last placement: of the busiest
/// rank over the mean, copies of an expert sharing evenly.
struct LayerPlacementRecord {
    index_t layer = 0;
    index_t moved = 0;    ///< experts whose primary changed its rank
    index_t shadows = 0;  ///< further copies, in each expert-parallel group
    double imbalance_before = 1.0;
    double imbalance_after = 1.0;
};

/// A new placement after a step. Sums and worst layers.
struct PlacementRecord {
    index_t step = 0;
    index_t moved = 0;
    index_t shadows = 0;
    double imbalance_before = 1.0;
    double imbalance_after = 1.0;
    double seconds = 0.0;
    std::vector<LayerPlacementRecord> layers;

    void add(const LayerPlacementRecord& layer);
};

/// One rank of a run, since it began or was resumed.
struct RankRecord {
    std::string host;
    double useful_seconds = 0.0;  ///< of all its steps
    index_t memory_bytes = 0;     ///< most that it has needed
};

struct EndRecord {
    index_t step = 0;
    bool stopped_early = false;  ///< by a signal or run.stop_after, before train.steps
    index_t skipped = 0;
    std::vector<RankRecord> ranks = {};  ///< in order of ranks
};

/// Name of this machine.
std::string host_name();

Json to_json(const RunRecord& record);
Json to_json(const StepRecord& record);
Json to_json(const EvalRecord& record);
Json to_json(const CheckpointRecord& record);
Json to_json(const PlacementRecord& record);
Json to_json(const EndRecord& record);

}  // namespace sy::runtime
