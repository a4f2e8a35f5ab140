#include <catch2/catch.hpp>

#include <sys/stat.h>

#include <set>

#include "model/objective/spans.hpp"
#include "runtime/data/corpus.hpp"
#include "runtime/data/open_tokenizer.hpp"
#include "tests/unit/runtime/test_folder.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::TestFolder;

namespace {

std::vector<std::int32_t> sample(const Corpus& corpus, Split split, index_t sample_idx) {
    std::vector<std::int32_t> ids;
    corpus.append(split, sample_idx, ids);
    return ids;
}

/// `size` bytes in which every pair of neighbours within 256 tells its position.
std::string counting_text(std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i)
        text.push_back(static_cast<char>((i % 2 == 0 ? i / 2 : i / 512) % 256));
    return text;
}

Corpus corpus_of(const std::string& paths, index_t seq_len, double validation_fraction, std::uint64_t seed) {
    Config config;
    config.data.path = paths;
    config.model.seq_len = seq_len;
    config.data.validation_fraction = validation_fraction;
    config.train.seed = seed;
    return Corpus(config);
}

std::string io_error_of(const std::function<void()>& attempt) {
    try {
        attempt();
    } catch (const IoError& error) {
        return error.what();
    }
    return "nothing thrown";
}

}  // namespace

TEST_CASE("data: the order of an epoch is a bijection for every size, and differs between epochs and seeds",
          "[unit]") {
    for (const index_t size : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4097}) {
        std::vector<std::vector<index_t>> orders;
        for (const auto& [seed, epoch] :
             {std::pair<std::uint64_t, std::uint64_t>{1, 0}, {1, 1}, {2, 0}, {1, 1ULL << 33}}) {
            INFO("size " << size << ", seed " << seed << ", epoch " << epoch);
            std::vector<index_t> order;
            std::vector<bool> seen(static_cast<std::size_t>(size), false);
            for (index_t i = 0; i < size; ++i) {
                const index_t place = permute_index(i, size, seed, epoch);
                REQUIRE(place >= 0);
                REQUIRE(place < size);
                REQUIRE_FALSE(seen[static_cast<std::size_t>(place)]);
                seen[static_cast<std::size_t>(place)] = true;
                order.push_back(place);
            }
            orders.push_back(order);
        }
        if (size >= 15)
            CHECK(std::set<std::vector<index_t>>(orders.begin(), orders.end()).size() == orders.size());
    }
}

TEST_CASE("data: the order is spread evenly: neighbours in time are not neighbours in the text", "[unit]") {
    // For a uniformly random permutation of n the mean distance of successive places is (n + 1) / 3, with a standard
    // deviation of about n / (3 sqrt(1.25 n)); five of those are allowed.
    constexpr index_t kSize = 4096;
    double distance = 0.0;
    index_t fixed = 0;
    for (index_t i = 0; i < kSize; ++i) {
        const index_t place = permute_index(i, kSize, 7, 3);
        if (place == i) ++fixed;
        if (i > 0) distance += std::abs(static_cast<double>(place - permute_index(i - 1, kSize, 7, 3)));
    }
    const double n = static_cast<double>(kSize);
    CHECK(distance / (n - 1) == Approx((n + 1) / 3).margin(5 * n / (3 * std::sqrt(1.25 * n))));
    CHECK(fixed < 10);
}

TEST_CASE("data: an epoch of samples covers the training text once, each sample being a window of it",
          "[unit]") {
    const TestFolder folder;
    const std::string text = counting_text(1000);
    const Corpus corpus = corpus_of(folder.file("text", text), 16, 0.1, 5);
    // 900 bytes for training: windows start at 0, 16, ..., and share their border token with the next one.
    REQUIRE(corpus.num_windows(Split::train) == (900 - 1) / 16);
    REQUIRE(corpus.num_windows(Split::validation) == (100 - 1) / 16);
    for (const index_t epoch : {0, 1, 2}) {
        std::set<std::size_t> starts;
        for (index_t i = 0; i < corpus.num_windows(Split::train); ++i) {
            const std::vector<std::int32_t> ids =
                sample(corpus, Split::train, epoch * corpus.num_windows(Split::train) + i);
            REQUIRE(ids.size() == 17);
            std::string window;
            for (const std::int32_t id : ids) window.push_back(static_cast<char>(id));
            const std::size_t start = text.find(window);
            REQUIRE(start % 16 == 0);
            REQUIRE(start + 17 <= 900);
            starts.insert(start);
        }
        CHECK(static_cast<index_t>(starts.size()) == corpus.num_windows(Split::train));
    }
    for (index_t i = 0; i < 12; ++i) {
        const std::vector<std::int32_t> ids = sample(corpus, Split::validation, i);
        const auto start = static_cast<std::size_t>(900 + i % 6 * 16);
        for (std::size_t j = 0; j < 17; ++j) CHECK(ids[j] == static_cast<unsigned char>(text[start + j]));
    }
}

TEST_CASE("data: samples depend on the seed and their number alone, whoever asks and in whatever order",
          "[unit]") {
    const TestFolder folder;
    const std::string file = folder.file("text", counting_text(5000));
    const Corpus all = corpus_of(file, 8, 0.05, 11);
    const Corpus other_seed = corpus_of(file, 8, 0.05, 12);
    int different = 0;
    for (const int ranks : {1, 2, 3, 4, 8}) {
        for (int rank = 0; rank < ranks; ++rank) {
            const Corpus own = corpus_of(file, 8, 0.05, 11);
            for (index_t i = 2000 - 1 - rank; i >= 0; i -= ranks) {
                const std::vector<std::int32_t> ids = sample(own, Split::train, i);
                REQUIRE(ids == sample(all, Split::train, i));
                if (ids != sample(other_seed, Split::train, i)) ++different;
            }
        }
    }
    CHECK(different > 9000);
}

TEST_CASE("data: several files are one text, also where a window crosses from one to the next", "[unit]") {
    const TestFolder folder;
    const std::string text = counting_text(3000);
    const Corpus whole = corpus_of(folder.file("whole", text), 32, 0.1, 3);
    const std::string parts =
        folder.file("a", text.substr(0, 7)) + "," + folder.file("b", text.substr(7, 1)) + "," +
        folder.file("c", text.substr(8, 1500)) + "," + folder.file("d", text.substr(1508));
    const Corpus joined = corpus_of(parts, 32, 0.1, 3);
    REQUIRE(joined.files().file_bytes() == std::vector<index_t>{7, 1, 1500, 1492});
    for (const Split split : {Split::train, Split::validation}) {
        REQUIRE(joined.num_windows(split) == whole.num_windows(split));
        for (index_t i = 0; i < 2 * whole.num_windows(split); ++i)
            REQUIRE(sample(joined, split, i) == sample(whole, split, i));
    }
}

TEST_CASE("data: bytes above 127 are tokens 128 to 255, and zero bytes are text", "[unit]") {
    const TestFolder folder;
    std::string text = counting_text(64);
    text[0] = '\0';
    text[1] = '\xff';
    const Corpus corpus = corpus_of(folder.file("text", text), 63, 0.0, 1);
    const std::vector<std::int32_t> ids = sample(corpus, Split::train, 0);
    CHECK(ids[0] == 0);
    CHECK(ids[1] == 255);
}

TEST_CASE("data: what cannot be read is refused with its name and reason, all files at once", "[unit]") {
    const TestFolder folder;
    const std::string missing = (folder.path() / "missing").string();
    const std::string empty = folder.file("empty", "");
    const std::string good = folder.file("good", counting_text(100));
    const std::string pipe = (folder.path() / "pipe").string();
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    CHECK(
        io_error_of([&] {
            corpus_of(missing + "," + good + "," + empty + "," + folder.path().string(), 8, 0.1, 1);
        }) ==
        "data.path: " + missing + " is not a file that can be read: No such file or directory\n" +
            "data.path: " + empty + " is empty\n" + "data.path: " + folder.path().string() +
            " is a folder, and no file with a text of some size; name a file\n" +
            "data.path: commas join files; one whose name has a comma cannot be given, so rename or link it");
    // Nobody writes to the pipe; it is refused, not waited for.
    CHECK(io_error_of([&] { corpus_of(pipe, 8, 0.1, 1); }) ==
          "data.path: " + pipe + " is a device or pipe, and no file with a text of some size; name a file");
    CHECK(io_error_of([] { corpus_of("/dev/zero", 8, 0.1, 1); }) ==
          "data.path: /dev/zero is a device or pipe, and no file with a text of some size; name a file");
    CHECK_THROWS_WITH(corpus_of("", 8, 0.1, 1),
                      Catch::Contains("data.path is not set") && Catch::Contains("--set data.path="));
    CHECK_THROWS_AS(corpus_of("", 8, 0.1, 1), ConfigError);
}

TEST_CASE(
    "data: a text shorter than a sequence is refused, saying how long it must be, and that length suffices",
    "[unit]") {
    const TestFolder folder;
    const std::string file = folder.file("short", counting_text(100));
    CHECK(
        io_error_of([&] { corpus_of(file, 32, 0.1, 1); }) ==
        "data.path = " + file +
            ": its 100 bytes are 90 for training and 10 for validation (data.validation_fraction = 0.1), but "
            "model.seq_len = 32 needs at least 33 in each; give about 330 bytes of text, or lower "
            "model.seq_len");
    CHECK(io_error_of([&] { corpus_of(file, 100, 0.0, 1); }) ==
          "data.path = " + file +
              ": its 100 bytes are 100 for training and 0 for validation (data.validation_fraction = 0), but "
              "model.seq_len = 100 needs at least 101 for training; give about 101 bytes of text, or lower "
              "model.seq_len");
    CHECK(corpus_of(folder.file("enough", counting_text(330)), 32, 0.1, 1).num_windows(Split::validation) ==
          1);
    CHECK(corpus_of(folder.file("just", counting_text(101)), 100, 0.0, 1).num_windows(Split::train) == 1);
    // 29 of 100 bytes; in floating point 0.29 * 100 is a little less.
    CHECK(corpus_of(file, 28, 0.29, 1).num_windows(Split::validation) == 1);
    const Corpus without = corpus_of(file, 32, 0.0, 1);
    std::vector<std::int32_t> ids;
    CHECK_THROWS_AS(without.append(Split::validation, 0, ids), LogicError);
    CHECK_THROWS_AS(without.append(Split::train, -1, ids), LogicError);
}

TEST_CASE("data: a text that shrinks while it is read ends in a message, whoever reads it", "[unit]") {
    const TestFolder folder;
    const std::string first = folder.file("first", counting_text(100));
    const std::string second = folder.file("second", counting_text(20000));
    const Corpus corpus = corpus_of(first + "," + second, 32, 0.5, 1);
    std::filesystem::resize_file(second, 15000);
    CHECK(sample(corpus, Split::train, 0).size() == 33);
    const std::string message =
        second +
        " had 20000 bytes when it was opened and ends at byte 15000 now: it was changed "
        "while it is read; restore it, and go on from a checkpoint";
    CHECK(io_error_of([&] {
              for (index_t i = 0; i < corpus.num_windows(Split::validation); ++i)
                  sample(corpus, Split::validation, i);
          }) == message);
    std::filesystem::resize_file(second, 0);
    CHECK_THROWS_AS(corpus.count_tokens([] { return false; }), IoError);
}

TEST_CASE("data: the byte tokenizer gives back every text", "[unit]") {
    const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer("bytes");
    std::string text;
    for (int i = 0; i < 512; ++i) text.push_back(static_cast<char>(i * 7));
    const std::vector<std::int32_t> ids = tokenizer->encode(text);
    REQUIRE(ids.size() == 512);
    for (std::size_t i = 0; i < ids.size(); ++i) CHECK(ids[i] == static_cast<int>(i * 7 % 256));
    CHECK(tokenizer->decode(ids) == text);
    CHECK(tokenizer->vocab_size() == 256);
    CHECK(tokenizer->name() == "bytes");
    CHECK_THROWS_WITH(tokenizer->decode(std::vector<std::int32_t>{65, 256}),
                      "bytes tokenizer: 256 is not a byte");
    CHECK(tokenizer->identity() == "bytes");
    CHECK(tokenizer->num_bytes(255) == 1);
    CHECK(tokenizer->num_bytes(256) == 0);
    CHECK(tokenizer->num_bytes(-1) == 0);
    CHECK(tokenizer->text_begin().empty());
    CHECK_FALSE(tokenizer->end_of_text());
}

TEST_CASE("data: a tokenizer is named by what it is or by where its file lies, and known by the file's bytes",
          "[unit]") {
    const TestFolder folder;
    const std::string text = test::TokenizerFile().text();
    const std::string file = folder.file("tokenizer.json", text);
    const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(file);
    CHECK(tokenizer->vocab_size() == 262);
    CHECK(make_tokenizer(folder.path().string())->identity() == tokenizer->identity());
    CHECK(make_tokenizer(folder.file("other.json", text))->identity() == tokenizer->identity());
    CHECK(make_tokenizer(folder.file("another.json", text + "\n"))->identity() != tokenizer->identity());
    CHECK_THAT(tokenizer->identity(), Catch::Matches("bpe xxh3:[0-9a-f]{16}"));
    CHECK_THROWS_AS(make_tokenizer("bpe"), ConfigError);
    CHECK_THROWS_WITH(make_tokenizer("bpe"),
                      Catch::Contains("'bpe' is unknown; known are bytes, a tokenizer.json"));
    CHECK_THROWS_WITH(make_tokenizer((folder / "none.json").string()), Catch::Contains("is not a file"));
    std::filesystem::create_directory(folder / "empty");
    CHECK_THROWS_WITH(make_tokenizer((folder / "empty").string()),
                      Catch::Contains("neither a tokenizer.json nor a tokenizer.model"));
}

TEST_CASE("data: a tokenizer needs room in the vocabulary, beside the ids of masks and spans", "[unit]") {
    Config config;
    config.model.vocab_size = 256;
    CHECK(open_tokenizer(config)->vocab_size() == 256);
    config.model.vocab_size = 255;
    CHECK_THROWS_WITH(
        open_tokenizer(config),
        "model.vocab_size = 255 is less than the 256 tokens of data.tokenizer = bytes; set it to at "
        "least 256, or use the tokenizer that the model was trained with");
    const TestFolder folder;
    config.data.tokenizer = folder.file("tokenizer.json", test::TokenizerFile().text());
    config.model.architecture = model::Architecture::encoder;
    config.model.vocab_size = 262;
    CHECK_THROWS_WITH(open_tokenizer(config),
                      Catch::Contains("the 262 tokens of data.tokenizer = ") &&
                          Catch::Contains(" and the 1 id that stands for masked tokens") &&
                          Catch::Contains("at least 263"));
    config.model.vocab_size = 263;
    CHECK(open_tokenizer(config)->vocab_size() == 262);
    config.model.architecture = model::Architecture::encoder_decoder;
    const index_t spans = model::span_lengths(config.model).num_spans;
    config.model.vocab_size = 262 + spans + 1;
    CHECK_THROWS_WITH(open_tokenizer(config), Catch::Contains("ids that mark spans"));
    config.model.vocab_size = 262 + spans + 2;
    CHECK(open_tokenizer(config)->vocab_size() == 262);
}
