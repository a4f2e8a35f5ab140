// Which exchange a run takes when its settings leave it open.
#include <catch2/catch.hpp>

#include "runtime/train/exchange_choice.hpp"

using namespace sy;
using namespace sy::runtime;

TEST_CASE("exchange choice: ranks of a node share rows where there is room for them", "[unit]") {
    constexpr double kGiB = 1073741824.0;
    const auto kind = [](ExchangeSetting setting, int ranks, double needed, double room) {
        return choose_exchange(setting, ranks, needed, room).kind;
    };
    CHECK(kind(ExchangeSetting::automatic, 1, 0.0, kGiB) == comm::ExchangeKind::flat);
    CHECK(kind(ExchangeSetting::automatic, 2, kGiB, 2 * kGiB) == comm::ExchangeKind::hierarchical);
    CHECK(kind(ExchangeSetting::automatic, 8, 2 * kGiB, kGiB) == comm::ExchangeKind::flat);
    CHECK_THAT(choose_exchange(ExchangeSetting::automatic, 8, 2 * kGiB, kGiB / 16).note,
               Catch::Contains("8 ranks of a node") && Catch::Contains("up to 2 GiB") &&
                   Catch::Contains("0.07 GiB left"));
    // What the settings say is done, or fails where it cannot be.
    CHECK(kind(ExchangeSetting::hierarchical, 8, 2 * kGiB, kGiB) == comm::ExchangeKind::hierarchical);
    CHECK(kind(ExchangeSetting::flat, 8, kGiB, 2 * kGiB) == comm::ExchangeKind::flat);
    CHECK(choose_exchange(ExchangeSetting::flat, 8, kGiB, 2 * kGiB).note.empty());
}

TEST_CASE("exchange choice: shared memory of a small run, counted by hand", "[unit]") {
    Config config;
    config.model.hidden = 64;
    config.model.layers = 2;
    config.model.seq_len = 32;
    config.moe.experts = 8;
    config.moe.top_k = 2;
    config.moe.layers = "all";
    config.train.global_batch = 16;
    config.train.accumulation = 2;
    // One sequence a rank and micro-step. Every token has rows on both nodes; those of two layers are kept while a third is
    // filled. On a node four ranks have two slots a token and a row from the other node.
    const double rows = 8.0 * 32 * 64 * 4 * 3;
    const double results = 4.0 * 32 * 3 * 64 * 4;
    CHECK(shared_bytes_of_node(config, 8, 4, 8) == Approx(1.5 * (rows + results)));
}
