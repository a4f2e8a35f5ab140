// Which exchange is fastest for which rows, as a table that parallel.exchange = auto reads.
#include <cmath>
#include <filesystem>

#include "model/moe/wire.hpp"
#include "runtime/bench/exchange_rows.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/train/exchange_table.hpp"

namespace sy::runtime::bench {
namespace {

ExchangeEntry entry_of(const ExchangeShape& shape, model::WireFormat wire,
                       const std::vector<MeasuredWay>& measured) {
    const double row_bytes = static_cast<double>(shape.hidden) * model::wire_bytes(wire, DType::f32).row;
    ExchangeEntry entry{shape.tokens, static_cast<index_t>(std::ceil(row_bytes)), {}};
    for (const MeasuredWay& way : measured)
        entry.times.push_back({way.name, way.times.plan.best_ms + way.times.there_and_back.best_ms});
    return entry;
}

std::string verdict(const ExchangeShape& shape, const ExchangeEntry& entry) {
    const std::vector<ExchangeEntry::Time> ranking = entry.ranking();
    std::string text = concat("    ", shape.name, ": ", ranking[0].exchange);
    if (ranking.size() > 1)
        text += concat(", ", ranking[1].ms / ranking[0].ms, " times as fast as ", ranking[1].exchange);
    return text;
}

}  // namespace

void tune_exchange(const BenchOptions& options, comm::Communicator& world, Report& report) {
    if (world.size() < 2)
        throw ConfigError(
            "bench exchange --exchange-table: one rank sends nothing; start as many ranks as share the "
            "experts, on the "
            "nodes that the run will have");
    const std::filesystem::path path = options.exchange_table;
    detail::fail_on_all_ranks(world, "measuring which exchange is fastest failed", [&] {
        if (world.rank() == 0 && std::filesystem::exists(path))
            throw IoError(concat(path.string(), " exists; remove it, or give --exchange-table another name"));
    });
    ExchangeTable table;
    table.ranks_of_nodes = ranks_of_nodes(comm::discover_topology(world));
    table.threads = options.threads;
    table.top_k = options.has_config ? options.config.moe.top_k : 8;
    table.experts = options.has_config ? options.config.moe.experts : 64;
    for (const index_t hidden : {256, 1024, 4096}) {
        for (const index_t tokens : {1, 16, 256, 4096}) {
            const ExchangeShape shape = exchange_shape(tokens, hidden, table.top_k, table.experts);
            const std::vector<MeasuredWay> measured = measure_exchanges(
                options, shape, BenchRouting(shape, world.rank()), Peers::none, world, report);
            if (measured.empty()) continue;
            table.entries.push_back(entry_of(shape, options.config.moe.wire, measured));
            report.note(verdict(shape, table.entries.back()));
        }
    }
    detail::fail_on_all_ranks(world, "writing the table of exchanges failed", [&] {
        if (world.rank() == 0) write_exchange_table(path, table);
    });
    report.note(concat(path.string(), ": ", table.entries.size(), " sizes on ",
                       nodes_text(table.ranks_of_nodes), "; read by parallel.exchange_table"));
}

}  // namespace sy::runtime::bench
