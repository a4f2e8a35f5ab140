#include <algorithm>
#include <iomanip>

#include "comm/topology/topology.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/config/config.hpp"

namespace sy::runtime {
namespace {

std::string scaled(double value, const char* unit) {
    const char* const prefixes[] = {"", "k", "M", "G", "T", "P"};
    int prefix = 0;
    for (; value >= 1000.0 && prefix < 5; ++prefix) value /= 1000.0;
    std::ostringstream text;
    text << std::fixed << std::setprecision(2) << value << " " << prefixes[prefix] << unit;
    return text.str();
}

}  // namespace

std::string plan_report(const Config& config, int num_ranks) {
    const comm::ProcessGrid grid =
        comm::make_process_grid(num_ranks, narrow<int>(config.parallel.expert_parallel));
    const model::ModelSize size = model::model_size(config.model, config.moe);
    const auto total = static_cast<double>(size.total_parameters);
    const auto experts = static_cast<double>(size.expert_parameters);
    const double dense = total - experts;
    // Shadows are at most one of every expert on a rank.
    const double copies = std::min(static_cast<double>(config.moe.experts) / grid.expert_parallel +
                                       static_cast<double>(config.parallel.spare_experts),
                                   static_cast<double>(config.moe.experts));
    const double held = dense + experts / static_cast<double>(config.moe.experts) * copies;
    const double tokens = static_cast<double>(config.train.global_batch * config.model.seq_len);
    const double value_bytes = config.model.dtype == DType::bf16 ? 6.0 : 4.0;
    const double gradient_bytes = config.numerics == NumericsMode::fast ? 4.0 : 8.0;
    // Weights and gradients on every holder. On the owner two moments, gradients in float beside fixed point, and a
    // snapshot of weights and moments where checkpoints are written behind the training.
    const double owned = dense / num_ranks + experts / num_ranks;
    const bool snapshot =
        config.checkpoint.background && config.checkpoint.layout == CheckpointLayout::sharded;
    const double owned_bytes =
        8.0 + (config.numerics == NumericsMode::fast ? 0.0 : 4.0) + (snapshot ? 12.0 : 0.0);
    const double memory = held * (value_bytes + gradient_bytes) + owned * owned_bytes;
    double layers = 0.0;
    for (const bool is_moe : model::moe_layers(config.moe, config.model.layers)) layers += is_moe ? 1.0 : 0.0;
    // A token's choices fall on other ranks with probability (P - 1) / P; at most one row a rank and choice.
    const double remote = 1.0 - 1.0 / grid.expert_parallel;
    const double rows = tokens / num_ranks * static_cast<double>(config.moe.top_k) * remote;
    const double row_bytes = static_cast<double>(config.model.hidden) * 4.0;
    std::ostringstream text;
    const auto line = [&](const char* name, const std::string& value) {
        text << "  " << std::left << std::setw(46) << name << value << "\n";
    };
    text << num_ranks << " ranks, " << grid.to_string() << "\n";
    line("parameters", scaled(total, ""));
    line("active parameters of a token", scaled(static_cast<double>(size.active_parameters), ""));
    line("products of a token, forward and backward", scaled(size.train_flops_per_token(), "FLOP"));
    line("tokens of a step", scaled(tokens, ""));
    line("products of a step, each rank", scaled(size.train_flops_per_token() * tokens / num_ranks, "FLOP"));
    line("memory of weights and optimizer, each rank", scaled(memory, "B"));
    line("rows sent a step, each rank, at most", scaled(4.0 * layers * rows * row_bytes, "B"));
    line("gradients and weights sent a step, each rank",
         scaled((gradient_bytes + 4.0) * (dense * (num_ranks - 1) / num_ranks), "B"));
    for (const std::string& note : model::model_notes(config.moe)) text << "note: " << note << "\n";
    return text.str();
}

}  // namespace sy::runtime
