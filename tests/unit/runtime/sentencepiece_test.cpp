#include <catch2/catch.hpp>

#include "runtime/tokenizer/sentencepiece_model.hpp"
#include "runtime/tokenizer/sentencepiece_tokenizer.hpp"
#include "tests/unit/runtime/test_folder.hpp"

#ifdef SY_HAS_SENTENCEPIECE
#include <sentencepiece_trainer.h>
#endif

using namespace sy;
using namespace sy::runtime;
using sy::test::TestFolder;

#ifdef SY_HAS_SENTENCEPIECE

TEST_CASE(
    "sentencepiece: a model that is written again from what was read of it gives the library the same ids",
    "[unit]") {
    const TestFolder folder;
    std::string text;
    for (int i = 0; i < 200; ++i)
        text += concat("the ", i, "  words of the \uff2c\uff4f\uff52\uff44 and the ", 7 * i, " caf\u00e9s\n");
    folder.file("text", text);
    for (const std::string options :
         {"bpe --byte_fallback=true",
          "bpe --normalization_rule_name=identity --remove_extra_whitespaces=false", "unigram",
          "unigram --add_dummy_prefix=false --bos_id=-1 --pad_id=3 --eos_piece=<end>"}) {
        INFO(options);
        const sentencepiece::util::Status trained = sentencepiece::SentencePieceTrainer::Train(
            concat("--input=", (folder / "text").string(), " --model_prefix=", (folder / "tiny").string(),
                   " --vocab_size=320 --hard_vocab_limit=false --minloglevel=2 --model_type=", options));
        INFO(trained.ToString());
        REQUIRE(trained.ok());
        const std::string original = (folder / "tiny.model").string();
        const SentencePieceModel model = read_sentencepiece_model(sy::test::read_text(original), original);
        const std::string written = write_sentencepiece_model(model);
        CHECK(read_sentencepiece_model(written, "written") == model);
        const SentencePieceTokenizer first(original);
        const SentencePieceTokenizer again(folder.file("again.model", written));
        CHECK(again.end_of_text() == first.end_of_text());
        for (const char* const sentence : {"the words of the lord", "  two  blanks  ",
                                           "\uff2cord caf\u00e9 cafe\u0301 \u6f22 42", "<end></s>"}) {
            const std::vector<std::int32_t> ids = first.encode(sentence);
            CHECK(!ids.empty());
            CHECK(again.encode(sentence) == ids);
            CHECK(again.decode(ids) == first.decode(ids));
        }
    }
}

TEST_CASE("sentencepiece: a model encodes, and gives texts back", "[unit]") {
    const TestFolder folder;
    std::string text;
    for (int i = 0; i < 200; ++i)
        text += concat("the ", i, " words of the lord and the word of ", 7 * i, "\n");
    folder.file("text", text);
    const sentencepiece::util::Status trained = sentencepiece::SentencePieceTrainer::Train(concat(
        "--input=", (folder / "text").string(), " --model_prefix=", (folder / "tiny").string(),
        " --vocab_size=320 --model_type=bpe --byte_fallback=true --hard_vocab_limit=false --minloglevel=2"));
    INFO(trained.ToString());
    REQUIRE(trained.ok());
    const SentencePieceTokenizer tokenizer((folder / "tiny.model").string());
    CHECK(tokenizer.vocab_size() > 259);
    const std::string sentence = "the words of the lord 漢 42";
    const std::vector<std::int32_t> ids = tokenizer.encode(sentence);
    CHECK(tokenizer.decode(ids) == sentence);
    CHECK(ids.size() < sentence.size());
    // The blank that the model puts in front counts as well.
    index_t num_bytes = 0;
    for (const std::int32_t id : ids) num_bytes += tokenizer.num_bytes(id);
    CHECK(num_bytes == static_cast<index_t>(sentence.size()) + 1);
    REQUIRE(tokenizer.end_of_text());
    CHECK(tokenizer.num_bytes(*tokenizer.end_of_text()) == 0);
    CHECK(make_tokenizer((folder / "tiny.model").string())->identity() == tokenizer.identity());
    CHECK_THAT(tokenizer.identity(), Catch::Matches("sentencepiece xxh3:[0-9a-f]{16}"));
    CHECK(tokenizer.encode("").empty());
    CHECK_THROWS_WITH(tokenizer.decode(std::vector{narrow<std::int32_t>(tokenizer.vocab_size())}),
                      Catch::Contains("there is no token of the id"));
    CHECK_THROWS_WITH(SentencePieceTokenizer((folder / "text").string()),
                      Catch::Contains("cannot read it as a model"));
    CHECK_THROWS_WITH(SentencePieceTokenizer((folder / "none").string()), Catch::Contains("is not a file"));
}

#else

TEST_CASE("sentencepiece: without the library a model is refused", "[unit]") {
    CHECK_THROWS_WITH(SentencePieceTokenizer("tokenizer.model"), Catch::Contains("was built without"));
}

#endif
