// The benchmark's own rules: what it prints, and that a wrong result shows.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "comm/exchange/exchange.hpp"
#include "comm/local/local_fabric.hpp"
#include "model/moe/router/strategy.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/json/json.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
namespace {

const Report::Columns kColumns{"GFLOP/s", "of peak", "error"};

BenchRow good_row() {
    BenchRow row;
    row.what = "gemm";
    row.shape = "2 x 3 x 4";
    row.dtype = "f32";
    row.mode = "fast";
    row.pass = "product";
    row.times = {1.5, 2.5};
    row.rate = 10.0;
    row.share = 0.25;
    row.error = 1e-7;
    row.tolerance = 1e-6;
    return row;
}

}  // namespace

TEST_CASE("report: one wrong row makes the whole benchmark wrong, and shows", "[unit]") {
    std::ostringstream text;
    Report report(text, ReportStyle::table, kColumns);
    report.row(good_row());
    CHECK(report.all_right());
    CHECK(text.str().find("right") != std::string::npos);
    BenchRow wrong = good_row();
    wrong.error = GENERATE(1e-5, HUGE_VAL, std::nan(""));
    report.row(wrong);
    report.row(good_row());
    CHECK(!report.all_right());
    CHECK(text.str().find("WRONG") != std::string::npos);
}

TEST_CASE("report: in JSON every line is an object with the row's numbers, and notes are left out",
          "[unit]") {
    std::ostringstream text;
    Report report(text, ReportStyle::json, kColumns);
    report.note("for people");
    report.row(good_row());
    const Json row = Json::parse(text.str());
    CHECK(row.at("shape").as_string() == "2 x 3 x 4");
    CHECK(row.at("best_ms").as_number() == 1.5);
    CHECK(row.at("median_ms").as_number() == 2.5);
    CHECK(row.at("of peak").as_number() == 0.25);
    CHECK(row.at("right").as_bool());
}

TEST_CASE("bench: an unknown benchmark is refused with the known ones", "[unit]") {
    BenchOptions options;
    options.what = "fast";
    std::ostringstream out;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        CHECK_THROWS_WITH(run_bench(options, world, out),
                          Catch::Contains("gemm, ops, layer, device, routing, checkpoint, exchange or step"));
    });
}

TEST_CASE("bench: routing has a right row for every router, loss, noise and limit", "[unit]") {
    BenchOptions options;
    options.what = "routing";
    options.threads = 2;
    options.seconds = 0.0;
    options.style = ReportStyle::json;
    std::ostringstream out;
    comm::LocalFabric(1).run([&](comm::Communicator& world) { run_bench(options, world, out); });
    std::istringstream lines(out.str());
    std::vector<std::string> shapes;
    for (std::string line; std::getline(lines, line);) {
        const Json row = Json::parse(line);
        INFO(line);
        CHECK(row.at("right").as_bool());
        CHECK(row.at("% of layer").as_number() > 0.0);
        shapes.emplace_back(row.at("shape").as_string());
    }
    std::vector<std::string> expected = model::router_names();
    for (const char* const rule :
         {"top_k, switch_loss", "top_k, z_loss", "top_k, importance_loss", "top_k, device_loss",
          "top_k, communication_loss", "top_k, sequence_loss", "jitter", "gaussian noise", "gumbel noise",
          "learned noise", "learned noise, load_loss", "random second of 2", "router in bf16",
          "capacity by position", "capacity by score", "capacity by batch priority", "capacity of a rank",
          "budgets of devices"})
        expected.emplace_back(rule);
    CHECK(shapes == expected);
}

TEST_CASE("bench: a device has a right row for each limit, and for rows, products and a layer beside them",
          "[unit]") {
    BenchOptions options;
    options.what = "device";
    options.threads = 1;
    options.seconds = 0.0;
    options.style = ReportStyle::json;
    options.has_config = true;
    options.config.model.hidden = 32;
    options.config.model.seq_len = 16;
    options.config.train.global_batch = 2;
    options.config.moe.experts = 4;
    options.config.moe.top_k = 2;
    options.config.moe.shared_experts = 1;
    options.config.moe.expert_width = 24;
    std::ostringstream out;
    comm::LocalFabric(1).run([&](comm::Communicator& world) { CHECK(run_bench(options, world, out)); });
    std::istringstream lines(out.str());
    std::vector<std::string> passes;
    for (std::string line; std::getline(lines, line);) {
        const Json row = Json::parse(line);
        INFO(line);
        CHECK(row.at("right").as_bool());
        CHECK(row.at("GB/s, GFLOP/s").as_number() > 0.0);
        passes.emplace_back(row.at("pass").as_string());
    }
    std::vector<std::string> expected{"copy, the limit", "dispatch", "combine"};
    for (int dtype = 0; dtype < 2; ++dtype)
        expected.insert(expected.end(), {"product, the limit", "grouped products", "layer forward",
                                         "layer forward, backward"});
    CHECK(passes == expected);
}

TEST_CASE("bench: checkpoints hold what was written, and leave nothing in the run's folder", "[unit]") {
    const test::TestFolder folder;
    BenchOptions options;
    options.what = "checkpoint";
    options.threads = 1;
    options.seconds = 0.0;
    options.style = ReportStyle::json;
    options.config.run.directory = folder.path().string();
    std::ostringstream out;
    comm::LocalFabric(1).run([&](comm::Communicator& world) { CHECK(run_bench(options, world, out)); });
    std::istringstream lines(out.str());
    std::vector<std::string> passes;
    for (std::string line; std::getline(lines, line);) {
        const Json row = Json::parse(line);
        CHECK(row.at("right").as_bool());
        CHECK(row.at("MB/s").as_number() > 0.0);
        passes.emplace_back(row.at("pass").as_string());
    }
    CHECK(passes ==
          std::vector<std::string>{"plain write and fsync", "sharded", "of it, reading back", "single"});
    CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("bench: the exchange brings every row back on any number of ranks, and only rank 0 prints",
          "[unit]") {
    BenchOptions options;
    options.what = "exchange";
    options.threads = 1;
    options.seconds = 0.0;
    options.style = ReportStyle::json;
    const auto [ranks, wire, dtype] =
        GENERATE(table<int, model::WireFormat, std::string>({{1, model::WireFormat::bf16, "bf16"},
                                                             {3, model::WireFormat::f32, "f32"},
                                                             {3, model::WireFormat::fp8, "fp8"}}));
    options.has_config = true;
    options.config.model.hidden = 256;
    options.config.model.seq_len = 32;
    options.config.moe.experts = 6;
    options.config.moe.top_k = 3;
    options.config.moe.wire = wire;
    std::ostringstream out;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        std::ostringstream others;
        SY_REQUIRE(run_bench(options, world, world.rank() == 0 ? out : others), "a wrong result");
        SY_REQUIRE(world.rank() == 0 || others.str().empty(), "rank ", world.rank(), " printed");
    });
    std::istringstream lines(out.str());
    int num_rows = 0;
    for (std::string line; std::getline(lines, line); ++num_rows) {
        const Json row = Json::parse(line);
        CHECK(row.at("ranks").as_whole() == ranks);
        CHECK(row.at("dtype").as_string() == dtype);
        CHECK_THAT(row.at("shape").as_string(), Catch::EndsWith(" x 256, top 3 of 6"));
        CHECK(row.at("right").as_bool());
    }
    // Each with a plan, a dispatch, a return, and the last two together.
    CHECK(num_rows == 4 * std::ranges::count_if(comm::kExchangeKinds, comm::has_exchange));
}
