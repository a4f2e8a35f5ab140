#include "runtime/train/exchange_choice.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/shared/shared_segment.hpp"
#include "model/config.hpp"
#include "model/moe/wire.hpp"

namespace sy::runtime {
namespace {

std::string gibibytes(double bytes) {
    return concat(std::ceil(bytes / 1073741824.0 * 100.0) / 100.0, " GiB");
}

}  // namespace

ExchangeChoice choose_exchange(ExchangeSetting setting, int ranks_of_node, double needed_bytes,
                               double room_bytes) {
    if (setting == ExchangeSetting::flat) return {comm::ExchangeKind::flat, {}};
    if (setting == ExchangeSetting::hierarchical) return {comm::ExchangeKind::hierarchical, {}};
    if (setting == ExchangeSetting::one_sided) return {comm::ExchangeKind::one_sided, {}};
    // Without neighbours both are the same, and there is nothing to tell.
    if (ranks_of_node < 2) return {comm::ExchangeKind::flat, {}};
    if (needed_bytes > room_bytes)
        return {comm::ExchangeKind::flat,
                concat("parallel.exchange = auto takes flat: ", ranks_of_node,
                       " ranks of a node could share their rows, which takes up to ", gibibytes(needed_bytes),
                       ", but a /dev/shm has ", gibibytes(room_bytes), " left")};
    return {comm::ExchangeKind::hierarchical,
            concat("parallel.exchange = auto takes hierarchical: ", ranks_of_node,
                   " ranks of a node share their rows, up to ", gibibytes(needed_bytes), " in /dev/shm")};
}

double shared_bytes_of_node(const Config& config, int group_size, int ranks_of_node, int num_ranks) {
    const auto number = [](auto value) { return static_cast<double>(value); };
    const auto sequences = number(config.train.global_batch) / number(config.train.accumulation);
    const double tokens = std::ceil(sequences / num_ranks) * number(config.model.seq_len);
    const double nodes = number(group_size) / ranks_of_node;
    const auto top_k = number(config.moe.top_k);
    // A node gets what all ranks of the group send there, and as many rows come back to its ranks.
    const double rows = group_size * tokens * std::min(1.0, top_k / nodes);
    const double results = ranks_of_node * tokens * (top_k + std::min(nodes - 1.0, top_k));
    const std::vector<bool> mixtures = model::moe_blocks(config.moe, config.model);
    const auto layers = number(std::count(mixtures.begin(), mixtures.end(), true));
    const model::WireBytes wire = model::wire_bytes(config.moe.wire, config.model.dtype);
    const double row_bytes = number(config.model.hidden) * std::max(wire.row, wire.gradient);
    const double result_bytes = number(config.model.hidden) * wire.result;
    return 1.5 * (rows * (layers + 1.0) * row_bytes + results * result_bytes);
}

ExchangeChoice choose_exchange(const Config& config, comm::Communicator& world, const comm::Topology& group) {
    if (config.parallel.exchange == ExchangeSetting::one_sided &&
        !comm::has_exchange(comm::ExchangeKind::one_sided))
        throw ConfigError(
            "parallel.exchange = one_sided: this binary was built without UCX; install its development "
            "package "
            "(libucx-dev) and build again with SY_WITH_UCX=ON, or take flat");
    if (config.parallel.exchange == ExchangeSetting::one_sided) {
        index_t nodes[] = {group.num_nodes()};
        comm::all_reduce(world, std::span<index_t>(nodes), comm::ReduceOp::max);
        // A rank that waits for a message of MPI does not answer for UCX meanwhile, as sockets need it to.
        if (nodes[0] > 1)
            throw ConfigError(concat("parallel.exchange = one_sided: expert-parallel ranks are on ", nodes[0],
                                     " nodes, and this exchange works within one so far; take hierarchical"));
    }
    int ranks_of_node = 1;
    for (int rank = 0; rank < group.num_ranks(); ++rank)
        ranks_of_node = std::max(ranks_of_node, group.ranks_on_node_of(rank));
    // Each rank sees the room of its own node, and shares it with other groups there.
    double numbers[2] = {static_cast<double>(comm::SharedSegment::room_bytes()),
                         -static_cast<double>(ranks_of_node)};
    comm::all_reduce(world, std::span<double>(numbers), comm::ReduceOp::min);
    ranks_of_node = static_cast<int>(-numbers[1]);
    const double needed = shared_bytes_of_node(config, group.num_ranks(), ranks_of_node, world.size());
    return choose_exchange(config.parallel.exchange, ranks_of_node, needed, numbers[0]);
}

}  // namespace sy::runtime
