#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>

#include "runtime/interchange/gguf/model.hpp"
#include "runtime/interchange/gguf/pre_tokenizers.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/tokenizer/json_tokenizer.hpp"
#include "runtime/tokenizer/sentencepiece_model.hpp"
#include "tests/unit/runtime/test_folder.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;
using namespace sy::runtime;
using Catch::Matchers::Contains;
using sy::test::TestFolder;
using sy::test::TokenizerFile;

namespace {

TokenizerFile small_file() {
    TokenizerFile file;
    file.added =
        R"([{"id":262,"content":"<|endoftext|>","special":true},{"id":264,"content":"<tab>","special":false}])";
    return file;
}

gguf::TokenizerKeys keys_of(const TokenizerFile& file, index_t vocab_size = 270) {
    const TestFolder folder;
    return gguf::tokenizer_keys(folder.file("tokenizer.json", file.text()), vocab_size);
}

gguf::Header header_of(const TokenizerFile& file) {
    gguf::Header header;
    header.keys = keys_of(file).keys;
    return header;
}

template <class T>
T value_of(const gguf::Header& header, const char* name) {
    return std::get<T>(*header.find(name));
}

/// A Split step of a known pre-tokenizer before ByteLevel.
std::string split_like(const char* name) {
    const auto known = gguf::known_pre_tokenizers();
    const auto found = std::ranges::find(known, std::string_view(name), &gguf::KnownPreTokenizer::name);
    return concat(
        R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)",
        Json(found->patterns.at(0)).text(),
        R"(},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})");
}

void set(gguf::Header& header, const char* name, gguf::Value value) {
    std::ranges::find(header.keys, std::string(name), &gguf::Key::name)->value = std::move(value);
}

}  // namespace

TEST_CASE("gguf tokenizer: a tokenizer.json comes back with the same ids", "[unit]") {
    for (const char* const pre : {"gpt-2", "qwen2"}) {
        TokenizerFile file = small_file();
        if (std::string_view(pre) == "qwen2") {
            file.pre_tokenizer = split_like(pre);
            file.normalizer = R"({"type":"NFC"})";
        }
        const gguf::Header header = header_of(file);
        CHECK(value_of<std::string>(header, "tokenizer.ggml.pre") == pre);
        const std::optional<gguf::TokenizerText> text = gguf::read_tokenizer(header);
        REQUIRE(text);
        const JsonTokenizer original(file.text(), "original");
        const JsonTokenizer again(text->tokenizer, "again");
        const std::string sentence = "the thing  is<tab> in\n\n the e\u0301 end 123<|endoftext|>";
        CHECK(again.encode(sentence) == original.encode(sentence));
        CHECK(again.end_of_text() == 262);
        CHECK_THAT(text->config, Contains(R"("eos_token":"<|endoftext|>")"));
    }
}

TEST_CASE("gguf tokenizer: types and ends are written out, nothing is left to llama.cpp's defaults",
          "[unit]") {
    TokenizerFile file = small_file();
    file.post_processor =
        R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|endoftext|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<|endoftext|>":{"id":"<|endoftext|>","ids":[262],"tokens":["<|endoftext|>"]}}})";
    const gguf::Header header = header_of(file);
    const auto types =
        std::get<std::vector<std::int32_t>>(value_of<gguf::Array>(header, "tokenizer.ggml.token_type"));
    const auto tokens =
        std::get<std::vector<std::string>>(value_of<gguf::Array>(header, "tokenizer.ggml.tokens"));
    REQUIRE(tokens.size() == 270);
    CHECK(types[261] == 1);
    CHECK(types[262] == 3);
    CHECK(types[263] == 5);
    CHECK(types[264] == 4);
    CHECK(tokens[263] == "[PAD263]");
    CHECK(tokens[258] == "\u0120the");
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.bos_token_id") == 262);
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.eos_token_id") == 262);
    CHECK(value_of<bool>(header, "tokenizer.ggml.add_bos_token"));
    CHECK_FALSE(value_of<bool>(header, "tokenizer.ggml.add_eos_token"));
    CHECK_FALSE(value_of<bool>(header_of(small_file()), "tokenizer.ggml.add_bos_token"));
    const auto merges =
        std::get<std::vector<std::string>>(value_of<gguf::Array>(header, "tokenizer.ggml.merges"));
    CHECK(merges[2] == "\u0120 the");
}

TEST_CASE("gguf tokenizer: what llama.cpp would do otherwise is refused", "[unit]") {
    TokenizerFile file = small_file();
    file.pre_tokenizer =
        R"({"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel","add_prefix_space":false}]})";
    CHECK_THROWS_WITH(keys_of(file), Contains("Digits") && Contains("is none of llama.cpp's"));
    file.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":true})";
    CHECK_THROWS_WITH(keys_of(file), Contains("add_prefix_space"));
    file.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";
    CHECK_THROWS_WITH(keys_of(file), Contains("gpt-2, qwen2, llama-bpe, deepseek-v3"));
    // llama-bpe takes words that are tokens as they are.
    file.pre_tokenizer = split_like("llama-bpe");
    CHECK_THROWS_WITH(keys_of(file), Contains("ignore_merges = false"));
    file = small_file();
    CHECK_THROWS_WITH(keys_of(file, 264), Contains("has the id 264, but model.vocab_size = 264"));
    file.added = R"([{"id":262,"content":"<x>","special":false,"lstrip":true}])";
    CHECK_THROWS_WITH(keys_of(file), Contains("takes blanks") && Contains("no token ends a text"));
    const TestFolder folder;
    CHECK_THROWS_WITH(gguf::tokenizer_keys(folder.path().string(), 300),
                      Contains("there is no tokenizer.json or tokenizer.model"));
}

TEST_CASE("gguf tokenizer: tokenizers of files that are not known here are refused", "[unit]") {
    gguf::Header header;
    CHECK_FALSE(gguf::read_tokenizer(header));
    header.keys = gguf::byte_tokenizer(300);
    CHECK_FALSE(gguf::read_tokenizer(header));
    CHECK_THROWS_WITH(gguf::byte_tokenizer(255), Contains("has 256 tokens, but model.vocab_size = 255"));
    header = header_of(small_file());
    set(header, "tokenizer.ggml.pre", std::string("default"));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header),
                      Contains("tokenizer.ggml.pre = 'default'") && Contains("qwen2"));
    header = header_of(small_file());
    set(header, "tokenizer.ggml.model", std::string("rwkv"));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header),
                      Contains("'rwkv' is not supported; gpt2, llama, t5 and bert are"));
    header = header_of(small_file());
    set(header, "tokenizer.ggml.token_type", gguf::Array(std::vector<std::int32_t>{1}));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("do not fit the tokens"));
    header = header_of(small_file());
    set(header, "tokenizer.ggml.eos_token_id", std::uint32_t{1000});
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("eos_token_id is no token's id"));
    header = header_of(small_file());
    set(header, "tokenizer.ggml.merges", gguf::Array(std::vector<std::string>{"zz y"}));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("is no token of model.vocab"));
}

namespace {

/// A field of Protocol Buffers with a text or a number below 128.
std::string field(int number, const std::string& text) {
    std::string bytes;
    for (unsigned key = static_cast<unsigned>(number) << 3 | 2;; key >>= 7) {
        bytes.push_back(static_cast<char>(key < 128 ? key : (key & 127) | 128));
        if (key < 128) break;
    }
    return bytes + static_cast<char>(text.size()) + text;
}
std::string field(int number, int value) {
    const unsigned key = static_cast<unsigned>(number) << 3;
    std::string bytes;
    if (key >= 128) bytes.push_back(static_cast<char>((key & 127) | 128));
    bytes.push_back(static_cast<char>(key >= 128 ? key >> 7 : key));
    return bytes + static_cast<char>(value);
}
std::string piece(const std::string& text, int type) {
    // A score of -2.
    return field(1, field(1, text) + std::string("\x15\x00\x00\x00\xc0", 5) + field(3, type));
}

/// Pieces <unk>, <s>, </s> and one more, BPE that falls back to bytes and changes no text.
std::string small_model(const std::string& trainer = field(3, 2) + field(35, 1),
                        const std::string& normalizer = field(1, "identity") + field(4, 0)) {
    return piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) + piece("\u2581the", 1) +
           field(2, trainer) + field(3, normalizer);
}

gguf::TokenizerKeys model_keys(const std::string& bytes, const Json& config = {}) {
    return gguf::sentencepiece_keys(bytes, config, "tokenizer.model", 6);
}

}  // namespace

TEST_CASE("gguf tokenizer: a model of SentencePiece is written with scores and types", "[unit]") {
    gguf::Header header;
    header.keys = model_keys(small_model(), Json(Json::Object{{"add_bos_token", true}})).keys;
    CHECK(value_of<std::string>(header, "tokenizer.ggml.model") == "llama");
    CHECK(std::get<std::vector<std::string>>(value_of<gguf::Array>(header, "tokenizer.ggml.tokens")) ==
          std::vector<std::string>{"<unk>", "<s>", "</s>", "\u2581the", "[PAD4]", "[PAD5]"});
    CHECK(std::get<std::vector<float>>(value_of<gguf::Array>(header, "tokenizer.ggml.scores")) ==
          std::vector<float>{-2, -2, -2, -2, -10000, -10000});
    CHECK(std::get<std::vector<std::int32_t>>(value_of<gguf::Array>(header, "tokenizer.ggml.token_type")) ==
          std::vector<std::int32_t>{2, 3, 3, 1, 5, 5});
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.bos_token_id") == 1);
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.eos_token_id") == 2);
    CHECK(value_of<bool>(header, "tokenizer.ggml.add_bos_token"));
    CHECK(value_of<bool>(header, "tokenizer.ggml.add_space_prefix"));
}

TEST_CASE("gguf tokenizer: models of SentencePiece that llama.cpp would read otherwise are refused",
          "[unit]") {
    CHECK_THROWS_WITH(model_keys(small_model(field(3, 3))), Contains("is neither bpe nor unigram"));
    CHECK_THROWS_WITH(model_keys(small_model(field(35, 1))),
                      Contains("it has byte_fallback") && Contains("it has one, llama.cpp both or none"));
    CHECK_THROWS_WITH(model_keys(small_model("", "") + piece("<unused>", 5)),
                      Contains("user-defined or unused pieces"));
    CHECK_THROWS_WITH(model_keys(small_model(field(3, 2))), Contains("no byte_fallback"));
    CHECK_THROWS_WITH(model_keys(small_model(field(3, 2) + field(35, 1), field(2, "map") + field(4, 1))),
                      Contains("it normalizes texts") && Contains("remove_extra_whitespaces"));
    CHECK_THROWS_WITH(model_keys(small_model() + piece("<user>", 4)), Contains("user-defined"));
    CHECK_THROWS_WITH(model_keys(small_model() + piece("a", 1) + piece("b", 1) + piece("c", 1)),
                      Contains("it has 7 pieces, but model.vocab_size = 6"));
    const std::string good = small_model();
    for (const std::size_t length : {good.size() - 1, good.size() - 3, std::size_t{1}})
        CHECK_THROWS_WITH(model_keys(good.substr(0, length)), Contains("is no model of SentencePiece"));
    CHECK_THROWS_WITH(model_keys("\x0f"), Contains("unknown kind"));
    CHECK_THROWS_WITH(model_keys(piece("a", 9)), Contains("unknown type 9"));
    CHECK_THROWS_WITH(model_keys(""), Contains("has no pieces"));
}

namespace {

/// The model that comes back from the keys of one.
SentencePieceModel returned(const gguf::Header& header) {
    const std::optional<gguf::TokenizerText> text = gguf::read_tokenizer(header);
    REQUIRE(text);
    SentencePieceModel model = read_sentencepiece_model(text->tokenizer, "what came back");
    const bool is_unigram = model.algorithm == SentencePieceModel::Algorithm::unigram;
    CHECK(text->file == (is_unigram ? "spiece.model" : "tokenizer.model"));
    return model;
}

}  // namespace

TEST_CASE("gguf tokenizer: a model of SentencePiece comes back with its pieces, scores, types and rules",
          "[unit]") {
    const std::string no_map = field(3, 1) + field(4, 1);
    const std::string map = field(2, std::string("\x01\0\xffmap", 6)) + field(3, 0) + field(4, 0);
    for (const std::string& bytes :
         {small_model(), small_model(field(3, 2) + field(35, 1) + field(43, 0), field(3, 0) + field(4, 0)),
          small_model(field(3, 1), no_map), small_model(field(3, 1), map)}) {
        gguf::Header header;
        header.keys = model_keys(bytes, Json(Json::Object{{"add_eos_token", true}})).keys;
        SentencePieceModel expected = read_sentencepiece_model(bytes, "the original");
        // A fallback to bytes that has no bytes is none.
        expected.byte_fallback = false;
        CHECK(returned(header) == expected);
        CHECK_THAT(gguf::read_tokenizer(header)->config,
                   Contains(R"("eos_token":"</s>")") && Contains(R"("add_eos_token":true)"));
    }
    gguf::Header header;
    header.keys = model_keys(small_model(field(3, 2) + field(35, 1), field(4, 0))).keys;
    // Another program need not say how blanks are treated, and has another name for what is unused.
    std::erase_if(header.keys, [](const gguf::Key& key) {
        return key.name.ends_with("add_space_prefix") || key.name.ends_with("extra_whitespaces");
    });
    set(header, "tokenizer.ggml.tokens",
        gguf::Array(std::vector<std::string>{"<unk>", "<s>", "</s>", "\u2581the", "<0x41>", "<more>"}));
    set(header, "tokenizer.ggml.token_type", gguf::Array(std::vector<std::int32_t>{2, 3, 3, 1, 6, 5}));
    const SentencePieceModel model = returned(header);
    CHECK(model.add_dummy_prefix);
    CHECK_FALSE(model.remove_extra_whitespaces);
    CHECK(model.byte_fallback);
    CHECK(model.pieces.size() == 6);
}

TEST_CASE("gguf tokenizer: keys that no model of SentencePiece means are refused", "[unit]") {
    gguf::Header good;
    good.keys = model_keys(small_model()).keys;
    gguf::Header header = good;
    set(header, "tokenizer.ggml.scores", gguf::Array(std::vector<float>{1.0F}));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("scores and token_type are not there"));
    header = good;
    set(header, "tokenizer.ggml.token_type", gguf::Array(std::vector<std::int32_t>{2, 3, 3, 7, 5, 5}));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("the token 3 is of the unknown type 7"));
    set(header, "tokenizer.ggml.token_type", gguf::Array(std::vector<std::int32_t>{1, 3, 3, 1, 5, 5}));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("0 tokens are for unknown characters"));
    header = good;
    set(header, "tokenizer.ggml.eos_token_id", std::uint32_t{5});
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("eos_token_id is no token's id"));
    header = good;
    header.keys.push_back({"tokenizer.ggml.precompiled_charsmap", std::string("map")});
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("is no array of bytes"));
    header.keys.back().value = gguf::Array(std::vector<std::int8_t>{1, -1});
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("which llama.cpp does not"));
}

namespace {

/// A tokenizer.json of BERT's kind with one change.
Json wordpiece_file(const std::function<void(Json&)>& change = [](Json&) {}) {
    Json file = Json::parse(R"({"added_tokens":[{"id":0,"content":"[PAD]","special":true},
        {"id":1,"content":"[UNK]","special":true},{"id":2,"content":"[CLS]","special":true},
        {"id":3,"content":"[SEP]","special":true},{"id":4,"content":"[MASK]","special":true}],
        "normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,
        "lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"TemplateProcessing"},
        "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
        "vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"[MASK]":4,"the":5,"##s":6,"s":7,"[unused1]":8,"#":9}}})");
    change(file);
    return file;
}

gguf::TokenizerKeys wordpiece_keys_of(
    const std::function<void(Json&)>& change = [](Json&) {}, const Json& config = {}) {
    return gguf::wordpiece_keys(wordpiece_file(change), config, "bert", 11);
}

}  // namespace

TEST_CASE("gguf tokenizer: WordPiece is written with a mark where words begin, and comes back", "[unit]") {
    const TestFolder folder;
    gguf::Header header;
    header.keys = gguf::tokenizer_keys(folder.file("tokenizer.json", wordpiece_file().text()), 11).keys;
    CHECK(value_of<std::string>(header, "tokenizer.ggml.model") == "bert");
    CHECK(std::get<std::vector<std::string>>(value_of<gguf::Array>(header, "tokenizer.ggml.tokens")) ==
          std::vector<std::string>{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581the", "s", "\u2581s",
                                   "[unused1]", "\u2581#", "[PAD10]"});
    CHECK(std::get<std::vector<std::int32_t>>(value_of<gguf::Array>(header, "tokenizer.ggml.token_type")) ==
          std::vector<std::int32_t>{3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 5});
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.bos_token_id") == 2);
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.seperator_token_id") == 3);
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.unknown_token_id") == 1);
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.padding_token_id") == 0);
    CHECK(value_of<std::uint32_t>(header, "tokenizer.ggml.mask_token_id") == 4);
    const std::optional<gguf::TokenizerText> text = gguf::read_tokenizer(header);
    REQUIRE(text);
    CHECK(text->file == "tokenizer.json");
    const Json back = Json::parse(text->tokenizer);
    CHECK(back.at("model") == wordpiece_file().at("model"));
    CHECK(back.at("normalizer") == wordpiece_file().at("normalizer"));
    CHECK(back.at("added_tokens").as_array().size() == 5);
    CHECK(Json::parse(text->config).at("cls_token") == Json("[CLS]"));
    // What came back is written the same way.
    const auto again = gguf::wordpiece_keys(back, Json::parse(text->config), "bert", 11);
    gguf::Header second;
    second.keys = again.keys;
    CHECK(write_header(second) == write_header(header));
}

TEST_CASE("gguf tokenizer: a WordPiece that llama.cpp would cut otherwise is refused", "[unit]") {
    const auto refused = [](const std::function<void(Json&)>& change, const char* why) {
        CHECK_THROWS_WITH(wordpiece_keys_of(change), Contains(why));
    };
    refused([](Json& file) { file["normalizer"]["lowercase"] = false; },
            "its normalizer is no BertNormalizer");
    refused([](Json& file) { file["normalizer"]["strip_accents"] = false; }, "its normalizer is no");
    refused([](Json& file) { file["normalizer"] = nullptr; }, "its normalizer is no");
    refused([](Json& file) { file["pre_tokenizer"]["type"] = "Whitespace"; }, "no BertPreTokenizer");
    refused([](Json& file) { file["post_processor"] = nullptr; }, "no [CLS] before and no [SEP] behind");
    refused([](Json& file) { file["model"]["continuing_subword_prefix"] = "@@"; }, "do not begin with ##");
    refused([](Json& file) { file["model"]["vocab"]["##\u2581s"] = 10; }, "two tokens become");
    refused([](Json& file) { file["model"]["vocab"]["big"] = 11; },
            "it has the id 11, but model.vocab_size = 11");
    refused([](Json& file) { file["added_tokens"].as_array()[4]["content"] = "<mask>"; }, "not in brackets");
    CHECK_THROWS_WITH(wordpiece_keys_of([](Json&) {}, Json(Json::Object{{"sep_token", "[END]"}})),
                      Contains("it has no token [END]"));
    CHECK(wordpiece_keys_of([](Json& file) { file["model"]["vocab"]["[CLASS]"] = 10; },
                            Json(Json::Object{{"cls_token", "[CLASS]"}}))
              .keys.front()
              .value == gguf::Value(std::uint32_t{10}));
}

TEST_CASE("gguf tokenizer: a WordPiece without what it needs is not imported", "[unit]") {
    gguf::Header header;
    header.keys = wordpiece_keys_of().keys;
    std::erase_if(header.keys, [](const gguf::Key& key) { return key.name.ends_with("seperator_token_id"); });
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("seperator_token_id is missing"));
    header.keys = wordpiece_keys_of().keys;
    set(header, "tokenizer.ggml.unknown_token_id", std::uint32_t{11});
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("unknown_token_id is no token's id"));
    set(header, "tokenizer.ggml.unknown_token_id", std::uint32_t{1});
    set(header, "tokenizer.ggml.token_type", gguf::Array(std::vector<std::int32_t>{1}));
    CHECK_THROWS_WITH(gguf::read_tokenizer(header), Contains("does not fit the tokens"));
}
