#include <catch2/catch.hpp>

#include <cstring>
#include <numeric>
#include <thread>

#include "runtime/data/token_file_format.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using Catch::Matchers::Contains;
using sy::test::read_text;
using sy::test::TestFolder;
namespace fs = std::filesystem;

namespace {

struct Document {
    std::vector<std::int32_t> ids;
    index_t num_bytes = 0;
};

/// Documents of 1 to 1000 ids, in several blocks of the file.
std::vector<Document> documents_of(index_t vocab_size, index_t count) {
    std::vector<Document> documents;
    index_t value = 1;
    for (index_t i = 0; i < count; ++i) {
        Document document;
        for (index_t left = 1 + i * 37 % 1000; left > 0; --left) {
            value = value * 48271 % 2147483647;
            document.ids.push_back(static_cast<std::int32_t>(value % vocab_size));
        }
        document.num_bytes = 3 * static_cast<index_t>(document.ids.size());
        documents.push_back(std::move(document));
    }
    return documents;
}

void append(TokenFileWriter& writer, const Document& document) {
    writer.begin_document();
    const auto half = document.ids.size() / 2;
    writer.append(std::span(document.ids).first(half), document.num_bytes);
    writer.append(std::span(document.ids).subspan(half), 0);
}

TokenFileSource source_of(index_t vocab_size) {
    return {"bpe xxh3:0123456789abcdef", vocab_size, 7};
}

fs::path write_file(const TestFolder& folder, index_t vocab_size, const std::vector<Document>& documents) {
    const fs::path path = folder / "text.tok";
    TokenFileWriter writer(path, source_of(vocab_size), "test");
    for (const Document& document : documents) append(writer, document);
    writer.finish();
    return path;
}

std::string error_of(const std::string& path) {
    try {
        const TokenFile file(path);
    } catch (const IoError& error) {
        return error.what();
    }
    return "it is opened";
}

std::size_t files_in(const TestFolder& folder) {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("token_file: tokens and documents come back, in two bytes an id or four", "[unit]") {
    for (const index_t vocab_size : {index_t{65536}, index_t{65537}}) {
        const TestFolder folder;
        const std::vector<Document> documents = documents_of(vocab_size, 300);
        const TokenFile file(write_file(folder, vocab_size, documents).string());
        CHECK(files_in(folder) == 1);
        std::vector<std::int32_t> ids;
        std::vector<index_t> starts;
        index_t num_bytes = 0;
        for (const Document& document : documents) {
            starts.push_back(static_cast<index_t>(ids.size()));
            ids.insert(ids.end(), document.ids.begin(), document.ids.end());
            num_bytes += document.num_bytes;
        }
        REQUIRE(file.num_tokens() == static_cast<index_t>(ids.size()));
        CHECK(file.num_documents() == 300);
        CHECK(file.num_bytes() == num_bytes);
        CHECK(file.source() == source_of(vocab_size));
        const index_t token_bytes = vocab_size == 65536 ? 2 : 4;
        CHECK(static_cast<index_t>(fs::file_size(folder / "text.tok")) <
              file.num_tokens() * token_bytes + 4096);
        CHECK(file.verify().empty());

        std::vector<std::int32_t> read(ids.size());
        file.read(0, read);
        CHECK(read == ids);
        for (const index_t position : {index_t{1}, index_t{16383}, index_t{32767}, file.num_tokens() - 5}) {
            std::vector<std::int32_t> five(5);
            file.read(position, five);
            CHECK(std::equal(five.begin(), five.end(), ids.begin() + position));
        }
        CHECK(file.document_starts({0, file.num_tokens()}) == starts);
        for (std::size_t i = 0; i < starts.size(); i += 17) {
            CHECK(file.document_starts({starts[i], starts[i] + 1}) == std::vector{starts[i]});
            CHECK(file.document_starts({starts[i] + 1, starts[i] + 1}).empty());
        }
        CHECK(file.document_starts({starts[3] + 1, starts[6] + 1}) ==
              std::vector{starts[4], starts[5], starts[6]});
    }
}

TEST_CASE("token_file: several threads may read one file", "[unit]") {
    const TestFolder folder;
    const TokenFile file(write_file(folder, 50000, documents_of(50000, 400)).string());
    std::vector<std::int32_t> whole(static_cast<std::size_t>(file.num_tokens()));
    file.read(0, whole);
    const TokenFile shared((folder / "text.tok").string());
    std::vector<int> right(4, 0);
    {
        std::vector<std::jthread> threads;
        for (std::size_t thread = 0; thread < right.size(); ++thread) {
            threads.emplace_back([&, thread] {
                std::vector<std::int32_t> ids(100);
                bool same = true;
                for (index_t i = 0; i < 200; ++i) {
                    const index_t position =
                        (i * 7919 + static_cast<index_t>(thread)) % (shared.num_tokens() - 100);
                    shared.read(position, ids);
                    same = same && std::equal(ids.begin(), ids.end(), whole.begin() + position);
                }
                right[thread] = same ? 1 : 0;
            });
        }
    }
    CHECK(std::accumulate(right.begin(), right.end(), 0) == 4);
}

TEST_CASE("token_file: every changed byte, and every other length, is found", "[unit]") {
    const TestFolder folder;
    const std::string path = write_file(folder, 300, documents_of(300, 3)).string();
    const std::string good = read_text(path);
    for (std::size_t place = 0; place < good.size(); ++place) {
        std::string bad = good;
        bad[place] = static_cast<char>(bad[place] ^ 0x10);
        const std::string damaged = folder.file("damaged.tok", bad);
        std::vector<std::string> problems{error_of(damaged)};
        if (problems[0] == "it is opened") problems = TokenFile(damaged).verify();
        INFO("byte " << place);
        REQUIRE_FALSE(problems.empty());
        REQUIRE_THAT(problems[0], Contains("damaged.tok"));
    }
    for (const std::size_t length : {std::size_t{1}, std::size_t{79}, std::size_t{80}, good.size() - 1}) {
        REQUIRE(error_of(folder.file("short.tok", good.substr(0, length))) != "it is opened");
    }
    CHECK_THAT(error_of(folder.file("long.tok", good + "x")), Contains("cut short or added to"));
    CHECK_THAT(error_of(folder.file("text.txt", std::string(1000, 'a'))),
               Contains("switchyard data tokenize"));
    CHECK(TokenFile::is_token_file(path));
    CHECK_FALSE(TokenFile::is_token_file((folder / "text.txt").string()));
}

TEST_CASE(
    "token_file: an id that is not in the vocabulary does not come out of a file whose checksums are right",
    "[unit]") {
    namespace format = sy::runtime::detail;  // sy has a detail of its own
    const TestFolder folder;
    std::string file = read_text(write_file(folder, 300, documents_of(300, 3)));
    format::TokenFileHeader header;
    std::memcpy(&header, file.data(), sizeof(header));
    header.vocab_size = 10;
    header.header_xxh3 = format::header_checksum(header);
    std::memcpy(file.data(), &header, sizeof(header));
    const TokenFile narrow(folder.file("narrow.tok", file));
    std::vector<std::int32_t> ids(100);
    CHECK_THROWS_WITH(narrow.read(0, ids), Contains("which is not in its vocabulary of 10"));
    CHECK_FALSE(narrow.verify().empty());
}

TEST_CASE("token_file: a file that shrinks while it is open ends in a message", "[unit]") {
    const TestFolder folder;
    const fs::path path = write_file(folder, 300, documents_of(300, 200));
    const TokenFile file(path.string());
    fs::resize_file(path, 1000);
    std::vector<std::int32_t> ids(100);
    CHECK_THROWS_WITH(file.read(file.num_tokens() - 100, ids), Contains("was changed while it is read"));
}

TEST_CASE("token_file: a writer continues from its last commit, to the same bytes", "[unit]") {
    for (const index_t vocab_size : {index_t{1000}, index_t{100000}}) {
        const TestFolder folder;
        const std::vector<Document> documents = documents_of(vocab_size, 200);
        const std::string expected = read_text(write_file(folder, vocab_size, documents));
        const fs::path path = folder / "again.tok";
        std::size_t next = 0;
        for (const std::size_t stop : {30U, 31U, 150U}) {
            TokenFileWriter writer(path, source_of(vocab_size), "test");
            next = writer.position().empty() ? 0 : std::stoul(writer.position());
            for (; next < stop; ++next) append(writer, documents[next]);
            writer.commit(std::to_string(next));
            // These are lost.
            append(writer, documents[next]);
            append(writer, documents[next + 1]);
        }
        TokenFileWriter writer(path, source_of(vocab_size), "test");
        REQUIRE(writer.position() == "150");
        REQUIRE(writer.num_documents() == 150);
        for (next = 150; next < documents.size(); ++next) append(writer, documents[next]);
        writer.finish();
        CHECK(read_text(path) == expected);
        CHECK(files_in(folder) == 2);
    }
}

TEST_CASE("token_file: what was written behind the last commit is cut off", "[unit]") {
    const TestFolder folder;
    const std::vector<Document> documents = documents_of(1000, 200);
    const std::string expected = read_text(write_file(folder, 1000, {documents[0]}));
    const fs::path path = folder / "again.tok";
    {
        TokenFileWriter writer(path, source_of(1000), "test");
        append(writer, documents[0]);
        writer.commit("1");
        for (const Document& document : documents) append(writer, document);
    }
    REQUIRE(fs::file_size(folder / ".unfinished-again.tok") > expected.size());
    TokenFileWriter writer(path, source_of(1000), "test");
    writer.finish();
    CHECK(read_text(path) == expected);
}

TEST_CASE("token_file: what a writer may not do is refused", "[unit]") {
    const TestFolder folder;
    const std::vector<Document> documents = documents_of(300, 300);
    const fs::path path = write_file(folder, 300, documents);
    CHECK_THROWS_WITH(TokenFileWriter(path, source_of(300), "test"), Contains("exists already"));
    const fs::path other = folder / "other.tok";
    {
        TokenFileWriter writer(other, source_of(300), "one");
        CHECK_THROWS_WITH(TokenFileWriter(other, source_of(300), "one"), Contains("by another process"));
        CHECK_THROWS_WITH(writer.append(std::vector<std::int32_t>{300}, 1), Contains("the id 300"));
        CHECK_THROWS_WITH(writer.finish(), Contains("no token"));
        for (const Document& document : documents) append(writer, document);
        writer.commit("300");
    }
    CHECK_THROWS_WITH(TokenFileWriter(other, source_of(300), "two"), Contains("of another request"));
    std::string left = read_text(folder / ".unfinished-other.tok");
    left[left.size() - 9] = static_cast<char>(left[left.size() - 9] ^ 1);
    folder.file(".unfinished-other.tok", left);
    CHECK_THROWS_WITH(TokenFileWriter(other, source_of(300), "one"), Contains("was altered"));
    folder.file(".unfinished-other.tok", left.substr(0, 100));
    CHECK_THROWS_WITH(TokenFileWriter(other, source_of(300), "one"), Contains("has 100 bytes"));
    left[left.size() - 9] = static_cast<char>(left[left.size() - 9] ^ 1);
    folder.file(".unfinished-other.tok", left);
    TokenFileWriter(other, source_of(300), "one").discard();
    CHECK(files_in(folder) == 1);
}
