#include "runtime/train/exchange_choice.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "comm/collectives.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/shared/shared_segment.hpp"
#include "model/config.hpp"
#include "model/moe/wire.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/checkpoint/regular_file.hpp"

namespace sy::runtime {
namespace {

std::string gibibytes(double bytes) {
    return concat(std::ceil(bytes / 1073741824.0 * 100.0) / 100.0, " GiB");
}

/// None where this program knows no such exchange.
std::optional<comm::ExchangeKind> kind_named(const std::string& name) {
    for (const comm::ExchangeKind kind : comm::kExchangeKinds)
        if (name == comm::exchange_name(kind)) return kind;
    return {};
}

/// Tokens of a rank in a micro-step: those of the rank that has most.
index_t tokens_of_rank(const Config& config, int num_ranks) {
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    return (sequences + num_ranks - 1) / num_ranks * config.model.seq_len;
}

/// Rank 0 reads for all: other nodes need not have the file.
ExchangeTable read_table(const std::string& path, comm::Communicator& world) {
    constexpr index_t kMostBytes = index_t{16} << 20;
    std::string text;
    detail::fail_on_all_ranks(world, "reading parallel.exchange_table failed", [&] {
        if (world.rank() == 0) text = detail::read_regular_text(path, kMostBytes);
    });
    return parse_exchange_table(path, comm::all_gather(world, text).front());
}

/// The nodes of this rank's group, or, where the table was measured on these, of any other group that differs.
std::string nodes_of_groups(const ExchangeTable& table, comm::Communicator& world,
                            const comm::Topology& group) {
    const std::string measured = nodes_text(table.ranks_of_nodes);
    const std::vector<std::string> nodes = comm::all_gather(world, nodes_text(ranks_of_nodes(group)));
    const auto other = std::ranges::find_if(nodes, [&](const std::string& text) { return text != measured; });
    return other == nodes.end() ? measured : *other;
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

ExchangeChoice choose_exchange_of_gpus(ExchangeSetting setting, int ranks_of_node, int num_nodes) {
    if (setting == ExchangeSetting::one_sided)
        return {comm::ExchangeKind::one_sided,
                "parallel.exchange = one_sided is experimental with parallel.device = cuda: kernels that put "
                "rows into the memory of other GPUs have run on an emulation alone so far"};
    if (setting != ExchangeSetting::automatic) return choose_exchange(setting, ranks_of_node, 0.0, 0.0);
    if (ranks_of_node < 2) return {comm::ExchangeKind::flat, {}};
    if (num_nodes < 2)
        return {comm::ExchangeKind::flat,
                concat("parallel.exchange = auto takes flat: no row crosses a network between the ",
                       ranks_of_node, " GPUs of one node")};
    return {comm::ExchangeKind::hierarchical,
            concat("parallel.exchange = auto takes hierarchical: a row crosses the network once to each "
                   "node, whose ",
                   ranks_of_node, " GPUs pass it on")};
}

std::string automatic_problem(DeviceKind device, comm::ExchangeKind kind) {
    if (kind != comm::ExchangeKind::one_sided) return {};
    if (device == DeviceKind::cuda) return "is experimental with GPUs";
    return comm::has_exchange(kind) ? "" : "needs UCX, without which this program was built";
}

ExchangeChoice choose_exchange(const ExchangeTable& table, const std::string& path, const ExchangeNeed& need,
                               const ExchangeChoice& rule) {
    const auto by_rule = [&](const std::string& why) {
        return ExchangeChoice{rule.kind, concat(path, " ", why, "; parallel.exchange = auto takes ",
                                                comm::exchange_name(rule.kind), ", as without it")};
    };
    const std::string measured = nodes_text(table.ranks_of_nodes);
    if (measured != need.nodes) return by_rule(concat("was measured on ", measured, ", not on ", need.nodes));
    const ExchangeEntry& entry = table.nearest(need.tokens, need.row_bytes);
    const std::vector<ExchangeEntry::Time> ranking = entry.ranking();
    std::string passed_over;
    for (std::size_t i = 0; i < ranking.size(); ++i) {
        const std::optional<comm::ExchangeKind> kind = kind_named(ranking[i].exchange);
        if (!kind) {
            passed_over += concat("; this program has no exchange '", ranking[i].exchange, "'");
        } else if (const std::string problem = automatic_problem(need.device, *kind); !problem.empty()) {
            passed_over += concat("; ", ranking[i].exchange, " ", problem);
        } else if (*kind == comm::ExchangeKind::hierarchical && need.shared_bytes > need.room_bytes) {
            passed_over += concat("; hierarchical would take up to ", gibibytes(need.shared_bytes),
                                  ", but a /dev/shm has ", gibibytes(need.room_bytes), " left");
        } else {
            std::string note = concat("parallel.exchange = auto takes ", ranking[i].exchange, ": ", path);
            note += i + 1 < ranking.size() ? concat(" has it ", ranking[i + 1].ms / ranking[i].ms,
                                                    " times as fast as ", ranking[i + 1].exchange)
                                           : std::string(" has no other that can be had");
            return {*kind, concat(note, " for ", entry.tokens, " tokens of ", entry.row_bytes, " bytes, top ",
                                  table.top_k, "; here ", need.tokens, " of ", need.row_bytes, ", top ",
                                  need.top_k, passed_over)};
        }
    }
    return by_rule(concat("has no exchange that can be had here", passed_over));
}

double shared_bytes_of_node(const Config& config, int group_size, int ranks_of_node, int num_ranks) {
    const auto number = [](auto value) { return static_cast<double>(value); };
    const double tokens = number(tokens_of_rank(config, num_ranks));
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
    const bool on_gpus = config.parallel.device == DeviceKind::cuda;
    if (config.parallel.exchange == ExchangeSetting::one_sided && !on_gpus &&
        !comm::has_exchange(comm::ExchangeKind::one_sided))
        throw ConfigError(
            "parallel.exchange = one_sided: this binary was built without UCX; install its development "
            "package (libucx-dev) and build again with SY_WITH_UCX=ON, or take flat");
    int ranks_of_node = 1;
    for (int rank = 0; rank < group.num_ranks(); ++rank)
        ranks_of_node = std::max(ranks_of_node, group.ranks_on_node_of(rank));
    // Each rank sees the room of its own node, and shares it with other groups there.
    double numbers[3] = {static_cast<double>(comm::SharedSegment::room_bytes()),
                         -static_cast<double>(ranks_of_node), -static_cast<double>(group.num_nodes())};
    comm::all_reduce(world, std::span<double>(numbers), comm::ReduceOp::min);
    ranks_of_node = static_cast<int>(-numbers[1]);
    const ParallelConfig& parallel = config.parallel;
    // GPUs keep rows in their own memory.
    const double needed =
        on_gpus ? 0.0 : shared_bytes_of_node(config, group.num_ranks(), ranks_of_node, world.size());
    const ExchangeChoice rule =
        on_gpus ? choose_exchange_of_gpus(parallel.exchange, ranks_of_node, static_cast<int>(-numbers[2]))
                : choose_exchange(parallel.exchange, ranks_of_node, needed, numbers[0]);
    if (parallel.exchange_table.empty()) return rule;
    if (parallel.exchange != ExchangeSetting::automatic)
        return {rule.kind, concat("parallel.exchange_table = ", parallel.exchange_table,
                                  " is not read, as parallel.exchange = ", comm::exchange_name(rule.kind))};
    const ExchangeTable table = read_table(parallel.exchange_table, world);
    const double row_bytes =
        static_cast<double>(config.model.hidden) * model::wire_bytes(config.moe.wire, config.model.dtype).row;
    const ExchangeNeed need{nodes_of_groups(table, world, group),
                            tokens_of_rank(config, world.size()),
                            static_cast<index_t>(std::ceil(row_bytes)),
                            config.moe.top_k,
                            needed,
                            numbers[0],
                            parallel.device};
    return choose_exchange(table, parallel.exchange_table, need, rule);
}

}  // namespace sy::runtime
