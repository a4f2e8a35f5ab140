// The program from outside: settings, data, training that goes on after a checkpoint, and damage that is found.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "comm/local/local_fabric.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/train/train.hpp"

using namespace sy;
using namespace sy::runtime;
namespace fs = std::filesystem;

namespace {

/// A folder of its own that disappears with the test.
class TestFolder {
  public:
    TestFolder() {
        std::string name = (fs::temp_directory_path() / "switchyard-test-XXXXXX").string();
        SY_REQUIRE(::mkdtemp(name.data()) != nullptr, "mkdtemp");
        path_ = name;
    }
    TestFolder(const TestFolder&) = delete;
    TestFolder& operator=(const TestFolder&) = delete;
    ~TestFolder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    fs::path operator/(const std::string& name) const { return path_ / name; }

  private:
    fs::path path_;
};

Config small_config(const TestFolder& folder, NumericsMode numerics = NumericsMode::reproducible) {
    std::ofstream text(folder / "text.txt");
    for (int i = 0; i < 400; ++i)
        text << "the " << i * i % 97 << " wagons are sorted onto track " << i % 7 << "\n";
    Config config;
    config.model.hidden = 16;
    config.model.layers = 2;
    config.model.heads = 2;
    config.model.kv_heads = 1;
    config.model.seq_len = 16;
    config.moe.experts = 5;
    config.moe.expert_width = 8;
    config.moe.capacity_factor = 1.0;
    config.moe.jitter = 0.05;
    config.train.steps = 8;
    config.train.global_batch = 6;
    config.train.accumulation = 2;
    config.train.eval_every = 0;
    config.optimizer.warmup_steps = 2;
    config.data.path = (folder / "text.txt").string();
    config.run.directory = (folder / "run").string();
    config.run.log_every = 1000;
    config.parallel.threads = 1;
    config.numerics = numerics;
    return config;
}

/// Trains on `ranks` ranks. @return validation loss at the end, which depends on every weight
double train_on(int ranks, const Config& config, const std::string& resume) {
    double loss = 0.0;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Session session(config, world);
        train(session, resume, [] { return false; });
        const Corpus corpus(config.data.path, config.model.seq_len, config.data.validation_fraction,
                            config.train.seed);
        const double result = validation_loss(session, corpus);
        if (world.rank() == 0) loss = result;
        session.close();
    });
    return loss;
}

std::string problems_of(const std::vector<std::string>& assignments) {
    try {
        load_config({"", assignments});
    } catch (const ConfigError& error) {
        return error.what();
    }
    return {};
}

fs::path first_shard(const fs::path& checkpoint) {
    return fs::canonical(checkpoint) / "shard-00000.h5";
}

std::string all_problems(const fs::path& folder) {
    std::string text;
    for (const std::string& problem : verify_checkpoint(folder)) text += problem + "\n";
    return text;
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
    CHECK_THROWS_WITH(Corpus((folder / "none").string(), 8, 0.1, 1), Catch::Contains("is not a file"));
    std::ofstream(folder / "short") << "0123456789";
    CHECK_THROWS_WITH(Corpus((folder / "short").string(), 16, 0.1, 1), Catch::Contains("needs at least 17"));
    CHECK_THROWS_AS(Corpus("", 16, 0.1, 1), ConfigError);
}

TEST_CASE("resume: a run that goes on from a checkpoint on other ranks ends with the same bits", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    const double uninterrupted = train_on(1, config, "");
    for (const auto& [before, after] : {std::pair{3, 2}, {2, 4}, {1, 3}}) {
        const TestFolder other;
        config.run.directory = (other / "run").string();
        config.run.stop_after = 4;
        train_on(before, config, "");
        config.run.stop_after = 0;
        INFO(before << " ranks, then " << after);
        CHECK(train_on(after, config, "latest") == uninterrupted);
        CHECK(all_problems(other / "run/checkpoints/latest").empty());
    }
}

TEST_CASE("resume: in fast mode losses agree to 1e-5", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder, NumericsMode::fast);
    const double uninterrupted = train_on(2, config, "");
    config.run.directory = (folder / "other").string();
    config.run.stop_after = 4;
    train_on(2, config, "");
    config.run.stop_after = 0;
    CHECK(train_on(3, config, "latest") == Approx(uninterrupted).epsilon(1e-5));
}

TEST_CASE("checkpoint: tensor checksums do not depend on the layout that wrote them", "[unit]") {
    std::map<std::string, std::uint64_t> first;
    for (const int ranks : {1, 3, 4}) {
        const TestFolder folder;
        const Config config = small_config(folder);
        train_on(ranks, config, "");
        const std::map<std::string, std::uint64_t> sums =
            read_manifest(folder / "run/checkpoints/latest").matrix_checksums();
        if (first.empty()) first = sums;
        CHECK(sums == first);
    }
}

TEST_CASE("checkpoint: damage is found and named, and nothing is overwritten", "[unit]") {
    const TestFolder folder;
    const Config config = small_config(folder);
    train_on(2, config, "");
    const fs::path latest = folder / "run/checkpoints/latest";
    REQUIRE(all_problems(latest).empty());

    SECTION("one bit of a weight") {
        const Manifest manifest = read_manifest(latest);
        std::fstream file(first_shard(latest), std::ios::in | std::ios::out | std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        // The values of the first expert's gate stand in the file as they do in memory.
        const CheckpointReader reader(latest);
        std::vector<float> row(8);
        reader.read(Kind::weight, "layers.0.moe.experts.gate", 0, {0, 1}, 8, row);
        const auto place = bytes.find(std::string(reinterpret_cast<const char*>(row.data()), 32));
        REQUIRE(place != std::string::npos);
        file.clear();
        file.seekp(static_cast<std::streamoff>(place));
        file.put(static_cast<char>(bytes[place] ^ 1));
        file.close();
        const std::string text = all_problems(latest);
        CHECK(text.find("shard-00000.h5 was altered") != std::string::npos);
        CHECK(text.find("weight layers.0.moe.experts.gate[0] rows 0") != std::string::npos);
        Config more = config;
        more.train.steps = 9;
        CHECK_THROWS_WITH(train_on(1, more, "latest"), Catch::Contains("layers.0.moe.experts.gate[0]"));
    }
    SECTION("a file cut short") {
        fs::resize_file(first_shard(latest), fs::file_size(first_shard(latest)) / 2);
        CHECK(all_problems(latest).find("shard-00000.h5 has") != std::string::npos);
    }
    SECTION("a file missing") {
        fs::remove(first_shard(latest));
        CHECK(all_problems(latest).find("shard-00000.h5: it is missing") != std::string::npos);
    }
    SECTION("an expert missing, and one doubled") {
        Manifest manifest = read_manifest(latest);
        std::erase_if(manifest.pieces, [](const PieceRecord& piece) {
            return piece.tensor == "layers.1.moe.experts.up" && piece.matrix == 3;
        });
        for (const PieceRecord& piece : std::vector<PieceRecord>(manifest.pieces)) {
            if (piece.tensor == "layers.1.moe.experts.down" && piece.matrix == 1)
                manifest.pieces.push_back(piece);
        }
        std::ofstream(latest / "manifest.json") << write_manifest(manifest);
        const std::string text = all_problems(latest);
        CHECK(text.find("weight layers.1.moe.experts.up[3]: rows 0 to 16 are missing") != std::string::npos);
        CHECK(text.find("weight layers.1.moe.experts.down[1]: rows 0 to 8 are there twice") !=
              std::string::npos);
    }
    SECTION("a changed manifest") {
        std::fstream file(latest / "manifest.json", std::ios::in | std::ios::out);
        file.seekp(40);
        file.put('7');
        file.close();
        CHECK(all_problems(latest).find("manifest.json is damaged") != std::string::npos);
    }
    SECTION("the checkpoint of another model") {
        Config other = config;
        other.moe.experts = 6;
        CHECK_THROWS_WITH(
            train_on(2, other, "latest"),
            Catch::Contains("layers.0.moe.experts.gate is [5, 16, 8] there and [6, 16, 8] in this model"));
    }
    SECTION("a step that exists already") {
        Config again = config;
        CHECK_THROWS_WITH(train_on(2, again, ""), Catch::Contains("exists already and is not overwritten"));
        CHECK(all_problems(latest).empty());
    }
}

TEST_CASE("checkpoint: only the last ones are kept, and leftovers of a killed run are removed", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.run.checkpoint_every = 2;
    config.run.keep_last = 2;
    fs::create_directories(folder / "run/checkpoints/.unfinished-step-00000001");
    train_on(2, config, "");
    CHECK(fs::exists(folder / "run/checkpoints/step-00000008"));
    CHECK(fs::exists(folder / "run/checkpoints/step-00000006"));
    CHECK_FALSE(fs::exists(folder / "run/checkpoints/step-00000004"));
    CHECK_FALSE(fs::exists(folder / "run/checkpoints/.unfinished-step-00000001"));
    CHECK(fs::read_symlink(folder / "run/checkpoints/latest") == "step-00000008");
}

TEST_CASE("generate: sampling respects temperature, top-k and top-p", "[unit]") {
    const std::vector<float> logits{0.0F, 3.0F, 2.0F, 1.0F};
    GenerateConfig config;
    config.temperature = 0.0;
    CHECK(sample_token(logits, config, 0.99F) == 1);
    config.temperature = 1.0;
    config.top_p = 1.0;
    CHECK(sample_token(logits, config, 0.999F) == 0);
    config.top_k = 2;
    CHECK(sample_token(logits, config, 0.999F) == 2);
    config.top_k = 0;
    config.top_p = 0.5;
    CHECK(sample_token(logits, config, 0.999F) == 1);
}

TEST_CASE("generate: every number of ranks writes the same text in reproducible mode", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.generate.prompt = "the ";
    config.generate.tokens = 12;
    std::vector<std::string> texts;
    for (const int ranks : {1, 2, 3}) {
        comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
            Session session(config, world);
            const std::string text = generate(session);
            if (world.rank() == 0) texts.push_back(text);
            session.close();
        });
    }
    CHECK(texts[0].size() == 16);
    CHECK(texts == std::vector<std::string>(3, texts[0]));
}
