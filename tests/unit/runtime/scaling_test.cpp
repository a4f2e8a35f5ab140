#include <catch2/catch.hpp>

#include <cmath>
#include <sstream>

#include "runtime/report/scaling_export.hpp"
#include "runtime/report/scaling_simulation.hpp"
#include "runtime/report/scaling_table.hpp"
#include "runtime/telemetry/json_lines.hpp"
#include "runtime/telemetry/records.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::read_text;
using sy::test::TestFolder;

namespace {

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// A step as a run writes it, of two ranks with one mixture of two experts.
StepRecord step_record(index_t step, double seconds) {
    StepRecord record;
    record.step = step;
    record.loss = 2.5;
    record.tokens = 400;
    record.flops_per_token = 1e9;
    record.seconds = seconds;
    record.phases[Phase::compute] = 0.5 * seconds;
    record.phases[Phase::communication] = 0.25 * seconds;
    record.phases[Phase::optimizer] = 0.125 * seconds;
    record.useful_seconds = {0.5 * seconds, 0.625 * seconds};
    record.dropped = 1;
    record.imbalance = 1.5;
    record.layers = {{3, {30, 10}, 1, 7}};
    record.traffic = {{10, 100}, {20, 200}, {30, 300}, 250, 16};
    record.exchange_seconds = {{0.02, 0.01}, {0.04, 0.02}, {0.06, 0.03}};
    record.gradient_bytes_sent = 1000 * step;
    return record;
}

/// A run whose first step is slow, as a study leaves it behind.
void write_run(const std::filesystem::path& run, double seconds) {
    JsonLines lines(run / "metrics.jsonl");
    RunRecord begin;
    begin.version = "0.1.0";
    begin.config_json =
        R"({"model":{"hidden":64,"seq_len":32},"train":{"accumulation":2},)"
        R"("moe":{"experts":8,"top_k":2,"expert_width":16,"shared_experts":1,"wire":"bf16"}})";
    begin.isa = "avx2";
    begin.threads = 3;
    lines.write(to_json(begin));
    lines.write(to_json(step_record(1, 10.0)));
    for (index_t step = 2; step <= 9; ++step) lines.write(to_json(step_record(step, seconds)));
    lines.write(to_json(EndRecord{9, false, 0, {{"a", 1.0, 500}, {"a", 1.0, 300}}}));
}

/// A study of 1, 2 and 4 nodes with two ranks each, whose seconds of a step are 2 over the nodes in the first repeat.
void write_study(const TestFolder& folder, index_t repeats) {
    folder.file("study", "kind strong\nsteps 9\nwarmup 1\n");
    std::string points = "task\tpoint\trepeat\tnodes\tranks\texpert_parallel\texchange\tglobal_batch\n";
    index_t task = 0;
    for (index_t repeat = 1; repeat <= repeats; ++repeat) {
        for (const index_t nodes : {1, 2, 4}) {
            points +=
                concat(++task, "\tn", nodes, "\t", repeat, "\t", nodes, "\t", 2 * nodes, "\t0\tflat\t8\n");
            write_run(folder / concat("runs/n", nodes, ".", repeat),
                      2.0 / static_cast<double>(nodes) + 0.25 * static_cast<double>(repeat - 1));
        }
    }
    folder.file("points.tsv", points);
    std::filesystem::create_directory(folder / "results");
    for (const ScalingTask& each : read_scaling_study(folder.path()).tasks)
        folder.file(concat("results/", each.name(), ".json"),
                    to_line(measure_run(folder / concat("runs/", each.name()), each, 1)) + "\n");
}

}  // namespace

// The figures of scipy 1.17.1 and numpy 1.26.4 (scipy.stats.t.ppf, scipy.stats.t.interval with scipy.stats.sem,
// numpy.quantile, numpy.linalg.lstsq).
TEST_CASE("scaling: quantiles of Student's t are scipy's", "[unit]") {
    const struct {
        double probability;
        int degrees;
        double quantile;
    } known[] = {
        {0.9, 1, 3.0776835371752544},   {0.9, 4, 1.533206274058944},    {0.975, 1, 12.706204736174694},
        {0.975, 2, 4.302652729749462},  {0.975, 3, 3.1824463052837078}, {0.975, 4, 2.7764451051977934},
        {0.975, 7, 2.364624251592784},  {0.975, 10, 2.228138851986274}, {0.975, 101, 1.983731002955606},
        {0.995, 1, 63.656741162871526}, {0.995, 30, 2.7499956535672254}};
    for (const auto& [probability, degrees, quantile] : known)
        CHECK(student_t_quantile(probability, degrees) == Approx(quantile).epsilon(1e-10));
    CHECK(student_t_quantile(0.5, 4) == Approx(0.0).margin(1e-12));
}

TEST_CASE("scaling: means have intervals where there are repeats, and quantiles lie between values",
          "[unit]") {
    const std::vector<double> values{3.1, 2.9, 3.4, 3.0, 3.3};
    const Interval interval = mean_interval(values);
    CHECK(interval.mean == Approx(3.14));
    CHECK(interval.half_width == Approx(0.2574769267929078).epsilon(1e-10));
    CHECK(std::isnan(mean_interval(std::span(values).first(1)).half_width));
    const std::vector<double> four{3.1, 2.9, 3.4, 3.0};
    CHECK(quantile(four, 0.0) == 2.9);
    CHECK(quantile(four, 0.25) == Approx(2.975));
    CHECK(median(four) == Approx(3.05));
    CHECK(quantile(four, 0.75) == Approx(3.175));
    CHECK(quantile(four, 1.0) == 3.4);
    // 10 +- 1 over 5 +- 0.5: 2, with a tenth each, added as squares.
    CHECK(quotient({10.0, 1.0}, {5.0, 0.5}).mean == 2.0);
    CHECK(quotient({10.0, 1.0}, {5.0, 0.5}).half_width == Approx(2.0 * std::sqrt(0.02)));
}

TEST_CASE("scaling: the efficiencies of POP multiply", "[unit]") {
    // Two ranks compute 6 and 8 of 10 seconds.
    const PopEfficiencies pop = pop_efficiencies(7.0, 8.0, 10.0);
    CHECK(pop.parallel == Approx(0.7));
    CHECK(pop.load_balance == Approx(0.875));
    CHECK(pop.communication == Approx(0.8));
    CHECK(pop.parallel == Approx(pop.load_balance * pop.communication));
}

TEST_CASE("scaling: coefficients are those of numpy's least squares", "[unit]") {
    const std::vector<ScalingSample> samples{{1, 10.3}, {2, 5.4}, {4, 2.9}, {8, 1.75}, {16, 1.2}};
    const ScalingModel three = fit_terms(samples, {{-1.0, 0}, {0.0, 1}});
    CHECK(three.constant == Approx(0.284062499999998).epsilon(1e-9));
    CHECK(three.coefficients.at(0) == Approx(10.024999999999995).epsilon(1e-9));
    CHECK(three.coefficients.at(1) == Approx(0.07062499999999972).epsilon(1e-9));
    const ScalingModel two = fit_terms(samples, {{0.5, 1}});
    CHECK(two.constant == Approx(7.013078900887587).epsilon(1e-9));
    CHECK(two.coefficients.at(0) == Approx(-0.45202751862836504).epsilon(1e-9));
}

TEST_CASE("scaling: the model that made the samples is found, and held-out samples say how good it is",
          "[unit]") {
    const auto made_by = [](const ScalingModel& model) {
        std::vector<ScalingSample> samples;
        for (const double ranks : {1.0, 2.0, 4.0, 8.0, 16.0}) samples.push_back({ranks, model.at(ranks)});
        return samples;
    };
    for (const ScalingModel& made :
         {ScalingModel{2.0, {{-1.0, 0}}, {100.0}, 0.0}, ScalingModel{0.5, {{1.0, 1}}, {0.125}, 0.0},
          ScalingModel{3.0, {}, {}, 0.0}, ScalingModel{0.25, {{-1.0, 0}, {0.0, 1}}, {10.0, 0.5}, 0.0}}) {
        const std::optional<ScalingModel> found = fit_scaling(made_by(made), 128.0);
        REQUIRE(found);
        INFO(found->text());
        CHECK(found->terms == made.terms);
        CHECK(found->at(128.0) == Approx(made.at(128.0)).epsilon(1e-6));
        CHECK(found->held_out_error < 1e-6);
    }
    const std::vector<ScalingSample> measured{{1, 10.3}, {2, 5.4}, {4, 2.9}, {8, 1.75}, {16, 1.2}};
    const std::optional<ScalingModel> model = fit_scaling(measured, 128.0);
    REQUIRE(model);
    // The error of c + a/p, by numpy; the model that is taken is no worse.
    CHECK(model->held_out_error <= 0.07989130434782421);
    CHECK(model->held_out_error > 0.0);
    CHECK_FALSE(fit_scaling(std::span(measured).first(2), 8.0));
    const std::vector<ScalingSample> noise{{1, 1.0}, {2, 9.0}, {4, 1.0}, {8, 9.0}};
    CHECK_FALSE(fit_scaling(noise, 64.0));
}

TEST_CASE("scaling: a run is measured without its first steps", "[unit]") {
    const TestFolder folder;
    write_run(folder / "run", 0.5);
    const ScalingTask task{1, "n1", 1, 1, 2, 0, "flat", 8};
    const ScalingRun run = measure_run(folder / "run", task, 1);
    CHECK(run.measured_steps == 8);
    CHECK(run.hosts == std::vector<std::string>{"a"});
    CHECK(run.number("step_seconds") == 0.5);
    CHECK(run.number("tokens_per_s") == 800.0);
    CHECK(run.number("compute_seconds") == 0.25);
    CHECK(run.number("dispatch_seconds") == Approx(0.02));
    CHECK(run.number("gradient_seconds") == Approx(0.125 - 0.06));
    CHECK(run.number("other_seconds") == Approx(0.5 - 0.25 - 0.125 - 0.0625));
    CHECK(run.number("load_balance") == Approx(0.8));
    CHECK(run.number("communication_efficiency") == Approx(0.625));
    CHECK(run.number("exposed_communication") == Approx(0.5));
    CHECK(run.number("network_bytes") == 300.0);
    CHECK(run.number("network_bound_bytes") == 250.0);
    CHECK(run.number("gradient_bytes") == 1000.0);
    CHECK(run.number("dropped") == Approx(1.0 / 40.0));
    CHECK(run.number("memory_max_bytes") == 500.0);
    CHECK(run.number("memory_mean_bytes") == 400.0);
    CHECK(run.number("node_load_balance") == 1.0);
    CHECK(run.layers == std::vector<index_t>{3});
    REQUIRE(run.loads.size() == 4);
    CHECK(run.loads[3].last_step == 9);
    CHECK(run.loads[3].load.at(0) == std::vector<index_t>{60, 20});
    CHECK_THROWS_WITH(measure_run(folder / "run", task, 9), Catch::Contains("no step after the 9"));
    CHECK_THROWS_WITH(measure_run(folder / "none", task, 1), Catch::Contains("cannot read"));
    JsonLines(folder / "run/metrics.jsonl").write(to_json(EndRecord{9, true, 0}));
    CHECK_THROWS_WITH(measure_run(folder / "run", task, 1), Catch::Contains("did not reach its end"));
}

TEST_CASE("scaling: a line reads back, and no damaged one does", "[unit]") {
    const TestFolder folder;
    write_run(folder / "run", 0.5);
    const std::string line = to_line(measure_run(folder / "run", {1, "n1", 1, 1, 2, 0, "flat", 8}, 1));
    CHECK(to_line(scaling_run_from_line(line)) == line);
    for (std::size_t i = 0; i < line.size(); i += 17) {
        std::string damaged = line;
        damaged[i] = damaged[i] == '1' ? '2' : '1';
        CHECK_THROWS_AS(scaling_run_from_line(damaged), IoError);
        CHECK_THROWS_AS(scaling_run_from_line(line.substr(0, i)), IoError);
    }
}

TEST_CASE("scaling: a study knows what is missing, and tasks whose lines are damaged are", "[unit]") {
    const TestFolder folder;
    write_study(folder, 2);
    CHECK(read_scaling_study(folder.path()).missing.empty());
    std::filesystem::resize_file(folder / "results/n2.1.json", 100);
    std::filesystem::remove(folder / "results/n4.2.json");
    std::filesystem::copy_file(folder / "results/n1.1.json", folder / "results/n1.2.json",
                               std::filesystem::copy_options::overwrite_existing);
    const ScalingStudy study = read_scaling_study(folder.path());
    REQUIRE(study.missing.size() == 3);
    CHECK(study.missing[0].name() == "n2.1");
    CHECK(study.missing[1].name() == "n1.2");
    CHECK(study.missing[2].number == 6);
    CHECK(has(scaling_remarks(study, scaling_series(study)).front(), "n2.1, n1.2, n4.2"));
    CHECK_THROWS_WITH(read_scaling_study(folder / "results"), Catch::Contains("give the folder of a study"));
    folder.file("points.tsv", "task\npoint\n");
    CHECK_THROWS_WITH(read_scaling_study(folder.path()), Catch::Contains("no task"));
}

TEST_CASE("scaling: efficiency is of a rank's tokens, predictions are beyond the measured nodes", "[unit]") {
    const TestFolder folder;
    write_study(folder, 1);
    const ScalingStudy study = read_scaling_study(folder.path());
    const std::vector<ScalingSeries> series = scaling_series(study);
    REQUIRE(series.size() == 1);
    REQUIRE(series[0].points.size() == 3);
    CHECK(series[0].efficiency(series[0].points[0]).mean == 1.0);
    CHECK(series[0].efficiency(series[0].points[2]).mean == Approx(1.0));
    REQUIRE(series[0].predictions.size() == 3);
    CHECK(series[0].predictions[2].nodes == 32);
    CHECK(series[0].predictions[2].step_seconds == Approx(2.0 / 32.0));
    CHECK(series[0].predictions[2].tokens_per_s == Approx(400.0 * 16.0));
    std::ostringstream table;
    print_scaling_tables(table, study, series);
    CHECK(has(table.str(), "strong scaling, flat, experts over all ranks"));
    CHECK(has(table.str(), "predicted"));
    CHECK(has(table.str(), "A point with one repeat has no interval."));
    CHECK(has(table.str(), "fewer hosts than they have nodes"));
}

TEST_CASE("scaling: other programs get numbers with units and intervals", "[unit]") {
    const TestFolder folder;
    write_study(folder, 2);
    const ScalingStudy study = read_scaling_study(folder.path());
    const std::vector<ScalingSeries> series = scaling_series(study);
    std::ostringstream lines;
    print_lines(lines, series);
    CHECK(has(lines.str(), "n1.step_seconds 2.125 s\n"));
    // Two repeats whose halves of the difference are 0.125: t of one degree of freedom.
    CHECK(has(lines.str(), "n1.step_seconds.ci95 1.588275592"));
    CHECK(has(lines.str(), "n4.memory_max_bytes 500 B\n"));
    write_scaling_files(folder.path(), study, series);
    CHECK(has(read_text(folder / "results.jsonl"), "\"point\":\"n4\""));
    CHECK(has(read_text(folder / "points.csv"), "\nstrong,n1,1,2,0,flat,8,2,1,0,2.125,1.588275592"));
    CHECK(has(read_text(folder / "runs.csv"), "\nn4,4,8,0,flat,8,2,1,3,avx2,0.1.0,8,0.75,0.75,0.75,533.333"));
    CHECK(has(read_text(folder / "predictions.csv"), "flat,0,32,64,model,"));
    CHECK(has(read_text(folder / "extrap/flat-ep0.jsonl"),
              R"({"params":{"p":8},"callpath":"step->compute","metric":"time","value":2.5E-1})"));
    const Json talp = Json::parse(read_text(folder / "talp/flat-ep0/n1.1.json"));
    const Json& region = talp.at("Application").at("Global");
    CHECK(region.at("elapsedTime").as_whole() == 16'000'000'000);
    // Two ranks compute half of it.
    CHECK(region.at("usefulTime").as_whole() == 16'000'000'000);
    CHECK(region.at("mpiLoadBalance").as_number() == Approx(0.8));
    CHECK(region.at("parallelEfficiency").as_number() == Approx(0.5));
}

TEST_CASE("scaling: the simulator is asked for measured and larger sizes, and predicts as its layers grow",
          "[unit]") {
    const TestFolder folder;
    write_study(folder, 1);
    const auto series_of = [&] { return scaling_series(read_scaling_study(folder.path())); };
    std::vector<std::string> unknown;
    const std::vector<std::string> asked =
        simulations(read_scaling_study(folder.path()), series_of(), unknown);
    CHECK(unknown.empty());
    REQUIRE(asked.size() == 6);
    // 8 sequences in two micro-steps of 32 tokens each over 8 ranks; 400 GFLOP in half of two seconds on two ranks.
    CHECK(asked[2] ==
          "flat 0 4 8 --exchange flat --ranks 8 --ranks-per-node 2 --tokens 16 --hidden 64 --experts 8 "
          "--top-k 2 --width 16 --shared-width 16 --dtype bf16 --gflops 200 --json");
    CHECK(has(asked[5], "flat 0 32 64 --exchange flat --ranks 64"));
    CHECK(has(asked[5], "--tokens 2 "));
    // Steps take 2, 1 and 0.5 seconds; layers 2, 1 and 1, so that the last is off by a factor of two.
    folder.file("simulated.tsv",
                "flat\t0\t1\t2\t2\nflat\t0\t2\t4\t1\nflat\t0\t4\t8\t1\nflat\t0\t32\t64\t0.5\n");
    const std::vector<ScalingSeries> series = series_of();
    const ScalingPrediction& prediction = series.at(0).predictions.back();
    CHECK(prediction.by == "simulator");
    CHECK(prediction.nodes == 32);
    CHECK(prediction.step_seconds == Approx(0.25));
    CHECK(prediction.tokens_per_s == Approx(1600.0));
    CHECK(prediction.error == Approx(1.0));
    folder.file("simulated.tsv", "flat\t0\t1\n");
    CHECK_THROWS_WITH(series_of(), Catch::Contains("no simulated layer"));
}
