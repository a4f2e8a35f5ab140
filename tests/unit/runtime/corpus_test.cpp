#include <catch2/catch.hpp>

#include <numeric>
#include <set>

#include "runtime/data/corpus.hpp"
#include "runtime/data/data_path.hpp"
#include "runtime/data/mixture.hpp"
#include "runtime/tokenizer/json_tokenizer.hpp"
#include "tests/unit/runtime/test_folder.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::TestFolder;
using Ids = std::vector<std::int32_t>;

namespace {

std::string words(int count, int factor) {
    std::string text;
    for (int i = 0; i < count; ++i) text += concat("the ", factor * i % 89, " inging the\n");
    return text;
}

/// With the small tokenizer of tokenizer_file.hpp.
Config tokenized(const TestFolder& folder, const std::string& paths) {
    Config config;
    config.data.path = paths;
    config.data.tokenizer = folder.file("tokenizer.json", test::TokenizerFile().text());
    config.model.vocab_size = 300;
    config.model.seq_len = 8;
    config.data.validation_fraction = 0.1;
    return config;
}

Ids window_of(const Corpus& corpus, Split split, index_t sample_idx) {
    Ids ids;
    corpus.append(split, sample_idx, ids);
    return ids;
}

std::string token_file(const TestFolder& folder, const std::string& name, const TokenFileSource& source,
                       const std::vector<Ids>& documents) {
    const std::string path = (folder / name).string();
    TokenFileWriter writer(path, source, "test");
    for (const Ids& ids : documents) {
        writer.begin_document();
        writer.append(ids, static_cast<index_t>(ids.size()));
    }
    writer.finish();
    return path;
}

}  // namespace

TEST_CASE("data path: files have weights behind their last colon, all or none, in lowest terms", "[unit]") {
    using Paths = std::vector<WeightedPath>;
    CHECK(parse_data_path("a.txt") == Paths{{"a.txt", 0}});
    CHECK(parse_data_path("a,b/c") == Paths{{"a", 0}, {"b/c", 0}});
    CHECK(parse_data_path("a:0.7,b:.3") == Paths{{"a", 7}, {"b", 3}});
    CHECK(parse_data_path("a:2,b:1.5,c:0.000001") == Paths{{"a", 2000000}, {"b", 1500000}, {"c", 1}});
    CHECK(parse_data_path("a:1:2,b:4") == Paths{{"a:1", 1}, {"b", 2}});
    // None of these is a decimal number behind a name.
    for (const char* const name : {"a:", "a:.", "a:1e3", "a:-1", "a:1.2.3", "a:1 ", ":5", "a:b"})
        CHECK(parse_data_path(name) == Paths{{name, 0}});
    CHECK_THROWS_WITH(parse_data_path("a:1,b"), Catch::Contains("1 of 2 files have a weight"));
    for (const char* const weight : {"0", "0.0", "1000.000001", "12345", "0.0000001"})
        CHECK_THROWS_WITH(parse_data_path(concat("a:1,b:", weight)),
                          Catch::Contains(concat("the weight of b:", weight, " is not above 0")));
    std::string many = "a:0.000001";
    for (int i = 0; i < 10; ++i) many += ",b:1000";
    CHECK_THROWS_WITH(parse_data_path(many), Catch::Contains("round them"));
    CHECK_THROWS_WITH(parse_data_path(""), Catch::Contains("data.path is not set"));
}

TEST_CASE(
    "mixture: counts follow the weights exactly, and no prefix strays by as much as the sources' number",
    "[unit]") {
    for (const std::vector<index_t>& weights :
         {std::vector<index_t>{1}, {7, 3}, {1, 1}, {1, 999}, {5, 2, 2, 1}, {1, 2, 3, 4, 5, 6}}) {
        const index_t period = std::accumulate(weights.begin(), weights.end(), index_t{0});
        std::vector<index_t> counts(weights.size(), 0);
        for (index_t g = 0; g < 3 * period; ++g) {
            const SourceSample found = mixture_sample(weights, g);
            // Each source's samples come one after another.
            REQUIRE(found.sample_idx == counts[found.source]++);
            for (std::size_t i = 0; i < weights.size(); ++i) {
                const double due = static_cast<double>((g + 1) * weights[i]) / static_cast<double>(period);
                REQUIRE(std::abs(static_cast<double>(counts[i]) - due) < static_cast<double>(weights.size()));
            }
            if ((g + 1) % period != 0) continue;
            for (std::size_t i = 0; i < weights.size(); ++i)
                REQUIRE(counts[i] == (g + 1) / period * weights[i]);
        }
    }
    // Where products need more than 64 bits: after whole periods counts are whole multiples.
    const std::vector<index_t> large{1'000'000'000, 1'000'000'000, 999'999'999};
    const index_t period = std::accumulate(large.begin(), large.end(), index_t{0});
    CHECK(mixture_sample(large, 1'000'000 * period).sample_idx == 1'000'000 * large[2]);
}

TEST_CASE("corpus: windows are of tokens, whatever the number of threads, and their texts join to the file's",
          "[unit]") {
    const TestFolder folder;
    const std::string text = words(400, 31) + "\xff\xfe the end";
    const Config config = tokenized(folder, folder.file("text", text));
    const Corpus corpus(config);
    const Ids ids = JsonTokenizer(config.data.tokenizer).encode(text);
    REQUIRE(ids.size() < text.size());
    const auto size = static_cast<index_t>(ids.size());
    const index_t train = size - size / 10;
    REQUIRE(corpus.num_windows(Split::train) == (train - 1) / 8);
    const Corpus threads(config, 3);
    std::set<Ids> seen;
    for (index_t i = 0; i < corpus.num_windows(Split::train); ++i) {
        const Ids window = window_of(corpus, Split::train, i);
        REQUIRE(window == window_of(threads, Split::train, i));
        REQUIRE(std::ranges::search(ids, window).begin() != ids.end());
    }
    for (index_t i = 0; i < corpus.num_windows(Split::validation); ++i) {
        const auto begin = ids.begin() + train + i * 8;
        REQUIRE(window_of(corpus, Split::validation, i) == Ids(begin, begin + 9));
    }
    const std::vector<index_t> counts = corpus.count_tokens([] { return false; });
    REQUIRE(std::ssize(counts) == 262);
    CHECK(counts[257] == std::count(ids.begin(), ids.begin() + train, 257));
    CHECK(counts[257] > 0);
}

TEST_CASE("corpus: a text of several pieces has the tokens that it has in one", "[unit][slow]") {
    const TestFolder folder;
    std::string text;
    while (text.size() < (std::size_t{3} << 20)) text += words(1000, 31);
    const Config config = tokenized(folder, folder.file("text", text));
    const Ids ids = JsonTokenizer(config.data.tokenizer).encode(text);
    const Corpus corpus(config, 2);
    CHECK(corpus.files().num_tokens(0) == std::ssize(ids));
    Ids read(ids.size());
    corpus.files().read(0, 0, read);
    CHECK(read == ids);
}

TEST_CASE("corpus: with weights each file has an order and a validation end of its own", "[unit]") {
    const TestFolder folder;
    const std::string a = folder.file("a", std::string(2000, 'a'));
    const std::string b = folder.file("b", std::string(1000, 'b'));
    Config config;
    config.model.seq_len = 16;
    config.data.validation_fraction = 0.1;
    config.data.path = concat(a, ":0.75,", b, ":0.25");
    const Corpus corpus(config);
    CHECK(corpus.weights() == std::vector<index_t>{3, 1});
    for (const Split split : {Split::train, Split::validation}) {
        index_t num_a = 0;
        for (index_t i = 0; i < 4000; ++i) {
            const Ids ids = window_of(corpus, split, i);
            REQUIRE((ids == Ids(17, 'a') || ids == Ids(17, 'b')));
            num_a += ids[0] == 'a' ? 1 : 0;
            if (i % 4 == 3) REQUIRE(num_a == (i + 1) / 4 * 3);
        }
    }
    // Counts are those of as many tokens of each file as its weight says, not as it has.
    const std::vector<index_t> counts = corpus.count_tokens([] { return false; });
    CHECK(static_cast<double>(counts['a']) == Approx(3.0 * static_cast<double>(counts['b'])));
    config.data.path = concat(a, ":1,", folder.file("short", std::string(20, 'c')), ":1");
    CHECK_THROWS_WITH(Corpus(config), Catch::Contains("short: its 20 bytes are 18 for training"));
}

TEST_CASE("corpus: sources of equal length do not share an order", "[unit]") {
    const TestFolder folder;
    std::string text;
    for (int i = 0; i < 4000; ++i) text.push_back(static_cast<char>(i % 2 == 0 ? i / 2 % 256 : i / 512));
    Config config;
    config.model.seq_len = 8;
    config.data.path = concat(folder.file("a", text), ":1,", folder.file("b", text), ":1");
    const Corpus corpus(config);
    int equal = 0;
    for (index_t i = 0; i < 200; ++i)
        equal += window_of(corpus, Split::train, 2 * i) == window_of(corpus, Split::train, 2 * i + 1) ? 1 : 0;
    CHECK(equal < 10);
}

TEST_CASE(
    "corpus: token files are read as they are, by the tokenizer that made them, and say where documents "
    "begin",
    "[unit]") {
    const TestFolder folder;
    Config config = tokenized(folder, "");
    const JsonTokenizer tokenizer(config.data.tokenizer);
    const TokenFileSource source{tokenizer.identity(), tokenizer.vocab_size(), std::nullopt};
    Ids first(30);
    std::iota(first.begin(), first.end(), 0);
    Ids second(70);
    std::iota(second.begin(), second.end(), 30);
    const std::string file = token_file(folder, "a.tok", source, {first, second});
    config.data.path = file;
    config.data.validation_fraction = 0.2;
    const Corpus corpus(config);
    REQUIRE(corpus.num_windows(Split::train) == 79 / 8);
    for (index_t i = 0; i < 9; ++i) {
        const Ids ids = window_of(corpus, Split::train, i);
        REQUIRE(ids[0] % 8 == 0);
        for (std::size_t j = 0; j < 9; ++j) REQUIRE(ids[j] == ids[0] + static_cast<std::int32_t>(j));
        std::vector<index_t> begins;
        corpus.append_document_begins(Split::train, i, begins);
        // The second document begins with token 30, row 6 of the window from 24.
        CHECK(begins ==
              (ids[0] == 24 ? std::vector<index_t>{0, 0, 0, 0, 0, 0, 6, 6} : std::vector<index_t>(8, 0)));
    }
    config.data.tokenizer = "bytes";
    CHECK_THROWS_WITH(Corpus(config), Catch::Contains("holds tokens of 'bpe xxh3:") &&
                                          Catch::Contains("and data.tokenizer is 'bytes'"));
    config = tokenized(folder, concat(file, ",", folder.file("text", words(50, 7))));
    CHECK_THROWS_WITH(Corpus(config), Catch::Contains("a.tok holds tokens and ") &&
                                          Catch::Contains("switchyard data tokenize"));
}

TEST_CASE("corpus: joined files are documents of their own, also within a window", "[unit]") {
    const TestFolder folder;
    Config config;
    config.model.seq_len = 32;
    config.data.validation_fraction = 0.0;
    config.data.path = concat(folder.file("a", "0123456789"), ",", folder.file("b", "abcde"), ",",
                              folder.file("c", std::string(18, '.')));
    std::vector<index_t> begins;
    Corpus(config).append_document_begins(Split::train, 0, begins);
    std::vector<index_t> expected(32, 15);
    std::fill_n(expected.begin(), 15, 10);
    std::fill_n(expected.begin(), 10, 0);
    CHECK(begins == expected);
}

TEST_CASE("corpus: a text too large to be tokenized at the start is refused before it is read", "[unit]") {
    const TestFolder folder;
    const std::string file = folder.file("text", "the");
    std::filesystem::resize_file(file, (std::uintmax_t{256} << 20) + 1);
    CHECK_THROWS_WITH(Corpus(tokenized(folder, file)), Catch::Contains("texts of 268435457 bytes") &&
                                                           Catch::Contains("switchyard data tokenize"));
    std::ofstream(folder / "more") << words(50, 7);
    CHECK_NOTHROW(Corpus(tokenized(folder, (folder / "more").string())));
}
