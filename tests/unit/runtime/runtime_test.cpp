// The program from outside: settings, data, generated text.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

std::string problems_of(const std::vector<std::string>& assignments) {
    try {
        load_config({"", assignments});
    } catch (const ConfigError& error) {
        return error.what();
    }
    return {};
}

}  // namespace

TEST_CASE("config: all problems come at once, each with its remedy", "[unit]") {
    const std::string text =
        problems_of({"moe.top_k=9", "model.hiden=3", "train.steps=many", "model.kv_heads=3",
                     "model.dtype=f16", "train.accumulation=7", "nonsense"});
    for (const char* part : {"moe.top_k = 9 is more than moe.experts = 8", "did you mean model.hidden?",
                             "'many' is not a whole number", "model.kv_heads = 3 does not divide",
                             "'f16' is not one of f32|bf16", "train.accumulation = 7 does not divide",
                             "--set nonsense: write section.key=value"}) {
        INFO(part);
        CHECK(text.find(part) != std::string::npos);
    }
    CHECK(problems_of({}).empty());
}

TEST_CASE("config: the dump reads back to the same values, and --set beats the environment beats the file",
          "[unit]") {
    const TestFolder folder;
    std::ofstream(folder / "a.conf")
        << "# comment\n[train]\nsteps = 5\nseed = 9\n[optimizer]\nlr = 0.1 # inline\n";
    ::setenv("SWITCHYARD_TRAIN_STEPS", "6", 1);
    const Config config = load_config({(folder / "a.conf").string(), {"optimizer.lr=0.30000000000000004"}});
    ::unsetenv("SWITCHYARD_TRAIN_STEPS");
    CHECK(config.train.steps == 6);
    CHECK(config.train.seed == 9);
    CHECK(config.optimizer.lr == 0.30000000000000004);
    CHECK(dump(parse_config(dump(config), "dump")) == dump(config));
    CHECK_THROWS_AS(load_config({(folder / "missing.conf").string(), {}}), ConfigError);
}

TEST_CASE("data: an epoch visits every window once, in an order of its own", "[unit]") {
    for (const index_t size : {1, 2, 7, 64, 1000}) {
        std::set<index_t> seen;
        index_t fixed = 0;
        for (index_t i = 0; i < size; ++i) {
            const index_t place = permute_index(i, size, 3, 0);
            CHECK((place >= 0 && place < size));
            seen.insert(place);
            fixed += place == permute_index(i, size, 3, 1) ? 1 : 0;
        }
        CHECK(static_cast<index_t>(seen.size()) == size);
        if (size >= 64) CHECK(fixed < size / 4);
    }
}

TEST_CASE("data: missing, empty and short files are refused with what is needed", "[unit]") {
    const TestFolder folder;
    Config config;
    config.model.seq_len = 16;
    CHECK_THROWS_AS(Corpus(config), ConfigError);
    config.data.path = (folder / "none").string();
    CHECK_THROWS_WITH(Corpus(config), Catch::Contains("is not a file"));
    std::ofstream(folder / "short") << "0123456789";
    config.data.path = (folder / "short").string();
    CHECK_THROWS_WITH(Corpus(config), Catch::Contains("needs at least 17"));
}
