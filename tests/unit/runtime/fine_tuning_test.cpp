// Fine-tuning: freezing, expert dropout, upcycling; and the list of dropped choices.
#include <catch2/catch.hpp>

#include <map>

#include "kernels/core/gradient.hpp"
#include "runtime/checkpoint/compare.hpp"
#include "runtime/train/upcycle.hpp"
#include "runtime/train/drop_log.hpp"
#include "runtime/train/freeze.hpp"
#include "runtime/train/step.hpp"
#include "tests/unit/model/layouts.hpp"
#include "runtime/json/json.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace {

/// Values of a tensor in the latest checkpoint of a run.
std::vector<float> saved(const Config& config, Kind kind, const std::string& tensor) {
    const CheckpointReader reader(find_checkpoint(config.run.directory, "latest"));
    const MatrixShape size = matrix_shape(reader.manifest().shapes.at(tensor));
    std::vector<float> values;
    for (index_t matrix = 0; matrix < size.matrices; ++matrix) {
        std::vector<float> part(static_cast<std::size_t>(size.rows * size.cols));
        reader.read(kind, tensor, matrix, {0, size.rows}, size.cols, part);
        values.insert(values.end(), part.begin(), part.end());
    }
    return values;
}

bool all_zero(const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float value) { return value == 0.0F; });
}

/// Cross entropy of the first training batch, without noise, from a checkpoint.
double loss_of_first_batch(int ranks, const Config& config, const std::string& folder) {
    double loss = 0.0;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Session session(config, world);
        session.restore(CheckpointReader(folder));
        const Corpus corpus(config);
        const MicroBatch batch = make_batch(session, corpus, Split::train, {1, 0, 0});
        const double result =
            session.transformer().evaluate(batch.ids, batch.info, session.context()).token_loss;
        if (world.rank() == 0) loss = result;
        session.close();
    });
    return loss;
}

std::vector<Json> lines_of(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<Json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
    return lines;
}

/// A dense model that has learnt a little, and the mixture that is to be made of it.
struct Upcycling {
    TestFolder folder;
    Config dense = small_config(folder);
    Config mixture;
    std::string dense_folder;

    Upcycling() {
        dense.moe.layers = "none";
        dense.moe.capacity_factor = 0.0;
        dense.model.ffn_width = 24;
        dense.train.accumulation = 1;
        train_on(2, dense, "");
        dense_folder = (folder / "run/checkpoints/latest").string();
        mixture = dense;
        mixture.moe.layers = "all";
        mixture.moe.expert_width = 24;
        mixture.moe.jitter = 0.0;
        mixture.run.directory = (folder / "mixture").string();
    }
};

}  // namespace

TEST_CASE("freeze: patterns fit whole names", "[unit]") {
    CHECK(matches("*.moe.experts.*", "layers.3.moe.experts.up"));
    CHECK(matches("embedding*", "embedding.weight"));
    CHECK(matches("layers.?.attention.*", "layers.1.attention.query"));
    CHECK(matches("*", ""));
    CHECK(matches("a*b*c", "a1b2b3c"));
    CHECK(matches("abc", "abc"));
    CHECK_FALSE(matches("abc", "abcd"));
    CHECK_FALSE(matches("layers.?.attention.*", "layers.12.attention.query"));
    CHECK_FALSE(matches("a*b*c", "a1b2c3"));
    CHECK_FALSE(matches("", "a"));
}

TEST_CASE("freeze: frozen parameters keep every bit, and their gradients count nowhere", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder, GENERATE(NumericsMode::fast, NumericsMode::reproducible));
    config.train.steps = 1;
    config.optimizer.lr = 0.0;
    train_on(2, config, "");
    const std::vector<float> experts = saved(config, Kind::weight, "layers.0.moe.experts.up");
    const std::vector<float> embedding = saved(config, Kind::weight, "embedding.weight");
    const std::vector<float> query = saved(config, Kind::weight, "layers.0.attention.query");
    config = small_config(folder, config.numerics);
    config.run.directory = (folder / "frozen").string();
    config.parallel.expert_parallel = 2;
    config.train.freeze = "*.moe.experts.*, embedding*";
    train_on(4, config, "");
    CHECK(saved(config, Kind::weight, "layers.0.moe.experts.up") == experts);
    CHECK(saved(config, Kind::weight, "embedding.weight") == embedding);
    CHECK(saved(config, Kind::weight, "layers.0.attention.query") != query);
    for (const Kind kind : {Kind::m, Kind::v}) {
        CHECK(all_zero(saved(config, kind, "layers.0.moe.experts.up")));
        CHECK(all_zero(saved(config, kind, "embedding.weight")));
        CHECK_FALSE(all_zero(saved(config, kind, "layers.0.attention.query")));
    }
    if (config.numerics == NumericsMode::fast) return;
    // On any layout alike.
    Config other = config;
    other.run.directory = (folder / "other").string();
    other.parallel.expert_parallel = 0;
    const double loss = train_on(3, other, "");
    config.parallel.expert_parallel = 0;
    CHECK(loss == train_on(1, config, "latest"));
}

TEST_CASE("freeze: the gradient norm is that of what learns, step after step", "[unit]") {
    const NumericsMode numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Rank rank(world, 1, numerics, tiny_model(), tiny_moe());
        rank.parameters.freeze(0);
        ShardedOptimizer optimizer({}, rank.parameters, world, rank.groups, rank.session.context);
        for (index_t step = 1; step <= 2; ++step) {
            // What the first step adds to the frozen gradient must be gone in the second.
            const float huge = 1e6F;
            const float small = 0.5F;
            if (world.rank() == 0)
                accumulate(std::span(&huge, 1), 0, host_gradient(rank.parameters.gradient(0)));
            if (world.rank() == 1)
                accumulate(std::span(&small, 1), 0, host_gradient(rank.parameters.gradient(1)));
            const ShardedOptimizer::Result result = optimizer.step(step, 10);
            SY_REQUIRE(result.applied && std::fabs(result.gradient_norm - 0.5) < 1e-6, "norm ",
                       result.gradient_norm);
            const GradientView frozen = host_gradient(rank.parameters.gradient(0));
            SY_REQUIRE(frozen.f32 != nullptr ? frozen.f32[0] == 0.0F : frozen.fixed[0] == 0,
                       "the frozen gradient stays");
        }
        rank.groups.close();
    });
}

TEST_CASE("freeze: patterns that fit nothing are named with what was meant, and something must learn",
          "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    const auto refused = [&](const std::string& patterns) {
        config.train.freeze = patterns;
        try {
            train_on(1, config, "");
        } catch (const ConfigError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    CHECK_THAT(refused("*.moe.expert.*"), Catch::Contains("did you mean *.moe.experts.*?"));
    CHECK_THAT(refused("embeding.weight,zzzzzzzz"),
               Catch::Contains("did you mean embedding.weight?") && Catch::Contains("'zzzzzzzz'"));
    CHECK_THAT(refused("*"), Catch::Contains("freezes every parameter"));
}

TEST_CASE("expert dropout: bit-identical on every layout, and only in training", "[unit]") {
    model::MoeConfig moe = tiny_moe();
    const History plain = train({}, {.steps = 6});
    moe.expert_dropout = 0.4;
    const History reference = check_layouts({.moe = moe, .steps = 6});
    CHECK(reference.loss != plain.loss);
    model::ModelConfig recomputed = tiny_model();
    recomputed.recompute = model::Recompute::block;
    CHECK(train({2, 2}, {.config = recomputed, .moe = moe, .steps = 6}).norm == reference.norm);
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Rank with(world, 2, NumericsMode::fast, tiny_model(), moe);
        Rank without(world, 2, NumericsMode::fast, tiny_model(), tiny_moe());
        const std::vector<std::int32_t> ids = tokens(world.rank(), 1, tiny_model());
        const model::BatchInfo batch{world.rank() * 12, 24, 1, 0, 1};
        const double a = with.transformer.evaluate(ids, batch, with.session.context).total;
        const double b = without.transformer.evaluate(ids, batch, without.session.context).total;
        SY_REQUIRE(a == b, "evaluation drops: ", a, " and ", b);
        with.groups.close();
        without.groups.close();
    });
}

TEST_CASE("expert dropout: gradients of expert weights agree with finite differences", "[unit]") {
    model::MoeConfig moe = tiny_moe();
    moe.expert_dropout = 0.4;
    const model::ModelConfig config = tiny_model();
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Rank rank(world, 2, NumericsMode::fast, config, moe);
        const std::vector<std::int32_t> ids = tokens(2 * world.rank(), 2, config);
        const model::BatchInfo batch{2 * world.rank() * 12, 48, 3, 0, 1};
        const auto loss = [&] {
            rank.parameters.zero_gradients();
            return rank.transformer.train(ids, batch, rank.session.context).total;
        };
        loss();
        model::FlatGroup& flat = rank.parameters.group(model::Sharding::expert);
        const std::span<float> weights = flat.weights.values<float>();
        const std::vector<float> gradient(flat.gradient.values<float>().begin(),
                                          flat.gradient.values<float>().end());
        // Along the gradient of the experts of all ranks at once.
        double square = 0.0;
        for (const float value : gradient) square += static_cast<double>(value) * static_cast<double>(value);
        comm::all_reduce(world, std::span<double>(&square, 1));
        const double norm = std::sqrt(square);
        SY_REQUIRE(norm > 1e-3, "no gradient: ", norm);
        const std::vector<float> kept(weights.begin(), weights.end());
        double values[2];
        const double length = 2e-2;
        for (const int side : {0, 1}) {
            for (std::size_t i = 0; i < kept.size(); ++i) {
                const double move = (side == 0 ? -length : length) * static_cast<double>(gradient[i]) / norm;
                weights[i] = kept[i] + static_cast<float>(move);
            }
            values[side] = loss();
        }
        const double slope = (values[1] - values[0]) / (2.0 * length);
        SY_REQUIRE(std::fabs(slope - norm) < 0.01 * norm, "slope ", slope, ", norm ", norm);
        rank.groups.close();
    });
}

TEST_CASE("upcycle: experts are copies, routers fresh, the rest as it was, and nothing of the old run",
          "[unit]") {
    const Upcycling setting;
    const auto folder = setting.folder / "new";
    upcycle_checkpoint(setting.dense_folder, folder, setting.mixture);
    CHECK(verify_checkpoint(folder).empty());
    const CheckpointReader dense(setting.dense_folder);
    const CheckpointReader mixture(folder);
    CHECK(mixture.manifest().step == 0);
    CHECK(mixture.manifest().state.samples_consumed == 0);
    const auto read = [](const CheckpointReader& reader, Kind kind, const std::string& name, index_t matrix) {
        const MatrixShape size = matrix_shape(reader.manifest().shapes.at(name));
        std::vector<float> values(static_cast<std::size_t>(size.rows * size.cols));
        reader.read(kind, name, matrix, {0, size.rows}, size.cols, values);
        return values;
    };
    for (const std::string part : {"gate", "up", "down"}) {
        const std::string experts = "layers.1.moe.experts." + part;
        for (index_t expert = 0; expert < 5; ++expert) {
            CHECK(read(mixture, Kind::weight, experts, expert) ==
                  read(dense, Kind::weight, "layers.1.feed_forward." + part, 0));
            CHECK(all_zero(read(mixture, Kind::m, experts, expert)));
        }
    }
    CHECK(read(mixture, Kind::weight, "embedding.weight", 0) ==
          read(dense, Kind::weight, "embedding.weight", 0));
    CHECK_FALSE(all_zero(read(dense, Kind::v, "embedding.weight", 0)));
    CHECK(all_zero(read(mixture, Kind::v, "embedding.weight", 0)));
    // A run of the same seed would begin with this router.
    Config fresh = setting.mixture;
    fresh.run.directory = (setting.folder / "fresh").string();
    fresh.train.steps = 1;
    fresh.optimizer.lr = 0.0;
    train_on(2, fresh, "");
    CHECK(read(mixture, Kind::weight, "layers.1.moe.router", 0) ==
          saved(fresh, Kind::weight, "layers.1.moe.router"));
}

TEST_CASE("upcycle: the first step reproduces the dense loss, and training goes on from there", "[unit]") {
    Upcycling setting;
    setting.mixture.moe.layers = GENERATE("all", "every:2");
    setting.mixture.moe.top_k = GENERATE(1, 3);
    const std::string folder = (setting.folder / "new").string();
    upcycle_checkpoint(setting.dense_folder, folder, setting.mixture);
    const double dense = loss_of_first_batch(2, setting.dense, setting.dense_folder);
    CHECK(std::fabs(loss_of_first_batch(2, setting.mixture, folder) - dense) < 1e-5);
    train_on(3, setting.mixture, folder);
    std::vector<double> losses;
    for (const Json& line : lines_of(setting.mixture.run.directory + "/metrics.jsonl")) {
        if (line.at("type").as_string() == "step") losses.push_back(line.at("token_loss").as_number());
    }
    REQUIRE(losses.size() == 8);
    CHECK(std::fabs(losses[0] - dense) < 1e-5);
    CHECK(losses.back() < losses[0]);
    CHECK(read_manifest(find_checkpoint(setting.mixture.run.directory, "latest")).step == 8);
}

TEST_CASE("upcycle: everything that does not fit is told at once, and nothing is written", "[unit]") {
    Upcycling setting;
    const auto folder = setting.folder / "new";
    setting.mixture.moe.expert_width = 8;
    setting.mixture.moe.shared_experts = 1;
    setting.mixture.model.hidden = 32;
    CHECK_THROWS_WITH(upcycle_checkpoint(setting.dense_folder, folder, setting.mixture),
                      Catch::Contains("moe.expert_width = its width") &&
                          Catch::Contains("set moe.shared_experts = 0") &&
                          Catch::Contains("embedding.weight is [256, 16] in the dense checkpoint"));
    CHECK_FALSE(std::filesystem::exists(folder));
    CHECK_THROWS_WITH(upcycle_checkpoint(setting.dense_folder, folder, setting.dense),
                      Catch::Contains("no feed-forward of the checkpoint becomes a mixture"));
    setting.mixture = setting.dense;
    setting.mixture.moe.layers = "all";
    setting.mixture.moe.expert_width = 24;
    setting.mixture.model.layers = 1;
    CHECK_THROWS_WITH(
        upcycle_checkpoint(setting.dense_folder, folder, setting.mixture),
        Catch::Contains("layers.1.feed_forward.up [16, 24] of the dense checkpoint has no place"));
    setting.mixture.model.layers = 2;
    CHECK(upcycle_notes(setting.mixture.moe).empty());
    setting.mixture.moe.renormalise = false;
    setting.mixture.moe.capacity_factor = 1.0;
    CHECK(upcycle_notes(setting.mixture.moe).size() == 2);
    upcycle_checkpoint(setting.dense_folder, folder, setting.mixture);
    CHECK_THROWS_WITH(upcycle_checkpoint(setting.dense_folder, folder, setting.mixture),
                      Catch::Contains("exists already"));
}

TEST_CASE("drop ledger: the file lists what the steps count, in order, alike on every layout", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.run.drop_ledger = true;
    config.moe.drop_by = model::DropBy::score;
    config.moe.experts = 6;
    config.moe.groups = 2;
    config.moe.device_capacity = 0.7;
    train_on(1, config, "");
    const std::string text = read_text(folder / "run/drops.jsonl");
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> listed;
    std::map<std::string, int> reasons;
    for (const Json& line : lines_of(folder / "run/drops.jsonl")) {
        ++listed[{line.at("step").as_whole(), line.at("layer").as_whole()}];
        ++reasons[line.at("reason").as_string().c_str()];
        CHECK(line.at("token").as_whole() < 3 * 16);
        CHECK(line.at("choice").as_whole() < 2);
        CHECK(line.at("expert").as_whole() < 6);
        CHECK(line.at("micro_step").as_whole() < 2);
    }
    CHECK(reasons["capacity"] > 0);
    CHECK(reasons["device"] > 0);
    for (const Json& line : lines_of(folder / "run/metrics.jsonl")) {
        if (line.at("type").as_string() != "step") continue;
        for (const Json& layer : line.at("layers").as_array()) {
            CHECK(layer.at("dropped").as_whole() ==
                  listed[{line.at("step").as_whole(), layer.at("layer").as_whole()}]);
        }
    }
    for (const int ranks : {2, 3, 4}) {
        Config other = config;
        other.run.directory = (folder / concat("on_", ranks)).string();
        train_on(ranks, other, "");
        CHECK(read_text(other.run.directory + "/drops.jsonl") == text);
    }
    config.run.drop_ledger = false;
    config.run.directory = (folder / "without").string();
    train_on(2, config, "");
    CHECK_FALSE(std::filesystem::exists(folder / "without/drops.jsonl"));
}

TEST_CASE("capacity by rank: refused where every layout must give the same bits, and told otherwise",
          "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.moe.capacity_scope = model::CapacityScope::local;
    CHECK_THROWS_WITH(parse_config(dump(config), "test"),
                      Catch::Contains("which moe.capacity_scope = local cannot give"));
    config.numerics = NumericsMode::fast;
    CHECK(dump(parse_config(dump(config), "test")) == dump(config));
    config.parallel.exchange = ExchangeSetting::flat;  // auto has a note of its own
    train_on(2, config, "");
    const Json run = lines_of(folder / "run/metrics.jsonl").at(0);
    REQUIRE(run.at("notes").as_array().size() == 1);
    CHECK(run.at("notes").as_array()[0].as_string().starts_with("moe.capacity_scope = local"));
}
