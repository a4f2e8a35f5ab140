// Which file of a folder is its tokenizer's, and what of them travels.
#include <catch2/catch.hpp>

#include "runtime/interchange/hf_family.hpp"
#include "runtime/interchange/tokenizer_files.hpp"
#include "runtime/tokenizer/tokenizer_file.hpp"
#include "tests/unit/runtime/test_folder.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;
using namespace sy::runtime;
using test::TestFolder;

namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

constexpr const char* kUnigram = R"({"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0]]}})";

fs::path new_folder(const TestFolder& parent, const std::string& name) {
    fs::create_directory(parent / name);
    return parent / name;
}

}  // namespace

TEST_CASE("tokenizer files: a unigram model is read from the file of SentencePiece beside it", "[unit]") {
    const TestFolder folder;
    CHECK(!tokenizer_file_in(folder.path()));
    folder.file("tokenizer.json", kUnigram);
    CHECK(tokenizer_file_in(folder.path()) == folder / "tokenizer.json");
    folder.file("spiece.model", "pieces");
    CHECK(tokenizer_file_in(folder.path()) == folder / "spiece.model");
    folder.file("tokenizer.model", "pieces");
    CHECK(tokenizer_file_in(folder.path()) == folder / "tokenizer.model");
    for (const std::string& other : {test::TokenizerFile().text(), std::string("{"), std::string("[1]")}) {
        folder.file("tokenizer.json", other);
        CHECK(tokenizer_file_in(folder.path()) == folder / "tokenizer.json");
    }
    fs::remove(folder / "tokenizer.json");
    CHECK(tokenizer_file_in(folder.path()) == folder / "tokenizer.model");
}

TEST_CASE("tokenizer files: a folder of T5 keeps the name of its file, and an export gives it that name",
          "[unit]") {
    const TestFolder folder;
    const fs::path t5 = new_folder(folder, "t5");
    folder.file("t5/spiece.model", "pieces");
    folder.file("t5/tokenizer_config.json", "{}");
    CHECK(has_own_tokenizer(t5));
    CHECK(copy_tokenizer_files(t5, new_folder(folder, "imported")) ==
          Names{"spiece.model", "tokenizer_config.json"});
    CHECK(test::read_text(folder / "imported/spiece.model") == "pieces");

    const char* const llama = find_hf_family("llama").sentencepiece_file;
    CHECK(copy_tokenizer_files(t5, new_folder(folder, "as-llama"), llama) ==
          Names{"tokenizer.model", "tokenizer_config.json"});
    for (const char* const family : {"t5", "switch_transformers"}) {
        const char* const name = find_hf_family(family).sentencepiece_file;
        CHECK(copy_tokenizer_files(folder / "as-llama", new_folder(folder, concat("as-", family)), name) ==
              Names{"spiece.model", "tokenizer_config.json"});
        CHECK(copy_tokenizer_files(folder / "as-llama/tokenizer.model",
                                   new_folder(folder, concat(family, "-file")),
                                   name) == Names{"spiece.model", "tokenizer_config.json"});
        CHECK(test::read_text(folder / concat(family, "-file/spiece.model")) == "pieces");
    }
    // What stands beside a file of another name may belong to something else.
    fs::rename(t5 / "spiece.model", t5 / "other.model");
    CHECK(!has_own_tokenizer(t5));
    CHECK(copy_tokenizer_files(t5 / "other.model", new_folder(folder, "other")) == Names{"tokenizer.model"});
}
