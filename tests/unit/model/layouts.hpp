#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/train/optimizer.hpp"
#include "tests/unit/model/tiny_model.hpp"

/// Training of tiny models on ranks that are threads, and the layouts that must not show in it.
namespace sy::test {

struct Layout {
    int ranks = 1;
    int expert_parallel = 1;
    int ranks_per_node = 0;  ///< with the hierarchical exchange; 0: all on one node, with the flat one
};
inline std::ostream& operator<<(std::ostream& stream, const Layout& layout) {
    return stream << layout.ranks << " ranks, expert-parallel " << layout.expert_parallel << ", "
                  << layout.ranks_per_node << " a node";
}

/// All but one rank alone, which the others are compared with.
inline constexpr std::array kLayouts{Layout{2, 2},    Layout{2, 1},    Layout{3, 3, 2},
                                     Layout{4, 4},    Layout{4, 4, 4}, Layout{4, 2, 2},
                                     Layout{8, 8, 3}, Layout{8, 2},    Layout{8, 1}};

inline constexpr index_t kSequences = 8;  ///< of a global batch

struct Training {
    model::ModelConfig config = tiny_model();
    model::MoeConfig moe = tiny_moe();
    index_t steps = 10;
    NumericsMode numerics = NumericsMode::reproducible;
    /// Called on every rank after each step; empty: nothing is.
    std::function<void(Rank& rank, runtime::ShardedOptimizer& optimizer, index_t step)> after_step = {};
    std::function<std::unique_ptr<CpuDevice>()> make_device = {};  ///< for each rank; empty: the processor
};

/// What must not depend on the layout.
struct History {
    std::vector<double> loss;
    std::vector<double> extra_losses;  ///< those beside the tokens'
    std::vector<double> norm;
    std::vector<std::uint64_t> hash;
    index_t num_dropped = 0;
    model::DropLedger drops;                           ///< of all ranks, sorted
    std::map<std::string, std::vector<double>> state;  ///< of the routers, after the last step

    bool operator==(const History&) const = default;
};

/// Steps of AdamW.
History train(Layout layout, const Training& training);

/// Trains on every layout, and holds each to the history of one rank alone, bit for bit.
/// @return that history
History check_layouts(const Training& training);

}  // namespace sy::test
