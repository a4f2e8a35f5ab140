// Layouts, what they cost, and the files that costs come from, against counts by hand.
#include <catch2/catch.hpp>

#include <functional>
#include <sstream>

#include "runtime/cli/command_line.hpp"
#include "runtime/json/json.hpp"
#include "runtime/plan/recommend.hpp"
#include "runtime/train/least_squares.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

Config small_config() {
    Config config;
    config.model.vocab_size = 256;
    config.model.hidden = 64;
    config.model.layers = 3;
    config.model.heads = config.model.kv_heads = 4;
    config.model.ffn_width = 96;
    config.model.seq_len = 32;
    config.moe.layers = "from:1";
    config.moe.experts = 8;
    config.moe.top_k = 1;
    config.moe.expert_width = 32;
    config.train.global_batch = 16;
    return config;
}

Calibration round_costs() {
    Calibration calibration;
    calibration.host = "here";
    calibration.compute = {{.threads = 1,
                            .mixture = {1e-3, 1e-6},
                            .dense = {2e-3, 2e-6},
                            .rest = {3e-3, 3e-6},
                            .recompute = 1.5,
                            .optimizer_s_per_parameter = 1e-9}};
    calibration.flat = {1e-4, 1e-9};
    calibration.hierarchical = {2e-4, 2e-9};
    calibration.gradients = {5e-4, 4e-9};
    return calibration;
}

constexpr double kGib = 1U << 30U;

std::string message_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was thrown";
}

}  // namespace

TEST_CASE("cost line: through two points, and never below zero", "[unit]") {
    CHECK(line_through(1, 3, 3, 7) == CostLine{1, 2});
    CHECK(line_through(1, 5, 2, 4) == CostLine{4, 0});  // Noise: more takes less.
    CHECK(line_through(1, 1, 2, 4) == CostLine{0, 2});  // The line would begin below zero.
    CHECK(line_through(1, -1, 2, -2) == CostLine{0, 0});
}

TEST_CASE("nonnegative least squares: exact where it can be, and what noise would push below zero is zero",
          "[unit]") {
    const auto observed = [](std::vector<double> factors, double value) {
        return Observation{std::move(factors), value};
    };
    // 2 + 3 x, with a factor that no observation has.
    const std::vector<double> line =
        nonnegative_least_squares({observed({1, 1, 0}, 5), observed({1, 2, 0}, 8), observed({1, 5, 0}, 17)});
    CHECK(line[0] == Approx(2.0));
    CHECK(line[1] == Approx(3.0));
    CHECK(line[2] == 0.0);
    // Unbounded, the line through these is 7 - 2 x: the best without a slope is the mean.
    CHECK(nonnegative_least_squares({observed({1, 1}, 5), observed({1, 2}, 3)}) == std::vector<double>{4, 0});
    // 3 x - 2 begins below zero; the best through the origin is (1 + 8) / 5 x.
    const std::vector<double> origin = nonnegative_least_squares({observed({1, 1}, 1), observed({1, 2}, 4)});
    CHECK(origin[0] == 0.0);
    CHECK(origin[1] == Approx(1.8));
    CHECK(nonnegative_least_squares({observed({1, 1}, -1), observed({1, 2}, -4)}) ==
          std::vector<double>{0, 0});
}

TEST_CASE("calibration: a rank with other threads than measured takes those nearest, scaled", "[unit]") {
    Calibration calibration = round_costs();
    calibration.compute.push_back(calibration.compute[0]);
    calibration.compute[1].threads = 8;
    calibration.compute[1].mixture = {1e-4, 2e-7};
    CHECK(calibration.compute_with(1) == calibration.compute[0]);
    CHECK(calibration.compute_with(2).mixture == CostLine{1e-3, 5e-7});
    CHECK(calibration.compute_with(16).mixture == CostLine{1e-4, 1e-7});
    CHECK(calibration.compute_with(2).optimizer_s_per_parameter == 5e-10);
}

TEST_CASE("recommend: the layouts of small clusters, counted by hand", "[unit]") {
    Config config = small_config();
    config.train.global_batch = 4;
    // One rank of two threads: three accumulations, with and without recomputation. Two ranks: accumulations of 1 and 2, each
    // with a copy of all experts on a rank, or shared by a flat or hierarchical exchange.
    const std::vector<Layout> one_node = possible_layouts(config, {1, 2, kGib, 0.0});
    CHECK(one_node.size() == 3 * 2 + 2 * 2 * 3);
    // Of two nodes with a core each, no ranks share one.
    const std::vector<Layout> two_nodes = possible_layouts(config, {2, 1, kGib, 100.0});
    CHECK(two_nodes.size() == 2 * 2 * 2);
    for (const Layout& layout : two_nodes) CHECK(layout.exchange == ExchangeSetting::flat);
    // Three experts stand on no more than three ranks, and four sequences occupy no eight.
    config.moe.experts = 3;
    for (const Layout& layout : possible_layouts(config, {1, 8, kGib, 0.0})) {
        CHECK(layout.expert_parallel <= 3);
        CHECK(layout.ranks() <= 4);
        CHECK(layout.ranks_per_node * layout.threads == 8);
    }
}

TEST_CASE("recommend: the seconds of a step, by hand", "[unit]") {
    const Config config = small_config();
    const Cluster cluster{2, 2, kGib, 8.0};  // A gigabyte a second.
    Layout layout{.nodes = 2, .ranks_per_node = 2, .threads = 1, .expert_parallel = 2, .accumulation = 2};
    const auto predict = [&] {
        const Config laid = with_layout(config, layout);
        return predict_step(laid, layout, make_plan(laid, {4, 2}), cluster, round_costs());
    };
    const double experts = 2.0 * 8 * 3 * 64 * 32;
    const double dense = 3.0 * (4 * 64 * 64 + 2 * 64) + 2.0 * 64 * 8 + 3.0 * 64 * 96 + 2 * 256 * 64 + 64;
    // Two passes of 64 tokens a rank through two mixtures, a dense block and the head.
    const double rest = 2e-3 + 2e-6 * 64 + 3e-3 + 3e-6 * 64;
    const double mixtures = 2 * (1e-3 + 1e-6 * 64);
    StepCost cost = predict();
    CHECK(cost.compute == Approx(2 * (mixtures + rest)));
    // Half of 128 tokens have their expert on the other rank; rows there and back, forward and backward, in two mixtures.
    CHECK(cost.exchange == Approx(2 * 2 * 1e-4 + 1e-9 * (4.0 * 2 * 128 * 0.5 * 64 * 4)));
    // Of the dense gradients and weights a quarter goes to each other rank, of which one is near and two are not; of a rank's
    // experts half to its replica on the other node.
    const double each = 8 * dense / 4;
    const double far = 2 * each + 8 * experts / 2 / 2;
    CHECK(cost.gradients == Approx(5e-4 + 4e-9 * each + 2 * 10e-6 + 2 * far / 1e9));
    CHECK(cost.optimizer == Approx(1e-9 * (dense + experts) / 4));
    CHECK(cost.total() == Approx(cost.compute + cost.exchange + cost.gradients + cost.optimizer));

    // Blocks are computed once more, and so are the rows of their forward pass sent.
    const double exchange = cost.exchange;
    layout.recompute = model::Recompute::block;
    cost = predict();
    CHECK(cost.compute == Approx(2 * (1.5 * (mixtures + 2e-3 + 2e-6 * 64) + 3e-3 + 3e-6 * 64)));
    CHECK(cost.exchange == Approx(1.5 * exchange));
    // A rank with all experts sends no rows.
    layout.expert_parallel = 1;
    CHECK(predict().exchange == 0.0);
}

TEST_CASE("recommend: the fastest that fits memory stands first", "[unit]") {
    const Config config = small_config();
    const Recommendation roomy = recommend(config, {1, 4, 16 * kGib, 0.0}, round_costs());
    CHECK(roomy.num_too_large == 0);
    for (std::size_t i = 1; i < roomy.fitting.size(); ++i)
        CHECK(roomy.fitting[i - 1].cost.total() <= roomy.fitting[i].cost.total());
    // A little less than the fastest needs: others remain, and the text says that memory binds.
    const Cluster tight{1, 4, 0.99 * roomy.fitting.front().node_memory, 0.0};
    const Recommendation fitting = recommend(config, tight, round_costs());
    CHECK(fitting.num_too_large > 0);
    CHECK(fitting.fastest_too_large == roomy.fitting.front().cost.total());
    for (const Candidate& candidate : fitting.fitting) CHECK(candidate.node_memory <= tight.memory_per_node);
    CHECK(to_text(fitting, config, tight, round_costs()).find("memory binds") != std::string::npos);
    // Recomputation costs time alone, where memory does not bind.
    CHECK(roomy.fitting.front().layout.recompute == model::Recompute::none);
}

TEST_CASE("recommend: what is missing is said all at once, and what cannot fit with its size", "[unit]") {
    const Config config = small_config();
    const std::string all = message_of([&] { recommend(config, {2, 0, 0.0, 0.0}, round_costs()); });
    for (const char* option : {"--cores-per-node", "--mem-per-node", "--network-gbps"})
        CHECK(all.find(option) != std::string::npos);
    CHECK(message_of([&] {
              recommend(config, {1, 2, 1000.0, 0.0}, round_costs());
          }).find("the smallest needs") != std::string::npos);
    CHECK(message_of([&] {
              recommend(config, {32, 1, kGib, 1.0}, round_costs());
          }).find("train.global_batch = 16") != std::string::npos);
}

TEST_CASE("recommend: the settings in the text make the layout that stands first", "[unit]") {
    const Config config = small_config();
    const Cluster cluster{2, 2, kGib, 10.0};
    const std::string text = recommendation_report(config, cluster, "", ReportStyle::table);
    CHECK(text.find("Nothing was measured") != std::string::npos);
    const std::size_t first = text.find("[parallel]");
    const Config pasted = parse_config(text.substr(first, text.find("\n\n", first) - first), "text");
    const Layout best = recommend(config, cluster, assumed_calibration(config)).fitting.front().layout;
    CHECK(pasted.parallel.ranks == best.ranks());
    CHECK(pasted.parallel.threads == best.threads);
    CHECK(pasted.parallel.expert_parallel == best.expert_parallel);
    CHECK(pasted.train.accumulation == best.accumulation);
    std::istringstream lines(recommendation_report(config, cluster, "", ReportStyle::json));
    std::string line;
    REQUIRE(std::getline(lines, line));
    CHECK(Json::parse(line).at("threads").as_whole() == best.threads);
}

TEST_CASE("calibration file: reads back, and is neither overwritten nor taken for another model", "[unit]") {
    const test::TestFolder folder;
    const Config config = small_config();
    Calibration calibration = round_costs();
    calibration.model = calibrated_model(config);
    calibration.assumed = {"a sentence"};
    const std::filesystem::path path = folder / "costs.json";
    write_calibration(path, calibration);
    CHECK(read_calibration(path, config) == calibration);
    CHECK_THROWS_AS(write_calibration(path, calibration), IoError);
    // More layers cost more of the same; wider ones are others.
    Config other = config;
    other.model.layers = 7;
    CHECK(read_calibration(path, other) == calibration);
    other.model.hidden = 128;
    CHECK_THROWS_AS(read_calibration(path, other), ConfigError);
    CHECK_THROWS_AS(read_calibration(folder / "missing.json", config), IoError);
    for (const char* text : {"", "{}", "[1]", R"({"format":"switchyard calibration","version":2})"})
        CHECK_THROWS_AS(read_calibration(folder.file("wrong.json", text), config), IoError);
    std::string negative = test::read_text(path);
    negative.replace(negative.find("\"recompute\":1.5"), 15, "\"recompute\":-15");
    CHECK(message_of([&] {
              read_calibration(folder.file("negative.json", negative), config);
          }).find("'recompute' is -15") != std::string::npos);
}
