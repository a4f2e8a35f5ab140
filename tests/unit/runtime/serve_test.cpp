// Many prompts: the same results in whatever company and on however many ranks, written in order.
#include <catch2/catch.hpp>

#include <sstream>

#include "runtime/data/open_tokenizer.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/generate/sampler.hpp"
#include "runtime/generate/serve.hpp"
#include "runtime/json/json.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using test::small_config;
using test::TestFolder;

namespace {

std::string generated(const Config& config, int ranks = 1) {
    std::string text;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Session session(config, world);
        std::ostringstream out;
        generate(session, out);
        if (world.rank() == 0) text = std::move(out).str();
        session.close();
    });
    return text;
}

std::string refusal(const Config& config) {
    try {
        generated(config);
    } catch (const std::exception& error) {
        return error.what();
    }
    return "nothing was wrong";
}

std::vector<Json> objects(const std::string& lines) {
    std::vector<Json> result;
    std::istringstream stream(lines);
    for (std::string line; std::getline(stream, line);) result.push_back(Json::parse(line));
    return result;
}

/// An untrained model that writes anything, and prompts for it.
Config many_prompts(const TestFolder& folder) {
    Config config = small_config(folder);
    config.model.seq_len = 40;
    config.generate.prompts =
        folder.file("prompts.txt", "the\na\nwagons are sorted\nonto\ntrack 7\nof the 1\nx\n");
    config.generate.tokens = 9;
    config.generate.output = GenerateOutput::jsonl;
    config.generate.repetition_penalty = 1.2;
    return config;
}

}  // namespace

TEST_CASE("serve: results depend neither on ranks nor on the batch", "[unit]") {
    const TestFolder folder;
    Config config = many_prompts(folder);
    // A stop string that an untrained model comes to ends some early, so that slots are given on at different times.
    config.generate.stop = R"(["a", "e", "1", "\u0001", " "])";
    config.generate.prompt_logprobs = true;
    config.generate.batch = 1;
    const std::string wanted = generated(config);
    const std::vector<Json> results = objects(wanted);
    REQUIRE(results.size() == 7);
    for (std::size_t i = 0; i < results.size(); ++i)
        CHECK(results[i].at("index").as_whole() == static_cast<index_t>(i));
    for (const int ranks : {1, 2, 3}) {
        for (const index_t batch : {1, 2, 5}) {
            INFO(ranks << " ranks, batches of " << batch);
            config.generate.batch = batch;
            CHECK(generated(config, ranks) == wanted);
        }
    }
}

TEST_CASE("serve: log-probabilities are those of the model, of prompts too where asked", "[unit]") {
    const TestFolder folder;
    Config config = many_prompts(folder);
    config.generate.prompt_logprobs = true;
    const Json result = objects(generated(config))[2];
    CHECK(result.at("prompt").as_string() == "wagons are sorted");
    CHECK(result.at("finish_reason").as_string() == "length");
    const auto tokenizer = make_tokenizer("bytes");
    std::vector<std::int32_t> ids = tokenizer->encode("wagons are sorted");
    const std::size_t prompt_length = ids.size();
    for (const Json& id : result.at("tokens").as_array())
        ids.push_back(static_cast<std::int32_t>(id.as_whole()));
    REQUIRE(ids.size() == prompt_length + 9);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Session session(config, world);
        const std::vector<float> losses =
            session.transformer().score(ids, static_cast<index_t>(ids.size()), session.context());
        const Json::Array& prompt = result.at("prompt_logprobs").as_array();
        const Json::Array& own = result.at("logprobs").as_array();
        REQUIRE(prompt.size() == prompt_length);
        REQUIRE(own.size() == 9);
        CHECK(prompt[0].is_null());
        for (std::size_t i = 1; i < ids.size(); ++i) {
            const Json& got = i < prompt_length ? prompt[i] : own[i - prompt_length];
            CHECK(got.as_number() == Approx(-static_cast<double>(losses[i - 1])).margin(1e-5));
        }
        session.close();
    });
}

TEST_CASE("serve: texts are prompts with what follows, one after the other", "[unit]") {
    const TestFolder folder;
    Config config = many_prompts(folder);
    const std::vector<Json> results = objects(generated(config));
    config.generate.output = GenerateOutput::text;
    const std::string texts = generated(config);
    std::size_t place = 0;
    for (const Json& result : results) {
        CHECK(texts.substr(place).starts_with(result.at("prompt").as_string()));
        place += result.at("prompt").as_string().size() + result.at("tokens").as_array().size() + 1;
        CHECK(texts[place - 1] == '\n');
    }
    CHECK(place == texts.size());
}

TEST_CASE("serve: a prompt of a file gets what it gets alone", "[unit]") {
    const TestFolder folder;
    Config config = many_prompts(folder);
    const Json first = objects(generated(config))[0];
    config.generate.prompts.clear();
    config.generate.prompt = "the";
    CHECK(objects(generated(config))[0] == first);
    config.generate.prompts = folder.file("prompts.jsonl", "{\"prompt\": \"the\"}\n");
    CHECK(objects(generated(config))[0] == first);
}

TEST_CASE("serve: everything that is wrong with prompts is told at once", "[unit]") {
    const TestFolder folder;
    Config config = many_prompts(folder);
    config.generate.prompts =
        folder.file("bad.jsonl",
                    "{\"prompt\": \"good\"}\n\n{\"prompt\": 3}\n{\"text\": \"a\"}\n[1]\nnot JSON\n"
                    "{\"prompt\": \"\xff\"}\n{}\n{\"prompt\": \"\"}\n");
    const std::string message = refusal(config);
    for (const char* const part :
         {"bad.jsonl:2: the prompt is empty", "bad.jsonl:3: ", "bad.jsonl:4: unknown key \"text\"",
          "bad.jsonl:5: it is no JSON object", "bad.jsonl:6: ", "bad.jsonl:7: it is not UTF-8",
          "bad.jsonl:8: it has no prompt", "bad.jsonl:9: the prompt is empty"}) {
        CHECK_THAT(message, Catch::Contains(part));
    }
    CHECK_THAT(message, !Catch::Contains("bad.jsonl:1:"));
    config.generate.prompts =
        folder.file("long.txt", "short\n" + std::string(35, 'a') + "\n" + std::string(50, 'b') + "\n");
    CHECK_THAT(refusal(config),
               Catch::Contains("long.txt:2: its 35 tokens and generate.tokens = 9 are more than the 40") &&
                   Catch::Contains("generate.tokens = 5 is the most") &&
                   Catch::Contains("long.txt:3: its 50 tokens") && Catch::Contains("shorten the prompt"));
    config.generate.prompts = folder.file("empty.txt", "");
    CHECK_THAT(refusal(config), Catch::Contains("empty.txt"));
    config.generate.prompts = (folder / "missing.txt").string();
    CHECK_THAT(refusal(config), Catch::Contains("missing.txt"));
}
