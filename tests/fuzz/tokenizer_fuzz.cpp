// tokenizer.json, as it comes from elsewhere, and texts encoded with what was accepted. Where an input does not begin with {,
// it is a tokenizer.model of SentencePiece.
#include "kernels/core/error.hpp"
#include "runtime/tokenizer/json_tokenizer.hpp"
#include "runtime/tokenizer/sentencepiece_model.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/unit/runtime/tokenizer_file.hpp"

using namespace sy;

std::vector<std::string> fuzz_seeds() {
    test::TokenizerFile plain;
    test::TokenizerFile full;
    full.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFC"}]})";
    full.added =
        R"([{"id":262,"content":"<s>","special":true,"lstrip":true},{"id":263,"content":"é","normalized":true}])";
    full.pre_tokenizer =
        R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Split","pattern":
        {"Regex":"[^\\s\\p{L}]?\\p{L}+|\\s+(?!\\S)|\\s+"},"behavior":"MergedWithNext","invert":true},{"type":"ByteLevel"}]})";
    test::TokenizerFile characters;
    characters.pre_tokenizer = "null";
    characters.decoder = R"({"type":"Fuse"})";
    characters.model =
        R"({"type":"BPE","unk_token":"u","vocab":{"u":0,"t":1,"h":2,"th":3},"merges":["t h"],"ignore_merges":true})";
    runtime::SentencePieceModel model;
    using Type = runtime::SentencePieceModel::Type;
    model.pieces = {
        {"<unk>", 0.0F, Type::unknown}, {"</s>", 0.0F, Type::control}, {"the", -1.5F, Type::normal}};
    model.characters_map = "map";
    model.begin_of_text = -1;
    model.end_of_text = 1;
    return {characters.text(), full.text(), plain.text(), runtime::write_sentencepiece_model(model)};
}

namespace {

void try_model(std::string_view bytes) {
    const runtime::SentencePieceModel model = runtime::read_sentencepiece_model(bytes, "input");
    // What is accepted is written and read back as it was. Compared as bytes: scores may be NaN.
    const std::string written = runtime::write_sentencepiece_model(model);
    SY_REQUIRE(
        runtime::write_sentencepiece_model(runtime::read_sentencepiece_model(written, "again")) == written,
        "the model changes when written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    try {
        if (!input.starts_with('{')) {
            try_model(input);
            return 0;
        }
        const runtime::JsonTokenizer tokenizer(input, "input");
        for (const char* const text : {"the  the\xff é e\u0301 12 <s>\n\n漢", "tthhtu", "   "})
            tokenizer.decode(tokenizer.encode(text));
    } catch (const IoError&) {
    }
    return 0;
}
