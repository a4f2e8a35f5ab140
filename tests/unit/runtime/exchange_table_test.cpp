// Tables of which exchange is fastest: their file, and which entry is gone by.
#include <catch2/catch.hpp>

#include "kernels/core/error.hpp"
#include "runtime/train/exchange_choice.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

ExchangeTable small_table() {
    ExchangeTable table;
    table.ranks_of_nodes = {4, 4};
    table.threads = 2;
    table.top_k = 8;
    table.experts = 64;
    table.entries = {{1, 4096, {{"flat", 0.5}, {"hierarchical", 1.0}}},
                     {4096, 4096, {{"flat", 30.0}, {"hierarchical", 10.0}, {"telepathy", 5.0}}},
                     {4096, 1024, {{"flat", 8.0}, {"hierarchical", 8.0}}}};
    return table;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t place = text.find(from);
    SY_REQUIRE(place != std::string::npos, "no ", from, " in ", text);
    return text.replace(place, from.size(), to);
}

}  // namespace

TEST_CASE("exchange table: reads back as it was written, and says what was fastest", "[unit]") {
    const test::TestFolder folder;
    const std::filesystem::path path = folder / "table.json";
    write_exchange_table(path, small_table());
    const std::string text = test::read_text(path);
    CHECK(parse_exchange_table("table.json", text) == small_table());
    CHECK_THAT(text, Catch::Contains("\"fastest\":\"telepathy\",\"margin\":2E0"));
    CHECK(!std::filesystem::exists(path.string() + ".unfinished"));
}

TEST_CASE("exchange table: a file that says what cannot be is refused by name", "[unit]") {
    const test::TestFolder folder;
    write_exchange_table(folder / "table.json", small_table());
    const std::string text = test::read_text(folder / "table.json");
    const auto [from, to, problem] = GENERATE(table<std::string, std::string, std::string>(
        {{"switchyard exchange table", "another", "its 'format' is not 'switchyard exchange table'"},
         {"\"version\":1", "\"version\":7", "its version is 7, not 1"},
         {"\"version\"", "\"versions\"", "it lacks 'version'"},
         {"\"ranks_of_nodes\":[4,4]", "\"ranks_of_nodes\":[]", "'ranks_of_nodes' is no list"},
         {"\"ranks_of_nodes\":[4,4]", "\"ranks_of_nodes\":[4,0]",
          "a number of 'ranks_of_nodes' is no number"},
         {"\"tokens\":1,", "\"tokens\":-1,", "'tokens' is no number from 1"},
         {"\"row_bytes\":4096", "\"row_bytes\":\"4096\"", "'row_bytes' is no number from 1"},
         {"\"flat\":5E-1", "\"flat\":-5E-1", "the time of 'flat' is no time"},
         {"\"flat\":5E-1", "\"flat\":null", "the time of 'flat' is no time"},
         {"\"ms\":{\"flat\":5E-1,\"hierarchical\":1E0}", "\"ms\":{}", "'ms' has no exchange"},
         {"}]}", "}]", "is no exchange table"}}));
    CHECK_THROWS_WITH(parse_exchange_table("some/table.json", replaced(text, from, to)),
                      Catch::StartsWith("some/table.json is no exchange table") && Catch::Contains(problem));
}

TEST_CASE("exchange table: the nearest entry is that of the smallest factors", "[unit]") {
    const ExchangeTable table = small_table();
    CHECK(&table.nearest(1, 4096) == &table.entries[0]);
    CHECK(&table.nearest(63, 4096) == &table.entries[0]);
    CHECK(&table.nearest(65, 4096) == &table.entries[1]);
    CHECK(&table.nearest(64, 4096) == &table.entries[0]);  // as far from the second
    CHECK(&table.nearest(100000, 2049) == &table.entries[1]);
    CHECK(&table.nearest(4096, 16) == &table.entries[2]);
}

TEST_CASE("exchange table: nodes as text", "[unit]") {
    CHECK(nodes_text({1}) == "1 node of 1 rank");
    CHECK(nodes_text({4}) == "1 node of 4 ranks");
    CHECK(nodes_text({2, 2, 2}) == "3 nodes of 2 ranks");
    CHECK(nodes_text({4, 2}) == "nodes of 4, 2 ranks");
    CHECK(ranks_of_nodes({comm::PerRank<int>{0, 1, 0, 0}}) == std::vector<index_t>{3, 1});
}

TEST_CASE("exchange choice: by a table, the fastest that can be had", "[unit]") {
    const ExchangeTable table = small_table();
    const ExchangeChoice rule{comm::ExchangeKind::hierarchical, "by the rule"};
    ExchangeNeed need{"2 nodes of 4 ranks", 2048, 4096, 2, 100.0, 200.0};
    const ExchangeChoice fastest = choose_exchange(table, "T", need, rule);
    CHECK(fastest.kind == comm::ExchangeKind::hierarchical);
    CHECK(fastest.note ==
          "parallel.exchange = auto takes hierarchical: T has it 3 times as fast as flat for 4096 tokens of "
          "4096 bytes, top 8; here 2048 of 4096, top 2; this program has no exchange 'telepathy'");
    need.shared_bytes = 300.0;
    const ExchangeChoice without_room = choose_exchange(table, "T", need, rule);
    CHECK(without_room.kind == comm::ExchangeKind::flat);
    CHECK_THAT(without_room.note, Catch::Contains("auto takes flat: T has no other that can be had") &&
                                      Catch::Contains("hierarchical would take up to 0.01 GiB"));
    need.tokens = 2;
    CHECK(choose_exchange(table, "T", need, rule).kind == comm::ExchangeKind::flat);
    need.nodes = "1 node of 8 ranks";
    const ExchangeChoice elsewhere = choose_exchange(table, "T", need, rule);
    CHECK(elsewhere.kind == rule.kind);
    CHECK(elsewhere.note ==
          "T was measured on 2 nodes of 4 ranks, not on 1 node of 8 ranks; parallel.exchange = auto takes "
          "hierarchical, as without it");
}
