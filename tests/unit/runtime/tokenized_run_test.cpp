#include <catch2/catch.hpp>

#include <numbers>

#include "runtime/checkpoint/folders.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/interchange/byte_tokenizer.hpp"
#include "runtime/train/resume.hpp"
#include "tests/unit/runtime/run_fixture.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::TestFolder;

namespace {

Config tokenized_config(const TestFolder& folder, const std::string& tokenizer) {
    Config config = test::small_config(folder);
    config.model.vocab_size = 300;
    config.data.tokenizer = folder.file("tokenizer.json", tokenizer);
    return config;
}

Validation validate_on(int ranks, const Config& config) {
    Validation result;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Session session(config, world);
        const Corpus corpus(config);
        const Validation own = validation_loss(session, corpus);
        if (world.rank() == 0) result = own;
        session.close();
    });
    return result;
}

Manifest latest(const Config& config) {
    return CheckpointReader(find_checkpoint(config.run.directory, "latest")).manifest();
}

}  // namespace

TEST_CASE("tokens: a run on a byte-pair tokenizer is the same on one rank and two, and through a checkpoint",
          "[unit]") {
    const TestFolder folder;
    Config config = tokenized_config(folder, test::TokenizerFile().text());
    const double straight = test::train_on(1, config, "");
    const Manifest manifest = latest(config);
    REQUIRE(manifest.state.data);
    CHECK_THAT(manifest.state.data->tokenizer, Catch::StartsWith("bpe xxh3:"));
    CHECK(manifest.state.data->window == 17);
    config.run.directory = (folder / "two").string();
    config.run.stop_after = 3;
    test::train_on(2, config, "");
    config.run.stop_after = 0;
    CHECK(test::train_on(2, config, "latest") == straight);
    CHECK(latest(config).matrix_checksums() == manifest.matrix_checksums());
}

TEST_CASE("tokens: bits per byte are the same for bytes and for a byte-pair tokenizer without merges",
          "[unit]") {
    const TestFolder folder;
    Config config = tokenized_config(folder, byte_tokenizer_json());
    const Validation tokens = validate_on(1, config);
    config.data.tokenizer = "bytes";
    const Validation bytes = validate_on(1, config);
    CHECK(bytes.bits_per_byte == bytes.loss / std::numbers::ln2);
    CHECK(tokens.loss == bytes.loss);
    CHECK(tokens.bits_per_byte == bytes.bits_per_byte);
    CHECK(validate_on(2, config).bits_per_byte == bytes.bits_per_byte);
}

TEST_CASE("tokens: bits per byte are the nats of all targets over the bytes that they stand for", "[unit]") {
    const TestFolder folder;
    Config config = tokenized_config(folder, test::TokenizerFile().text());
    config.train.eval_batches = 1;
    const Corpus corpus(config);
    index_t num_tokens = 0;
    index_t num_bytes = 0;
    for (index_t i = 0; i < config.train.global_batch; ++i) {
        std::vector<std::int32_t> ids;
        corpus.append(Split::validation, i, ids);
        num_tokens += std::ssize(ids) - 1;
        num_bytes += std::ssize(corpus.tokenizer().decode(std::span(ids).subspan(1)));
    }
    REQUIRE(num_bytes > num_tokens);
    for (const int ranks : {1, 2, 3}) {
        const Validation found = validate_on(ranks, config);
        const double tokens_a_byte = static_cast<double>(num_tokens) / static_cast<double>(num_bytes);
        CHECK(found.bits_per_byte == found.loss / std::numbers::ln2 * tokens_a_byte);
    }
}

TEST_CASE("tokens: another tokenizer than the checkpoint's is refused, unless data.changed = accept",
          "[unit]") {
    const TestFolder folder;
    Config config = tokenized_config(folder, test::TokenizerFile().text());
    config.run.stop_after = 2;
    test::train_on(1, config, "");
    const Manifest manifest = latest(config);
    // The same file elsewhere is the same tokenizer.
    config.data.tokenizer = folder.file("elsewhere.json", test::TokenizerFile().text());
    CHECK(check_settings(manifest, config).empty());
    CHECK_NOTHROW(resume_training(manifest, config, manifest.state.data));
    config.data.tokenizer = folder.file("other.json", test::TokenizerFile().text() + "\n");
    CHECK_THROWS_WITH(test::train_on(1, config, "latest"),
                      Catch::Contains("tokenizer bpe xxh3:") &&
                          Catch::Contains("and the model has learned other meanings of token ids"));
    CHECK_THROWS_AS(check_settings(manifest, config), ConfigError);
    CHECK_THROWS_WITH(check_settings(manifest, config), Catch::Contains("the same ids are other texts"));
    config.data.changed = ChangedData::accept;
    CHECK(check_settings(manifest, config).size() == 1);
    CHECK_NOTHROW(test::train_on(1, config, "latest"));
}

TEST_CASE("tokens: other weights, and a text cut into other files, are another text", "[unit]") {
    const TestFolder folder;
    Config config = tokenized_config(folder, test::TokenizerFile().text());
    std::string text;
    for (int i = 0; i < 300; ++i) text += concat("the ", i, " wagons\n");
    const auto path = [&](const char* name, const std::string& part) { return folder.file(name, part); };
    const std::string a = path("a", text.substr(0, 1500));
    const std::string b = path("b", text.substr(1500));
    config.data.path = concat(a, ":2,", b, ":1");
    config.run.stop_after = 2;
    test::train_on(1, config, "");
    CHECK(latest(config).state.data->weights == std::vector<index_t>{2, 1});
    config.data.path = concat(a, ":4,", b, ":2");
    config.run.stop_after = 3;
    CHECK_NOTHROW(test::train_on(2, config, "latest"));
    config.data.path = concat(a, ":1,", b, ":2");
    CHECK_THROWS_WITH(test::train_on(1, config, "latest"),
                      Catch::Contains("weights 1:2 and 2:1 in the checkpoint"));
    config.data.path = concat(a, ",", b);
    CHECK_THROWS_WITH(test::train_on(1, config, "latest"),
                      Catch::Contains("weights none and 2:1 in the checkpoint"));
    config.run.directory = (folder / "joined").string();
    config.run.stop_after = 1;
    test::train_on(1, config, "");
    config.data.path = path("whole", text);
    CHECK_THROWS_WITH(test::train_on(1, config, "latest"), Catch::Contains("other bytes in each file"));
    config.data.path = concat(path("c", text.substr(0, 1501)), ",", path("d", text.substr(1501)));
    CHECK_THROWS_WITH(test::train_on(1, config, "latest"), Catch::Contains("other bytes in each file"));
}

TEST_CASE("tokens: documents kept apart make another loss, the same on every layout, and only decoders can",
          "[unit]") {
    const TestFolder folder;
    Config config = test::small_config(folder);
    std::string paths;
    for (int i = 0; i < 40; ++i) {
        const std::string name = concat("part-", i);
        paths += concat(i > 0 ? "," : "", folder.file(name, concat("the ", i, " wagons of ", name, "\n")));
    }
    config.data.path = paths;
    config.data.validation_fraction = 0.3;
    const double joined = test::train_on(1, config, "");
    config.data.documents = Documents::separate;
    config.run.directory = (folder / "apart").string();
    const double apart = test::train_on(1, config, "");
    CHECK(apart != joined);
    config.run.directory = (folder / "two").string();
    CHECK(test::train_on(2, config, "") == apart);
    config.model.architecture = model::Architecture::encoder;
    CHECK_THAT(joint_problems(config),
               Catch::VectorContains(std::string("data.documents = separate keeps documents apart in "
                                                 "decoders alone; use data.documents = joined")));
}

TEST_CASE("tokens: gaps are cut out of a prompt before it becomes tokens, which could hold a gap", "[unit]") {
    const TestFolder folder;
    Config config = tokenized_config(folder, test::TokenizerFile().text());
    config.model.architecture = model::Architecture::encoder;
    config.moe.jitter = 0.0;
    config.generate.gap = "e";
    config.generate.prompt = "The the";
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Session session(config, world);
        const std::string text = fill_masks(session, config.generate.prompt);
        CHECK(text.starts_with("Th"));
        CHECK(text.find(" th") != std::string::npos);
        session.close();
    });
}
