#include "runtime/train/exchange_table.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "switchyard exchange table";
constexpr index_t kVersion = 1;
constexpr index_t kMost = 1'000'000'000'000;

/// Reads members of a JSON object and names the place of what is wrong.
class Reader {
  public:
    explicit Reader(std::string path) : path_(std::move(path)) {}

    [[noreturn]] void refuse(const std::string& problem) const {
        throw IoError(concat(path_, " is no exchange table: ", problem,
                             "; measure one with switchyard bench exchange --exchange-table"));
    }
    const Json& member(const Json& object, const char* key) const {
        const Json* const value = object.find(key);
        if (value == nullptr) refuse(concat("it lacks '", key, "'"));
        return *value;
    }
    index_t count(const Json& object, const char* key) const {
        return whole(member(object, key), concat("'", key, "'"));
    }
    index_t whole(const Json& value, const std::string& what) const {
        if (!value.is_whole() || value.as_whole() < 1 || value.as_whole() > kMost)
            refuse(concat(what, " is no number from 1 to ", kMost));
        return value.as_whole();
    }
    const Json::Array& filled_array(const Json& object, const char* key) const {
        const Json& value = member(object, key);
        if (!value.is_array() || value.as_array().empty())
            refuse(concat("'", key, "' is no list, or an empty one"));
        return value.as_array();
    }

  private:
    std::string path_;
};

ExchangeEntry parse_entry(const Reader& reader, const Json& object) {
    ExchangeEntry entry;
    entry.tokens = reader.count(object, "tokens");
    entry.row_bytes = reader.count(object, "row_bytes");
    const Json& times = reader.member(object, "ms");
    if (!times.is_object() || times.as_object().empty()) reader.refuse("'ms' has no exchange");
    for (const Json::Member& member : times.as_object()) {
        const double ms = member.value.is_number() ? member.value.as_number() : 0.0;
        if (!(ms > 0.0) || !std::isfinite(ms))
            reader.refuse(concat("the time of '", member.name, "' is no time"));
        entry.times.push_back({member.name, ms});
    }
    return entry;
}

Json entry_json(const ExchangeEntry& entry) {
    const std::vector<ExchangeEntry::Time> ranking = entry.ranking();
    Json::Object times;
    for (const ExchangeEntry::Time& time : entry.times) times.push_back({time.exchange, time.ms});
    Json::Object object{
        {"tokens", entry.tokens}, {"row_bytes", entry.row_bytes}, {"fastest", ranking.front().exchange}};
    if (ranking.size() > 1) object.push_back({"margin", ranking[1].ms / ranking[0].ms});
    object.push_back({"ms", std::move(times)});
    return object;
}

}  // namespace

std::vector<ExchangeEntry::Time> ExchangeEntry::ranking() const {
    std::vector<Time> ranked = times;
    std::ranges::stable_sort(ranked, {}, &Time::ms);
    return ranked;
}

const ExchangeEntry& ExchangeTable::nearest(index_t tokens, index_t row_bytes) const {
    const auto factor = [](index_t a, index_t b) {
        return std::fabs(std::log2(static_cast<double>(a) / static_cast<double>(b)));
    };
    return *std::ranges::min_element(entries, {}, [&](const ExchangeEntry& entry) {
        return factor(entry.tokens, tokens) + factor(entry.row_bytes, row_bytes);
    });
}

std::vector<index_t> ranks_of_nodes(const comm::Topology& topology) {
    std::vector<index_t> ranks(static_cast<std::size_t>(topology.num_nodes()), 0);
    for (const int node : topology.node_of_rank) ++ranks[static_cast<std::size_t>(node)];
    return ranks;
}

std::string nodes_text(const std::vector<index_t>& ranks) {
    if (std::ranges::adjacent_find(ranks, std::not_equal_to()) == ranks.end())
        return concat(ranks.size(), ranks.size() == 1 ? " node of " : " nodes of ", ranks.front(),
                      ranks.front() == 1 ? " rank" : " ranks");
    std::string text = "nodes of";
    for (std::size_t i = 0; i < ranks.size(); ++i) text += concat(i == 0 ? " " : ", ", ranks[i]);
    return text + " ranks";
}

void write_exchange_table(const fs::path& path, const ExchangeTable& table) {
    Json::Array entries;
    for (const ExchangeEntry& entry : table.entries) entries.push_back(entry_json(entry));
    const Json text(Json::Object{{"format", kFormat},
                                 {"version", kVersion},
                                 {"ranks_of_nodes", json_array(table.ranks_of_nodes)},
                                 {"threads", table.threads},
                                 {"top_k", table.top_k},
                                 {"experts", table.experts},
                                 {"entries", std::move(entries)}});
    const fs::path unfinished = path.string() + ".unfinished";
    fs::remove(unfinished);  // left by a kill
    detail::write_text(unfinished, text.text() + "\n");
    fs::rename(unfinished, path);
    detail::flush_to_disk(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

ExchangeTable parse_exchange_table(const std::string& path, const std::string& text) {
    const Reader reader(path);
    Json file;
    try {
        file = Json::parse(text);
    } catch (const IoError& error) {
        reader.refuse(error.what());
    }
    const Json* const format = file.find("format");
    if (format == nullptr || *format != Json(kFormat))
        reader.refuse(concat("its 'format' is not '", kFormat, "'"));
    const index_t version = reader.count(file, "version");
    if (version != kVersion) reader.refuse(concat("its version is ", version, ", not ", kVersion));
    ExchangeTable table;
    for (const Json& ranks : reader.filled_array(file, "ranks_of_nodes"))
        table.ranks_of_nodes.push_back(reader.whole(ranks, "a number of 'ranks_of_nodes'"));
    table.threads = reader.count(file, "threads");
    table.top_k = reader.count(file, "top_k");
    table.experts = reader.count(file, "experts");
    for (const Json& entry : reader.filled_array(file, "entries"))
        table.entries.push_back(parse_entry(reader, entry));
    return table;
}

}  // namespace sy::runtime
