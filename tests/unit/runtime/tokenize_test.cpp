#include <catch2/catch.hpp>

#include "runtime/data/text_pieces.hpp"
#include "runtime/data/tokenize.hpp"
#include "runtime/json/json.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/json_tokenizer.hpp"
#include "tests/unit/runtime/test_folder.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;
using namespace sy::runtime;
using Catch::Matchers::Contains;
using sy::test::read_text;
using sy::test::TestFolder;
using sy::test::TokenizerFile;
namespace fs = std::filesystem;

namespace {

constexpr std::int32_t kEnd = 262;

const JsonTokenizer& tokenizer() {
    static const JsonTokenizer made(
        [] {
            TokenizerFile file;
            file.added = R"([{"id":262,"content":"<end>","special":true}])";
            return file.text();
        }(),
        "test");
    return made;
}

/// Words, blanks and lines of all lengths, with characters of several bytes.
std::string long_text(std::size_t size) {
    const char* const words[] = {"the",           " thing", "  in",     "\n", "\n\n",
                                 " \u6f22\u5b57", "ing.",   " e\u0301", "\t", " the"};
    std::string text;
    for (std::size_t i = 1; text.size() < size; i = i * 48271 % 2147483647)
        text += words[i % std::size(words)];
    return text;
}

TokenizeRequest request_of(const TestFolder& folder, std::vector<std::string> inputs) {
    TokenizeRequest request;
    request.inputs = std::move(inputs);
    request.out = (folder / "out.tok").string();
    request.tokenizer = "bpe test";
    request.end_of_text = kEnd;
    request.threads = 3;
    return request;
}

void ignore(const TokenizeProgress&) {}

std::vector<std::int32_t> all_ids(const std::string& path) {
    const TokenFile file(path);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(file.num_tokens()));
    file.read(0, ids);
    return ids;
}

std::string error_of(const TokenizeRequest& request) {
    try {
        tokenize_files(tokenizer(), request, ignore);
    } catch (const IoError& error) {
        return error.what();
    }
    return "nothing thrown";
}

}  // namespace

TEST_CASE("tokenize: a text is cut only where that leaves its tokens as they are", "[unit]") {
    const std::string text = long_text(100000);
    std::size_t cuts = 0;
    for (std::size_t begin = 0; begin + 2000 < text.size(); begin += 2000) {
        std::size_t place = begin;
        while (continues_character(text[place])) ++place;
        const std::string_view part = std::string_view(text).substr(place, 2000);
        const std::optional<std::size_t> cut = find_cut(tokenizer(), part);
        if (!cut) continue;
        ++cuts;
        std::vector<std::int32_t> ids = tokenizer().encode(part.substr(0, *cut));
        const std::vector<std::int32_t> behind = tokenizer().encode(part.substr(*cut));
        ids.insert(ids.end(), behind.begin(), behind.end());
        CHECK(ids == tokenizer().encode(part));
    }
    CHECK(cuts > 40);
    CHECK_FALSE(find_cut(tokenizer(), std::string(1000, '7')));
    // Behind two line ends the first of them would have been a word of its own.
    CHECK_FALSE(find_cut(tokenizer(), "one\n\ntwo"));
    CHECK(find_cut(tokenizer(), "one\ntwo") == 4);
    CHECK(find_cut(tokenizer(), "one two") == 3);
}

TEST_CASE("tokenize: a token that spans the end of a line keeps it from being cut there", "[unit]") {
    TokenizerFile file;
    file.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";
    file.model = R"({"type":"BPE","vocab":{)";
    int id = 0;
    for (const std::string& character : byte_characters())
        file.model += concat(Json(character).text(), ":", id++, ",");
    file.model += R"("\u010at":256},"merges":["\u010a t"]})";
    const JsonTokenizer spanning(file.text(), "spanning");
    CHECK_FALSE(find_cut(spanning, "one\ntwo\nthree"));
    CHECK(find_cut(spanning, "one\ntwo\nfour") == 8);
}

TEST_CASE("tokenize: texts and JSON lines become documents, whatever the number of threads", "[unit]") {
    const TestFolder folder;
    const std::string text = long_text(5 << 20);
    std::string lines;
    std::vector<std::int32_t> expected = tokenizer().encode(text);
    expected.push_back(kEnd);
    std::vector<index_t> starts{0};
    index_t num_bytes = static_cast<index_t>(text.size());
    for (std::size_t i = 0; i < 3000; ++i) {
        const std::string document = i == 7 ? "" : long_text(i);
        lines += concat(Json(Json::Object{{"id", i}, {"body", document}}).text(), i % 5 == 0 ? "\r\n" : "\n");
        if (i % 100 == 0) lines += "\n";
        starts.push_back(static_cast<index_t>(expected.size()));
        const std::vector<std::int32_t> ids = tokenizer().encode(document);
        expected.insert(expected.end(), ids.begin(), ids.end());
        expected.push_back(kEnd);
        num_bytes += static_cast<index_t>(document.size());
    }
    TokenizeRequest request = request_of(folder, {folder.file("a.txt", text), folder.file("b.jsonl", lines)});
    request.json_field = "body";
    const Tokenized done = tokenize_files(tokenizer(), request, ignore);
    const TokenFile file(request.out);
    CHECK(done.num_documents == 3001);
    CHECK(done.num_tokens == file.num_tokens());
    CHECK(all_ids(request.out) == expected);
    CHECK(file.document_starts({0, file.num_tokens()}) == starts);
    CHECK(file.num_bytes() == num_bytes);
    CHECK(file.tokenizer() == "bpe test");

    const std::string bytes = read_text(request.out);
    for (const int threads : {1, 8}) {
        request.out = (folder / concat("again", threads)).string();
        request.threads = threads;
        tokenize_files(tokenizer(), request, ignore);
        CHECK(read_text(request.out) == bytes);
    }
    // Without an end an empty document has no token, and is left out.
    request.out = (folder / "no-end.tok").string();
    request.end_of_text.reset();
    CHECK(tokenize_files(tokenizer(), request, ignore).num_documents == 2999);
}

TEST_CASE("tokenize: what was killed continues to the same bytes", "[unit]") {
    const TestFolder folder;
    std::string lines;
    for (std::size_t i = 0; i < 3000; ++i) lines += Json(Json::Object{{"text", long_text(i)}}).text() + "\n";
    TokenizeRequest request =
        request_of(folder, {folder.file("a.txt", long_text(3 << 20)), folder.file("b.jsonl", lines),
                            folder.file("c.txt", "end")});
    tokenize_files(tokenizer(), request, ignore);
    const std::string expected = read_text(request.out);
    request.out = (folder / "again.tok").string();
    request.commit_every = 0.0;
    index_t done = 0;
    int kills = 0;
    for (;;) {
        int pieces_left = 2;
        try {
            const Tokenized result =
                tokenize_files(tokenizer(), request, [&](const TokenizeProgress& progress) {
                    CHECK(progress.bytes_done > done);
                    done = progress.bytes_done;
                    if (--pieces_left == 0) throw TimeoutError("killed");
                });
            CHECK(result.continued_at > 0);
            break;
        } catch (const TimeoutError&) {
            ++kills;
            CHECK_FALSE(fs::exists(request.out));
        }
    }
    CHECK(kills > 3);
    CHECK(read_text(request.out) == expected);
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 5);
}

TEST_CASE("tokenize: inputs that cannot be read are named by file and line, and nothing is left", "[unit]") {
    const TestFolder folder;
    const std::string good = "{\"text\":\"a\"}\n";
    CHECK_THAT(error_of(request_of(folder, {(folder / "none.txt").string(), (folder / "nor.txt").string()})),
               Contains("none.txt") && Contains("nor.txt"));
    CHECK_THAT(error_of(request_of(folder, {folder.file("a.txt", "one\ntwo\xff")})),
               Contains("a.txt:2: byte 7") && Contains("UTF-8"));
    CHECK_THAT(error_of(request_of(folder, {folder.file("b.jsonl", good + good + "{\"text\":")})),
               Contains("b.jsonl:3: "));
    CHECK_THAT(error_of(request_of(folder, {folder.file("c.jsonl", good + "{\"body\":\"a\"}\n")})),
               Contains("c.jsonl:2: ") && Contains("--jsonl-field"));
    CHECK_THAT(error_of(request_of(folder, {folder.file("d.jsonl", good + "{\"text\":7}\n")})),
               Contains("d.jsonl:2: "));
    CHECK_THAT(error_of(request_of(folder, {folder.file("e.jsonl", good + "[1]\n")})),
               Contains("e.jsonl:2: "));
    CHECK_THAT(error_of(request_of(folder, {folder.file("f.jsonl", "\n\n")})), Contains("no token"));
    CHECK_FALSE(fs::exists(folder / "out.tok"));
    CHECK_FALSE(fs::exists(folder / ".unfinished-out.tok.state"));
}

TEST_CASE("tokenize: a long text without a place to cut is refused", "[unit]") {
    const TestFolder folder;
    const std::string path = folder.file("digits.txt", "");
    fs::resize_file(path, std::uintmax_t{65} << 20);
    CHECK_THAT(error_of(request_of(folder, {path})),
               Contains("no place was found") && Contains("JSON lines"));
}
