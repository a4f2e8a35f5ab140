#include <catch2/catch.hpp>

#include <random>
#include <thread>

#include "runtime/json/json.hpp"
#include "runtime/tokenizer/byte_level.hpp"
#include "runtime/tokenizer/json_tokenizer.hpp"
#include "runtime/tokenizer/nfc.hpp"
#include "runtime/tokenizer/regex_syntax.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;
using namespace sy::runtime;
using test::TokenizerFile;
using Ids = std::vector<std::int32_t>;

namespace {

JsonTokenizer read(const TokenizerFile& file) {
    return JsonTokenizer(file.text(), "tiny");
}

std::string problems_of(const std::string& text) {
    try {
        JsonTokenizer(text, "tiny");
    } catch (const IoError& error) {
        return error.what();
    }
    return "nothing thrown";
}

/// Merges the pair of the lowest rank, leftmost first, until there is none: the definition, step by step.
Ids merged_slowly(Ids ids, const std::vector<MergeRule>& rules) {
    while (true) {
        const MergeRule* best = nullptr;
        std::size_t place = 0;
        for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
            for (const MergeRule& rule : rules) {
                if (rule.left == ids[i] && rule.right == ids[i + 1] && (best == nullptr || &rule < best)) {
                    best = &rule;
                    place = i;
                }
            }
        }
        if (best == nullptr) return ids;
        ids[place] = best->merged;
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(place) + 1);
    }
}

}  // namespace

TEST_CASE("tokenizer: words are merged by rank, and blanks belong to the word behind them", "[unit]") {
    const JsonTokenizer tokenizer = read({});
    CHECK(tokenizer.vocab_size() == 262);
    CHECK(tokenizer.encode("the the") == Ids{257, 258});
    CHECK(tokenizer.encode("th") == Ids{256});
    CHECK(tokenizer.encode("het") == Ids{'h', 'e', 't'});
    CHECK(tokenizer.decode(Ids{257, 258}) == "the the");
    CHECK(tokenizer.encode("").empty());
}

TEST_CASE("tokenizer: every text comes back, whatever its bytes", "[unit]") {
    const JsonTokenizer tokenizer = read({});
    std::mt19937 random(3);
    for (int round = 0; round < 200; ++round) {
        std::string text;
        const std::size_t length = random() % 300;
        while (text.size() < length) {
            const std::string pieces[] = {"the ", "é",    "漢",       "\xf0\x9f\x91\x8d",
                                          "\xff", "\xc3", "\xe2\x82", "\n  "};
            text += pieces[random() % 8];
            if (random() % 4 == 0) text.push_back(static_cast<char>(random() % 256));
        }
        const Ids ids = tokenizer.encode(text);
        CHECK(tokenizer.decode(ids) == text);
        // And in pieces, as they come while a model writes.
        std::string joined;
        for (const std::int32_t id : ids) joined += tokenizer.decode(Ids{id});
        CHECK(joined == text);
    }
    CHECK(tokenizer.encode("th\xffthe") == Ids{256, 0xff, 257});
}

TEST_CASE("tokenizer: long words are merged as short ones are", "[unit]") {
    // Few rules over few letters, so that most candidates of the queue are out of date when their turn comes.
    BpeRules rules;
    for (int byte = 0; byte < 256; ++byte) rules.ids.emplace(std::string(1, static_cast<char>(byte)), byte);
    rules.merges = {{'a', 'b', 256}, {'b', 'a', 257}, {256, 256, 258}, {'a', 'a', 259},
                    {257, 256, 260}, {258, 'a', 261}, {259, 259, 262}};
    const std::vector<MergeRule> merges = rules.merges;
    const BytePairEncoder encoder(std::move(rules));
    BytePairEncoder::Scratch scratch;
    std::mt19937 random(11);
    for (const std::size_t length : {1U, 2U, 3U, 30U, 31U, 63U, 64U, 65U, 66U, 200U, 700U}) {
        for (unsigned round = 0; round < 20; ++round) {
            std::string word;
            while (word.size() < length) word.push_back(static_cast<char>('a' + random() % (round % 3 + 1U)));
            const Ids expected = merged_slowly(Ids(word.begin(), word.end()), merges);
            for (int again = 0; again < 2; ++again) {  // the second time from memory
                Ids ids;
                encoder.append(word, scratch, ids);
                REQUIRE(ids == expected);
            }
        }
    }
}

TEST_CASE("tokenizer: threads share a tokenizer", "[unit]") {
    const JsonTokenizer tokenizer = read({});
    std::string text;
    for (int i = 0; i < 3000; ++i) text += i % 3 == 0 ? " the" : std::to_string(i);
    const Ids expected = tokenizer.encode(text);
    std::vector<int> agree(4, 0);
    std::vector<std::thread> threads;
    for (int& one : agree) threads.emplace_back([&] { one = tokenizer.encode(text) == expected ? 1 : 0; });
    for (std::thread& thread : threads) thread.join();
    CHECK(agree == std::vector<int>(4, 1));
}

TEST_CASE("tokenizer: added tokens come first, the longest of those that begin together", "[unit]") {
    TokenizerFile file;
    file.added =
        R"([{"id":262,"content":"<s>"},{"id":263,"content":"<s>>"},{"id":264,"content":"<l>","lstrip":true},
        {"id":265,"content":"<r>","rstrip":true},{"id":266,"content":"<w>","single_word":true}])";
    const JsonTokenizer tokenizer = read(file);
    CHECK(tokenizer.encode("<s><s>><s") == Ids{262, 263, '<', 's'});
    CHECK(tokenizer.encode("a \n<l> b") == Ids{'a', 264, ' ', 'b'});
    CHECK(tokenizer.encode("a <r> \nb") == Ids{'a', ' ', 265, 'b'});
    CHECK(tokenizer.encode("a<w> <w>") == Ids{'a', '<', 'w', '>', ' ', 266});
    CHECK(tokenizer.decode(Ids{262, 'x', 266}) == "<s>x<w>");
}

TEST_CASE("tokenizer: the processor's tokens stand before and after a text, not in it", "[unit]") {
    TokenizerFile file;
    file.added = R"([{"id":262,"content":"<s>","special":true},{"id":263,"content":"</s>","special":true}])";
    file.post_processor =
        R"({"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing","single":
        [{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],
        "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[262],"tokens":["<s>"]},"</s>":{"id":"</s>","ids":[263],"tokens":["</s>"]}}}]})";
    const JsonTokenizer tokenizer = read(file);
    CHECK(Ids(tokenizer.text_begin().begin(), tokenizer.text_begin().end()) == Ids{262});
    CHECK(Ids(tokenizer.text_end().begin(), tokenizer.text_end().end()) == Ids{263});
    CHECK(tokenizer.end_of_text() == 263);
    CHECK(tokenizer.encode("the") == Ids{257});
}

TEST_CASE("tokenizer: without a processor the end of text is the special token that is named so", "[unit]") {
    TokenizerFile file;
    CHECK_FALSE(read(file).end_of_text());
    file.added = R"([{"id":262,"content":"<|endoftext|>"},{"id":263,"content":"</s>","special":true}])";
    CHECK(read(file).end_of_text() == 263);
    file.added =
        R"([{"id":262,"content":"<|endoftext|>","special":true},{"id":263,"content":"</s>","special":true}])";
    CHECK(read(file).end_of_text() == 262);
}

TEST_CASE(
    "tokenizer: the bytes that tokens stand for are those of the text, special tokens standing for none",
    "[unit]") {
    TokenizerFile file;
    file.added = R"([{"id":262,"content":"<s>","special":true},{"id":263,"content":"<w>"}])";
    const JsonTokenizer tokenizer = read(file);
    index_t num_bytes = 0;
    for (const std::int32_t id : tokenizer.encode("the inging\xff \u00e9<w>"))
        num_bytes += tokenizer.num_bytes(id);
    CHECK(num_bytes == 17);
    CHECK(tokenizer.num_bytes(262) == 0);
    CHECK(tokenizer.num_bytes(264) == 0);
    CHECK(tokenizer.num_bytes(-1) == 0);
}

TEST_CASE("tokenizer: NFC composes, reorders marks and leaves the rest alone", "[unit]") {
    std::string storage;
    CHECK(normalize_nfc("plain é", storage) == "plain é");
    CHECK(normalize_nfc("e\u0301", storage) == "é");
    CHECK(normalize_nfc("x e\u0301 y A\u030a", storage) == "x é y Å");
    CHECK(normalize_nfc("q\u0307\u0323", storage) == "q\u0323\u0307");
    CHECK(normalize_nfc("\u1100\u1161\u11a8", storage) == "각");
    CHECK(normalize_nfc("", storage).empty());
    TokenizerFile file;
    file.normalizer = R"({"type":"NFC"})";
    CHECK(read(file).encode("e\u0301") == Ids{0xc3, 0xa9});
}

TEST_CASE("tokenizer: characters without a token become bytes, or the unknown token", "[unit]") {
    std::string vocabulary = R"("t":256,"h":257,"th":258,"<unk>":259)";
    for (int byte = 0; byte < 256; ++byte) {
        std::array<char, 16> name{};
        std::snprintf(name.data(), name.size(), "<0x%02X>", byte);
        vocabulary += concat(",\"", name.data(), "\":", byte);
    }
    TokenizerFile file;
    file.pre_tokenizer = "null";
    file.decoder = R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"}]})";
    file.model =
        concat(R"({"type":"BPE","byte_fallback":true,"vocab":{)", vocabulary, R"(},"merges":["t h"]})");
    CHECK(read(file).encode("thé\xff") == Ids{258, 0xc3, 0xa9, 0xff});
    CHECK(read(file).decode(Ids{258, 0xc3, 0xa9, 0xff}) == "thé\xff");
    file.model =
        R"({"type":"BPE","unk_token":"<unk>","fuse_unk":true,"vocab":{"t":0,"h":1,"th":2,"<unk>":3},"merges":[["t","h"]]})";
    CHECK(read(file).encode("xxthx") == Ids{3, 2, 3});
    file.model = R"({"type":"BPE","vocab":{"t":0},"merges":[]})";
    CHECK_THROWS_WITH(read(file).encode("té"), Catch::Contains("\\xc3\\xa9 has no token"));
}

TEST_CASE("tokenizer: all that is wrong or not supported is named at once", "[unit]") {
    TokenizerFile file;
    file.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]})";
    file.pre_tokenizer =
        R"({"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"Split","pattern":{"Regex":"a\\bc"},
        "behavior":"Isolate"},{"type":"ByteLevel","use_regex":false}]})";
    file.post_processor = R"({"type":"BertProcessing","sep":["x",1],"cls":["y",2]})";
    const std::string problems = problems_of(file.text());
    for (const char* const part :
         {"normalizer.normalizers[1] is a Lowercase", "pretokenizers[0] is a Whitespace", "has \\b at byte 1",
          "behavior = Isolate is unknown", "post_processor is a BertProcessing"})
        CHECK_THAT(problems, Catch::Contains(part));
    std::string many = R"({"type":"Sequence","pretokenizers":[)";
    for (int i = 0; i < 40; ++i) many += R"({"type":"Digits"},)";
    file.pre_tokenizer = many + R"({"type":"ByteLevel"}]})";
    CHECK_THAT(problems_of(file.text()), Catch::Contains("more than the 32 pre-tokenizers"));
    CHECK_THAT(problems_of("{"), Catch::Contains("tiny: no tokenizer.json"));
    CHECK_THAT(problems_of("[]"), Catch::Contains("no object"));
    CHECK_THAT(problems_of("{}"), Catch::Contains("model is missing"));
    TokenizerFile other;
    other.model = R"({"type":"Unigram","vocab":[]})";
    CHECK_THAT(problems_of(other.text()), Catch::Contains("model.type = Unigram is not supported"));
    other.model = R"({"type":"BPE","dropout":0.1,"vocab":{"a":0,"b":0,"c":-1},"merges":["a","a d"]})";
    for (const char* const part :
         {"dropout is set", "has another token too", "no whole number from 0", "merges[0] is no rule",
          "d is no token of model.vocab", "no tokens for 25"})
        CHECK_THAT(problems_of(other.text()), Catch::Contains(part));
    CHECK_THROWS_WITH(read({}).decode(Ids{262}), Catch::Contains("no token of the id 262"));
    CHECK_THROWS_WITH(read({}).decode(Ids{-1}), Catch::Contains("no token of the id -1"));
    CHECK_THROWS_WITH(JsonTokenizer("/no/such/file"), Catch::Contains("is not a file"));
}

TEST_CASE("tokenizer: patterns mean for PCRE2 what they mean for Oniguruma, or are refused", "[unit]") {
    CHECK(pcre2_pattern(R"([^\s\p{L}]\S\d)") == R"([^\p{White_Space}\p{L}]\P{White_Space}\p{Nd})");
    CHECK(pcre2_pattern(R"(\p{Han}\p{^Lu}\u4e00\v)") == R"(\p{sc:Han}\p{^Lu}\x{4e00}\x0b)");
    CHECK(pcre2_pattern(R"((?i:'s)|\[a{2,3}{)") == R"((?i:'s)|\[a{2,3}\{)");
    for (const char* const pattern :
         {R"(\b)", R"([a[b]])", R"([a&&b])", R"(a{1,3}+)", R"(a{2}?)", R"((?<n>a))", R"((*UTF))", R"(\1)",
          R"(a\)", R"([\W])", R"(a(?i)b)", R"(\xff)", R"(\p{Han=x})", R"(a{,3})"}) {
        INFO(pattern);
        CHECK_THROWS_AS(pcre2_pattern(pattern), IoError);
    }
    CHECK_THROWS_WITH(Regex("(a"), Catch::Contains("does not compile"));
    RegexScratch scratch;
    CHECK_FALSE(Regex("\\s").find("\u180e", 0, scratch));
    CHECK(Regex(literal_pattern("a.b*")).find("axb*a.b*", 0, scratch)->begin == 4);
}

TEST_CASE("tokenizer: a pattern without end fails instead of hanging", "[unit]") {
    RegexScratch scratch;
    std::string text(60, 'a');
    text.back() = 'c';
    CHECK_THROWS_WITH(Regex("(?:a+)+c(?=x)").find(text, 0, scratch), Catch::Contains("failed at byte 0"));
}
