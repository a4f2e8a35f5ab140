// What a trained model writes: sampling, continuing, filling of gaps.
#include <catch2/catch.hpp>

#include <sstream>

#include "runtime/config/config.hpp"
#include "runtime/generate/generate.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using test::small_config;
using test::TestFolder;

namespace {

/// A run on the digits, over and over, after which what is missing from a piece of them is known.
Config digits_run(const TestFolder& folder, model::Architecture architecture) {
    Config config = small_config(folder, NumericsMode::fast);
    std::string text;
    for (int i = 0; i < 1000; ++i) text += "0123456789";
    config.data.path = folder.file("digits.txt", text);
    config.model.architecture = architecture;
    config.model.vocab_size = 280;
    config.model.hidden = 32;
    config.model.seq_len = 24;
    config.model.mask_fraction = 0.25;
    config.model.position.kind = model::PositionKind::learned;
    config.moe.capacity_factor = 0.0;
    config.moe.jitter = 0.0;
    config.train.steps = 400;
    config.train.global_batch = 16;
    config.train.accumulation = 1;
    config.optimizer.lr = 5e-3;
    config.optimizer.warmup_steps = 10;
    config.generate.temperature = 0.0;
    config.generate.tokens = 6;
    return config;
}

/// What `generate` writes, without the line's end; empty on ranks above 0.
std::string generated(Session& session) {
    std::ostringstream out;
    generate(session, out);
    std::string text = std::move(out).str();
    if (!text.empty()) text.pop_back();
    return text;
}

/// Trains on two ranks, then generates from each prompt on all of them.
std::vector<std::string> filled(const Config& config, const std::vector<std::string>& prompts) {
    std::vector<std::string> texts;
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        Session session(config, world);
        train(session, "", [] { return false; });
        session.close();
        for (const std::string& prompt : prompts) {
            Config asked = config;
            asked.generate.prompt = prompt;
            Session reader(asked, world);
            reader.restore(CheckpointReader(find_checkpoint(asked.run.directory, "latest")));
            const std::string text = generated(reader);
            if (world.rank() == 0) texts.push_back(text);
            reader.close();
        }
    });
    return texts;
}

std::string refusal(Config config) {
    std::string message;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Session session(config, world);
        try {
            generated(session);
        } catch (const ConfigError& error) {
            message = error.what();
        }
        session.close();
    });
    return message;
}

}  // namespace

TEST_CASE("generate: every number of ranks writes the same text in reproducible mode", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.generate.prompt = "the ";
    config.generate.tokens = 12;
    std::vector<std::string> texts;
    for (const int ranks : {1, 2, 3}) {
        comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
            Session session(config, world);
            const std::string text = generated(session);
            if (world.rank() == 0) texts.push_back(text);
            session.close();
        });
    }
    CHECK(texts[0].size() == 16);
    CHECK(texts == std::vector<std::string>(3, texts[0]));
}

TEST_CASE("generate: an encoder finds masked bytes, an encoder and decoder corrupted spans", "[unit]") {
    std::vector<std::string> whole;
    std::vector<std::string> masked;
    std::vector<std::string> lost;
    // Windows of 24 tokens begin with an even digit: no other ones are in the data.
    for (std::size_t first = 0; first < 10; first += 2) {
        const std::string text = std::string("0123456789012345678901234567890123456789").substr(first, 24);
        whole.push_back(text);
        masked.push_back(text);
        for (const std::size_t place : {4UL, 8UL, 13UL, 14UL, 20UL}) masked.back()[place] = '_';
        lost.push_back(text.substr(0, 7) + "_" + text.substr(10, 11) + "_");
    }
    const auto num_right = [&](const std::vector<std::string>& texts) {
        int right = 0;
        // Where a corrupted span at the end ends is a matter of counting, which takes longer to learn.
        for (std::size_t i = 0; i < 5; ++i) right += texts[i].substr(0, 22) == whole[i].substr(0, 22) ? 1 : 0;
        return right;
    };
    const TestFolder folder;
    CHECK(num_right(filled(digits_run(folder, model::Architecture::encoder), masked)) >= 4);
    const TestFolder other;
    CHECK(num_right(filled(digits_run(other, model::Architecture::encoder_decoder), lost)) >= 4);
}

TEST_CASE("generate: a prompt that cannot be filled is refused with the remedy", "[unit]") {
    const TestFolder folder;
    Config config = digits_run(folder, model::Architecture::encoder);
    config.generate.prompt = "abc";
    CHECK_THAT(refusal(config), Catch::Contains("put \"_\" (generate.gap) into generate.prompt"));
    config.generate.prompt = "";
    CHECK_THAT(refusal(config), Catch::Contains("generate.prompt is empty"));
    config.generate.prompt = std::string(25, '_');
    CHECK_THAT(refusal(config), Catch::Contains("25 tokens to the encoder, which was trained on 24"));
    CHECK_THROWS_WITH(load_config({"", {"generate.gap="}}), Catch::Contains("generate.gap is empty"));
    config = digits_run(folder, model::Architecture::decoder);
    config.generate.prompt = "";
    CHECK_THAT(refusal(config),
               Catch::Contains("generate.prompt is empty; give a decoder at least one token"));
    config.generate.prompt = "0123";
    config.generate.tokens = 21;
    CHECK_THAT(refusal(config),
               Catch::Contains("its 4 tokens and generate.tokens = 21 are more than the 24") &&
                   Catch::Contains("generate.tokens = 20 is the most"));
    config.generate.prompt = std::string(24, '0');
    CHECK_THAT(refusal(config), Catch::Contains("shorten the prompt"));
    config = digits_run(folder, model::Architecture::encoder_decoder);
    config.generate.prompt = "ab_de_gh_jk";
    CHECK_THAT(refusal(config), Catch::Contains("has 3 gaps, and the model was trained to fill 2"));
    config.generate.prompt = std::string(20, 'a');
    CHECK_THAT(refusal(config), Catch::Contains("21 tokens to the encoder, which was trained on 20"));
}
