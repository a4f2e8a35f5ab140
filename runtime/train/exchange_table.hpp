#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/topology/topology.hpp"

/// Which exchange was fastest where, measured by `bench exchange --exchange-table` and read by `parallel.exchange = auto`. The format
/// of its file is described in runtime/bench/README.md.
namespace sy::runtime {

/// Rows of one size and what each exchange took for them.
struct ExchangeEntry {
    struct Time {
        std::string exchange;  ///< as parallel.exchange writes it; other programs may know others
        double ms = 0.0;       ///< plan, dispatch and return
        bool operator==(const Time&) const = default;
    };
    index_t tokens = 0;     ///< of a rank
    index_t row_bytes = 0;  ///< on the way to experts
    std::vector<Time> times;

    /// Fastest first; of equal ones that which stands first.
    std::vector<Time> ranking() const;
    bool operator==(const ExchangeEntry&) const = default;
};

struct ExchangeTable {
    std::vector<index_t> ranks_of_nodes;  ///< of each node, in the order of their lowest ranks
    index_t threads = 0;                  ///< of a rank
    index_t top_k = 0;
    index_t experts = 0;
    std::vector<ExchangeEntry> entries;

    /// The entry whose tokens and row bytes differ by the smallest factors; of equal ones the first.
    const ExchangeEntry& nearest(index_t tokens, index_t row_bytes) const;
    bool operator==(const ExchangeTable&) const = default;
};

std::vector<index_t> ranks_of_nodes(const comm::Topology& topology);

/// "2 nodes of 4 ranks", "nodes of 4, 2 ranks"
std::string nodes_text(const std::vector<index_t>& ranks_of_nodes);

/// Writes the file under another name, makes sure of it on the disk, and renames it.
/// @throws IoError with the path and the reason
void write_exchange_table(const std::filesystem::path& path, const ExchangeTable& table);

/// @param text  of the file at `path`, which messages name
/// @throws IoError where it is no such table, of another version, or says what cannot be
ExchangeTable parse_exchange_table(const std::string& path, const std::string& text);

}  // namespace sy::runtime
