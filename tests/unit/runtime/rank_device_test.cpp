// Which GPU a rank takes, and which exchanges its rows can go by.
#include "runtime/train/rank_device.hpp"

#include <catch2/catch.hpp>

#include "runtime/train/exchange_choice.hpp"

using namespace sy;
using namespace sy::runtime;

TEST_CASE("rank device: each rank of a node takes a GPU that no other has", "[unit]") {
    using Lists = std::vector<std::vector<std::string>>;
    using Choice = std::vector<std::optional<int>>;
    CHECK(choose_gpus(Lists{{"a", "b", "c"}, {"a", "b", "c"}}) == Choice{0, 1});
    // A launcher may show each rank its own, or all in another order.
    CHECK(choose_gpus(Lists{{"a"}, {"b"}, {"c"}}) == Choice{0, 0, 0});
    CHECK(choose_gpus(Lists{{"a", "b"}, {"b", "a"}}) == Choice{0, 0});
    CHECK(choose_gpus(Lists{{"a", "b"}, {"a", "b"}, {"a", "b"}}) == Choice{0, 1, std::nullopt});
    CHECK(choose_gpus(Lists{{"a"}, {"a"}}) == Choice{0, std::nullopt});
    CHECK(choose_gpus(Lists{{}}) == Choice{std::nullopt});
}

TEST_CASE("rank device: what is experimental with GPUs is not taken by itself", "[unit]") {
    using comm::ExchangeKind;
    for (const ExchangeKind kind : comm::kExchangeKinds)
        CHECK(automatic_problem(DeviceKind::cpu, kind).empty() == comm::has_exchange(kind));
    CHECK(automatic_problem(DeviceKind::cuda, ExchangeKind::flat).empty());
    CHECK(automatic_problem(DeviceKind::cuda, ExchangeKind::hierarchical).empty());
    CHECK_THAT(automatic_problem(DeviceKind::cuda, ExchangeKind::one_sided), Catch::Contains("experimental"));
    const ExchangeChoice by_name = choose_exchange_of_gpus(ExchangeSetting::one_sided, 4, 1);
    CHECK(by_name.kind == ExchangeKind::one_sided);
    CHECK_THAT(by_name.note, Catch::Contains("one_sided is experimental with parallel.device = cuda"));

    // A table may name it: what is fastest there is passed over.
    ExchangeTable table;
    table.ranks_of_nodes = {2};
    table.top_k = 2;
    table.entries = {{64, 256, {{"one_sided", 1.0}, {"flat", 2.0}}}};
    const ExchangeNeed need{.nodes = nodes_text(table.ranks_of_nodes),
                            .tokens = 64,
                            .row_bytes = 256,
                            .top_k = 2,
                            .device = DeviceKind::cuda};
    const ExchangeChoice choice = choose_exchange(table, "T", need, {ExchangeKind::flat, {}});
    CHECK(choice.kind == ExchangeKind::flat);
    CHECK_THAT(choice.note, Catch::Contains("one_sided is experimental with GPUs"));
}

TEST_CASE("rank device: GPUs pass rows on inside nodes where there are several", "[unit]") {
    using comm::ExchangeKind;
    const auto kind = [](ExchangeSetting setting, int ranks_of_node, int num_nodes) {
        return choose_exchange_of_gpus(setting, ranks_of_node, num_nodes).kind;
    };
    CHECK(kind(ExchangeSetting::automatic, 4, 2) == ExchangeKind::hierarchical);
    CHECK(kind(ExchangeSetting::automatic, 4, 1) == ExchangeKind::flat);
    CHECK(kind(ExchangeSetting::automatic, 1, 4) == ExchangeKind::flat);
    CHECK(kind(ExchangeSetting::hierarchical, 4, 1) == ExchangeKind::hierarchical);
    CHECK(kind(ExchangeSetting::flat, 4, 2) == ExchangeKind::flat);
}
