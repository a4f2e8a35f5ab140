// tokenizer.json, as it comes from elsewhere, and texts encoded with what was accepted.
#include "kernels/core/error.hpp"
#include "runtime/tokenizer/json_tokenizer.hpp"
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
    return {characters.text(), full.text(), plain.text()};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const runtime::JsonTokenizer tokenizer(std::string_view(reinterpret_cast<const char*>(data), size),
                                               "input");
        for (const char* const text : {"the  the\xff é e\u0301 12 <s>\n\n漢", "tthhtu", "   "})
            tokenizer.decode(tokenizer.encode(text));
    } catch (const IoError&) {
    }
    return 0;
}
