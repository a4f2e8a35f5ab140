// Training whose experts follow their measured load: the same run, on other ranks.
#include <catch2/catch.hpp>

#include "runtime/json/json.hpp"
#include "tests/unit/model/layouts.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
namespace {

/// What must not depend on places: the numbers of every step, as they were written down.
struct Run {
    std::vector<double> loss;
    std::vector<double> norm;
    std::vector<std::string> hash;
    double validation = 0.0;
    std::vector<Json> placements;

    bool same_as(const Run& other) const {
        return loss == other.loss && norm == other.norm && hash == other.hash &&
               validation == other.validation;
    }
    index_t sum(const char* field) const {
        index_t total = 0;
        for (const Json& record : placements) total += record.at(field).as_whole();
        return total;
    }
};

Run run(int ranks, Config config, const std::string& directory, const std::string& resume = {}) {
    config.run.directory = directory;
    Run result;
    comm::LocalOptions options;
    options.ranks_per_node = 2;
    comm::LocalFabric(ranks, options).run([&](comm::Communicator& world) {
        Session session(config, world);
        train(session, resume, [] { return false; });
        const Corpus corpus(config);
        const double validation = validation_loss(session, corpus).loss;
        if (world.rank() == 0) result.validation = validation;
        // Copies of an expert keep to a node of two ranks.
        for (const auto& [layer, placement] : session.placements()) {
            for (index_t expert = 0; expert < placement.num_experts(); ++expert) {
                const std::span<const int> copies = placement.copies_of(expert);
                SY_REQUIRE(copies.front() / 2 == copies.back() / 2, placement.to_string());
            }
        }
        session.close();
    });
    std::ifstream file(directory + "/metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
        const Json record = Json::parse(line);
        if (record.at("type").as_string() == "placement") result.placements.push_back(record);
        if (record.at("type").as_string() != "step") continue;
        result.loss.push_back(record.at("loss").as_number());
        result.norm.push_back(record.at("gradient_norm").as_number());
        result.hash.emplace_back(record.at("routing_hash").as_string());
    }
    return result;
}

Config many_experts(const test::TestFolder& folder, NumericsMode numerics) {
    Config config = test::small_config(folder, numerics);
    config.moe.experts = 12;
    config.train.steps = 20;
    config.train.global_batch = 8;
    return config;
}

Config balanced(Config config, index_t every, index_t spare_experts) {
    config.parallel.placement = PlacementRule::balanced;
    config.parallel.rebalance_every = every;
    config.parallel.spare_experts = spare_experts;
    return config;
}

std::string name_of(const test::TestFolder& folder, const test::Layout& layout) {
    return (folder / concat("on", layout.ranks, "of", layout.expert_parallel, "by", layout.ranks_per_node))
        .string();
}

}  // namespace

TEST_CASE("rebalance: in reproducible mode 20 steps are the same bits wherever experts go", "[unit]") {
    const test::TestFolder folder;
    const Config plain = many_experts(folder, NumericsMode::reproducible);
    const Run reference = run(1, plain, (folder / "reference").string());
    REQUIRE(reference.loss.size() == 20);
    CHECK(reference.loss.back() < reference.loss.front());
    CHECK(reference.placements.empty());
    index_t moved = 0;
    index_t shadows = 0;
    for (const test::Layout& layout : test::kLayouts) {
        INFO(layout);
        Config config = balanced(plain, 3, 1);
        config.parallel.expert_parallel = layout.expert_parallel;
        const Run other = run(layout.ranks, config, name_of(folder, layout));
        CHECK(other.same_as(reference));
        CHECK(other.placements.size() == 6);
        moved += other.sum("moved");
        shadows += other.sum("shadows");
        for (const Json& record : other.placements)
            CHECK(record.at("imbalance_after").as_number() <=
                  1.021 * record.at("imbalance_before").as_number());
        if (layout.expert_parallel == 1) CHECK(other.sum("moved") + other.sum("shadows") == 0);
    }
    CHECK(moved > 50);
    CHECK(shadows > 20);
}

TEST_CASE("rebalance: in fast mode losses agree to 1e-5", "[unit]") {
    const test::TestFolder folder;
    const Config plain = many_experts(folder, NumericsMode::fast);
    const Run reference = run(1, plain, (folder / "reference").string());
    for (const test::Layout& layout : {test::Layout{2, 2}, {4, 2}, {8, 8}}) {
        INFO(layout);
        Config config = balanced(plain, 3, 1);
        config.parallel.expert_parallel = layout.expert_parallel;
        const Run other = run(layout.ranks, config, name_of(folder, layout));
        REQUIRE(other.loss.size() == reference.loss.size());
        for (std::size_t i = 0; i < other.loss.size(); ++i)
            CHECK(other.loss[i] == Approx(reference.loss[i]).epsilon(1e-5));
        CHECK(other.sum("moved") > 0);
    }
}

TEST_CASE("rebalance: a checkpoint of moved experts resumes anywhere, also without balance", "[unit]") {
    const test::TestFolder folder;
    const Config plain = many_experts(folder, NumericsMode::reproducible);
    const Run reference = run(1, plain, (folder / "reference").string());
    const std::string directory = (folder / "stopped").string();
    Config config = balanced(plain, 3, 1);
    config.run.stop_after = 9;  // right after experts have moved
    const Run first = run(4, config, directory);
    CHECK(first.loss.size() == 9);
    CHECK(first.placements.size() == 3);
    CHECK(first.sum("moved") > 0);
    config.run.stop_after = 14;
    CHECK(run(3, config, directory, "latest").loss.size() == 14);
    const Run last = run(2, plain, directory, "latest");
    CHECK(last.same_as(reference));
    CHECK(verify_checkpoint(find_checkpoint(directory, "latest")).empty());
}

TEST_CASE("rebalance: settings that would do nothing are refused", "[unit]") {
    const auto refusal = [](const std::vector<std::string>& assignments, const char* says) {
        INFO(says);
        CHECK_THROWS_WITH(load_config({"", assignments}), Catch::Contains(says));
    };
    refusal({"parallel.rebalance_every=5"}, "change nothing with parallel.placement = block");
    refusal({"parallel.spare_experts=1"}, "change nothing with parallel.placement = block");
    refusal({"parallel.placement=balanced"}, "set parallel.rebalance_every");
    CHECK_NOTHROW(load_config({"", {"parallel.placement=balanced", "parallel.rebalance_every=5"}}));
}

TEST_CASE("session: ranks that would place experts differently are told so", "[unit]") {
    const test::TestFolder folder;
    const Config config = many_experts(folder, NumericsMode::fast);
    CHECK_THROWS_WITH(comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Session session(config, world);
        comm::Placements placements = session.placements();
        if (world.rank() == 1) placements.at(1) = comm::Placement(PerExpert<int>(12, 0), 2);
        session.replace_experts(placements);
    }),
                      Catch::Contains("placement: ranks do not agree"));
}
