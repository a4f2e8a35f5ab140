// The training loop: what it writes down, how it stops, and what it does with gradients that are not finite.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>

#include "kernels/core/gradient.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/json/json.hpp"
#include "runtime/train/resume.hpp"
#include "tests/unit/model/tiny_model.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
namespace {

Config tiny_run(const test::TestFolder& folder) {
    Config config = test::small_config(folder, NumericsMode::fast);
    config.train.steps = 6;
    config.train.eval_every = 4;
    return config;
}

/// Trains on ranks that are threads. @param stop_wanted  by rank
TrainingEnd train_on(int ranks, const Config& config, const std::function<bool(int)>& stop_wanted) {
    TrainingEnd end;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Session session(config, world);
        const TrainingEnd mine = train(session, "", [&] { return stop_wanted(world.rank()); });
        if (world.rank() == 0) end = mine;
        session.close();
    });
    return end;
}

/// The records of one type.
std::vector<Json> records(const Config& config, const std::string& type) {
    std::ifstream file(config.run.directory + "/metrics.jsonl");
    std::vector<Json> found;
    for (std::string line; std::getline(file, line);) {
        const Json record = Json::parse(line);
        if (record.at("type").as_string() == type) found.push_back(record);
    }
    return found;
}

double number(const Json& record, const char* key) {
    return record.at(key).as_number();
}

}  // namespace

TEST_CASE("train: every step is written down with where its time went and how it was routed", "[unit]") {
    const test::TestFolder folder;
    const Config config = tiny_run(folder);
    const TrainingEnd end = train_on(2, config, [](int) { return false; });
    CHECK(end.last_step == 6);
    CHECK(!end.interrupted);
    const std::vector<Json> steps = records(config, "step");
    REQUIRE(steps.size() == 6);
    for (const Json& step : steps) {
        double phases = 0.0;
        for (const auto& [name, seconds] : step.at("phases").as_object()) phases += seconds.as_number();
        CHECK(phases > 0.0);
        CHECK(phases <= number(step, "seconds"));
        CHECK(number(step.at("phases").as_object(), "communication") > 0.0);
        CHECK(number(step, "tokens") == 6 * 16);
        const double flops = model::model_size(config.model, config.moe).train_flops_per_token();
        CHECK(number(step, "flops_per_s") == Approx(flops * number(step, "tokens_per_s")));
        // Both ranks are on one node. Each row goes there in f32 and comes back, and the same in backward.
        const Json& traffic = step.at("traffic");
        CHECK(number(traffic.at("network"), "rows") == 0);
        CHECK(number(traffic, "network_bound") == 0);
        CHECK(number(traffic.at("node"), "rows") > 0);
        CHECK(number(traffic.at("node"), "bytes") ==
              number(traffic.at("node"), "rows") * 4 * static_cast<double>(config.model.hidden));
        CHECK(number(step, "gradient_bytes_sent") > 0.0);
        REQUIRE(step.at("layers").as_array().size() == 2);
        for (const Json& layer : step.at("layers").as_array()) {
            // Six sequences of 16 tokens, two choices a token, five experts.
            index_t load = 0;
            for (const Json& choices : layer.at("load").as_array()) load += choices.as_whole();
            CHECK(layer.at("load").as_array().size() == 5);
            CHECK(load == 6 * 16 * 2);
        }
    }
    CHECK(number(steps.back(), "loss") < number(steps.front(), "loss"));
    CHECK(records(config, "eval").size() == 1);
    CHECK(records(config, "checkpoint").size() == 1);
    CHECK(!records(config, "end").at(0).at("stopped_early").as_bool());
}

TEST_CASE("train: the same weights have the same validation loss for every accumulation and number of ranks",
          "[unit]") {
    const test::TestFolder folder;
    Config config = test::small_config(folder, NumericsMode::reproducible);
    config.moe.capacity_factor = 0.0;
    config.train.global_batch = 8;
    config.train.eval_batches = 3;
    for (const model::Architecture architecture :
         {model::Architecture::decoder, model::Architecture::encoder, model::Architecture::encoder_decoder}) {
        config.model.architecture = architecture;
        config.model.vocab_size = 300;
        std::vector<double> losses;
        for (const index_t accumulation : {1, 2, 4, 8}) {
            config.train.accumulation = accumulation;
            for (const int ranks : {1, 2}) {
                comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
                    Session session(config, world);
                    const Corpus corpus(config);
                    const double loss = validation_loss(session, corpus).loss;
                    if (world.rank() == 0) losses.push_back(loss);
                    session.close();
                });
            }
        }
        INFO(static_cast<int>(architecture));
        CHECK(losses[0] == Approx(std::log(300.0)).epsilon(0.05));
        CHECK(losses == std::vector<double>(losses.size(), losses[0]));
    }
}

TEST_CASE("train: weights that are not finite have no validation loss, however many batches are even",
          "[unit]") {
    const test::TestFolder folder;
    const Config config = tiny_run(folder);
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Session session(config, world);
        for (const ShardedOptimizer::OwnedRows& rows : session.optimizer().owned_rows())
            std::ranges::fill(host_values<float>(rows.weight), std::numeric_limits<float>::quiet_NaN());
        const Corpus corpus(config);
        const double loss = validation_loss(session, corpus).loss;
        SY_REQUIRE(std::isnan(loss), "a validation loss of ", loss);
        session.close();
    });
}

TEST_CASE("train: a session that only infers holds the weights alone, and finds the same loss", "[unit]") {
    const test::TestFolder folder;
    Config config = test::small_config(folder, NumericsMode::reproducible);
    config.model.hidden = 64;
    config.moe.expert_width = 64;
    config.train.steps = 2;
    config.model.dtype = GENERATE(DType::f32, DType::bf16);
    const double wanted = test::train_on(2, config, "");
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        const auto prepared_bytes = [&](Session::Purpose purpose) {
            Session session(config, world, purpose);
            session.restore(
                CheckpointReader(std::filesystem::path(config.run.directory) / "checkpoints" / "latest"));
            const index_t bytes = session.memory_bytes();
            const double loss = validation_loss(session, Corpus(config)).loss;
            SY_REQUIRE(loss == wanted, "a validation loss of ", loss, " instead of ", wanted);
            session.close();
            return bytes;
        };
        const index_t of_inference = prepared_bytes(Session::Purpose::infer);
        const index_t of_training = prepared_bytes(Session::Purpose::train);
        // Beside the weights, training has gradients of 8 bytes an element, and its share of a gradient and two moments of 4.
        SY_REQUIRE(3 * of_inference < of_training, of_inference, " bytes without training, ", of_training,
                   " with it");
    });
}

TEST_CASE("train: when one rank is asked to stop, all leave after that step with a checkpoint", "[unit]") {
    const test::TestFolder folder;
    const Config config = tiny_run(folder);
    int asked = 0;
    // The first question comes before the first step. A wish that is told once is kept.
    const TrainingEnd end = train_on(3, config, [&](int rank) { return rank == 2 && ++asked == 4; });
    CHECK(end.last_step == 3);
    CHECK(end.interrupted);
    CHECK(records(config, "end").at(0).at("stopped_early").as_bool());
    CHECK(read_manifest(find_checkpoint(config.run.directory, "latest")).step == 3);
}

TEST_CASE("train: a run that one rank is asked to stop before its first step ends with nothing saved",
          "[unit]") {
    const test::TestFolder folder;
    Config config = tiny_run(folder);
    config.moe.router = GENERATE("top_k", "hash");
    config.moe.balance.switch_loss = 0.0;
    config.moe.balance.z_loss = 0.0;
    const TrainingEnd end = train_on(3, config, [](int rank) { return rank == 1; });
    CHECK(end.last_step == 0);
    CHECK(end.interrupted);
    CHECK(records(config, "step").empty());
    CHECK(number(records(config, "end").at(0), "step") == 0);
    CHECK(records(config, "end").at(0).at("stopped_early").as_bool());
    CHECK_FALSE(std::filesystem::exists(config.run.directory + "/checkpoints/latest"));
}

TEST_CASE("train: a validation is abandoned by all ranks when one is asked to stop, and the step is saved",
          "[unit]") {
    const test::TestFolder folder;
    Config config = tiny_run(folder);
    config.train.eval_batches = 1000000;
    int asked = 0;
    // Once before the first step, after each of three, and before five batches of the validation.
    const TrainingEnd end = train_on(3, config, [&](int rank) { return rank == 1 && ++asked == 9; });
    CHECK(end.last_step == 4);
    CHECK(end.interrupted);
    CHECK(asked == 9);
    CHECK(records(config, "eval").empty());
    CHECK(read_manifest(find_checkpoint(config.run.directory, "latest")).step == 4);
}

TEST_CASE("train: what ends at train.steps did not stop early, and run.stop_after is no interruption",
          "[unit]") {
    const test::TestFolder folder;
    Config config = tiny_run(folder);
    config.train.eval_every = 0;
    int asked = 0;
    const TrainingEnd complete = train_on(1, config, [&](int) { return ++asked > 6; });
    CHECK(complete.last_step == 6);
    CHECK(!complete.interrupted);
    CHECK(!records(config, "end").at(0).at("stopped_early").as_bool());
    config.run.directory += "-paused";
    config.run.stop_after = 2;
    const TrainingEnd paused = train_on(1, config, [](int) { return false; });
    CHECK(paused.last_step == 2);
    CHECK(!paused.interrupted);
    CHECK(records(config, "end").at(0).at("stopped_early").as_bool());
}

TEST_CASE("train: steps without a finite gradient are skipped and counted, and too many end the run",
          "[unit]") {
    const test::TestFolder folder;
    Config config = tiny_run(folder);
    config.numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    // The first step throws the weights so far that every later loss overflows.
    config.optimizer.lr = 1e30;
    config.train.steps = 20;
    config.train.max_skipped = 3;
    config.run.checkpoint_every = 1;
    CHECK_THROWS_WITH(train_on(2, config, [](int) { return false; }),
                      Catch::Contains("3 steps in a row had a gradient that is not finite, the last was 4") &&
                          Catch::Contains("last checkpoint before them is of step 1"));
    const std::vector<Json> steps = records(config, "step");
    REQUIRE(steps.size() == 4);
    CHECK(steps[0].at("applied").as_bool());
    CHECK(!steps[3].at("applied").as_bool());
    CHECK(number(steps[3], "skipped") == 3);
    CHECK(read_manifest(find_checkpoint(config.run.directory, "latest")).step == 1);
    config.run.directory = folder / "unsaved";
    config.run.checkpoint_every = 0;
    CHECK_THROWS_WITH(train_on(2, config, [](int) { return false; }),
                      Catch::Contains("no checkpoint is from before them; start again"));
}

TEST_CASE("train: reproducible gradients know how many addends the whole step has", "[unit]") {
    const test::TestFolder folder;
    Config config = tiny_run(folder);
    config.numerics = NumericsMode::reproducible;
    config.train.global_batch = 64;
    config.model.tied_head = GENERATE(false, true);
    const auto tokens = static_cast<float>(config.train.global_batch * config.model.seq_len);
    REQUIRE(kGradientLimit * tokens > 0x1p17F);
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Session session(config, world);
        for (std::size_t id = 0; id < session.parameters().specs().size(); ++id) {
            const std::string& name = session.parameters().specs()[id].name;
            // A token's embedding is read by the head as well where that is tied.
            const float uses = name == "embedding.weight" && config.model.tied_head ? 2.0F : 1.0F;
            const float limit = session.parameters().gradient(static_cast<model::ParameterId>(id)).limit;
            SY_REQUIRE(limit * tokens * uses <= 0x1p17F, name, " takes addends up to ", limit);
            SY_REQUIRE(limit * tokens * uses > 0.99F * 0x1p17F, name, " takes addends up to ", limit,
                       " only");
        }
    });
}

TEST_CASE(
    "optimizer: a gradient that is not finite, or whose square is not, on one rank changes no weight on any",
    "[unit]") {
    const NumericsMode numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        test::Rank rank(world, 1, numerics, test::tiny_model(), test::tiny_moe());
        OptimizerConfig config;
        config.clip_norm = 0.0;
        ShardedOptimizer optimizer(config, rank.parameters, world, rank.groups, rank.session.context);
        model::FlatGroup& flat = rank.parameters.group(model::Sharding::replicated);
        const std::span<float> weights = flat.weights.values<float>();
        const std::vector<float> before(weights.begin(), weights.end());
        const auto put = [&](float value) {
            accumulate(std::span<const float>(&value, 1), 0, host_gradient(rank.parameters.gradient(0)));
        };
        if (world.rank() == 1) put(std::numeric_limits<float>::infinity());
        const ShardedOptimizer::Result skipped = optimizer.step(1, 10);
        SY_REQUIRE(!skipped.applied && !std::isfinite(skipped.gradient_norm), "norm ", skipped.gradient_norm);
        SY_REQUIRE(std::equal(before.begin(), before.end(), weights.begin()), "weights changed");
        // Its square is no float: a second moment of infinity would never move its weight again.
        if (world.rank() == 1) put(1e20F);
        const ShardedOptimizer::Result huge = optimizer.step(1, 10);
        SY_REQUIRE(!huge.applied && (numerics == NumericsMode::reproducible || huge.gradient_norm > 1e19),
                   "norm ", huge.gradient_norm);
        SY_REQUIRE(std::equal(before.begin(), before.end(), weights.begin()), "weights changed");
        if (world.rank() == 1) put(0.5F);
        const ShardedOptimizer::Result applied = optimizer.step(1, 10);
        SY_REQUIRE(applied.applied && std::fabs(applied.gradient_norm - 0.5) < 1e-6, "norm ",
                   applied.gradient_norm);
        SY_REQUIRE(!std::equal(before.begin(), before.end(), weights.begin()), "nothing was learnt");
        rank.groups.close();
    });
}

TEST_CASE("train: a stop while steps are being skipped keeps the last good checkpoint", "[unit]") {
    const test::TestFolder folder;
    Config config = tiny_run(folder);
    config.train.eval_every = 0;
    config.optimizer.lr = 1e30;
    config.train.steps = 20;
    config.train.max_skipped = 4;
    config.run.checkpoint_every = 1;
    config.run.keep_last = 1;
    const std::filesystem::path checkpoints = folder / "run/checkpoints";
    const auto published = [&] { return runtime::detail::published_steps(checkpoints); };
    config.run.stop_after = 3;
    train_on(1, config, [](int) { return false; });
    CHECK(read_manifest(find_checkpoint(config.run.directory, "latest")).state.skipped_in_a_row == 2);
    CHECK(published() == std::vector<index_t>{1, 3});
    config.run.stop_after = 4;
    test::train_on(2, config, "latest");
    CHECK(published() == std::vector<index_t>{1, 4});
    config.run.stop_after = 0;
    CHECK_THROWS_WITH(
        test::train_on(2, config, "latest"),
        Catch::Contains("the last was 5") && Catch::Contains("last checkpoint before them is of step 1"));
}

TEST_CASE("train: a balanced hash router counts the text once and resumes from its checkpoint without it",
          "[unit]") {
    const test::TestFolder folder;
    Config config = test::small_config(folder);
    config.moe.router = "hash";
    config.moe.hash = model::HashTable::balanced;
    config.moe.jitter = 0.0;
    config.moe.balance.switch_loss = 0.0;
    config.moe.balance.z_loss = 0.0;
    config.data.validation_fraction = 0.1;
    const double straight = test::train_on(1, config, "");
    Config halves = config;
    halves.run.directory = (folder / "halves").string();
    halves.run.stop_after = 4;
    test::train_on(2, halves, "");
    const std::map<std::string, std::vector<double>> table =
        CheckpointReader(find_checkpoint(halves.run.directory, "latest")).manifest().state.router;
    REQUIRE(table.size() == 2);
    // The most frequent byte of the training split comes first and goes to experts 0 and 1.
    const Corpus corpus(config);
    const std::vector<index_t> counts = corpus.count_tokens([] { return false; });
    const index_t num_bytes = corpus.files().file_bytes().front();
    CHECK(std::accumulate(counts.begin(), counts.end(), index_t{0}) ==
          num_bytes - static_cast<index_t>(static_cast<double>(num_bytes) * 0.1));
    const std::vector<index_t> called_off = corpus.count_tokens([] { return true; });
    CHECK(std::accumulate(called_off.begin(), called_off.end(), index_t{0}) == 0);
    const auto first = static_cast<std::size_t>(std::ranges::max_element(counts) - counts.begin());
    const std::vector<double>& entries = table.begin()->second;
    REQUIRE(entries.size() == 2 * 256);
    CHECK(entries[2 * first] == 0.0);
    CHECK(entries[2 * first + 1] == 1.0);
    halves.run.stop_after = 0;
    CHECK(test::train_on(3, halves, "latest") == straight);
    CHECK(CheckpointReader(find_checkpoint(halves.run.directory, "latest")).manifest().state.router == table);
}
