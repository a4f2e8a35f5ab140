#pragma once

#include <string>

#include "kernels/core/error.hpp"
#include "runtime/json/json.hpp"
#include "runtime/tokenizer/byte_level.hpp"

namespace sy::test {

/// A small tokenizer.json: all bytes as their own ids, and a few merges of "the". Parts can be replaced by other JSON.
struct TokenizerFile {
    std::string added = "[]";
    std::string normalizer = "null";
    std::string pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false})";
    std::string post_processor = "null";
    std::string decoder = R"({"type":"ByteLevel"})";
    std::string model = bytes_and_merges();

    std::string text() const {
        return concat(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)", added,
                      R"(,"normalizer":)", normalizer, R"(,"pre_tokenizer":)", pre_tokenizer,
                      R"(,"post_processor":)", post_processor, R"(,"decoder":)", decoder, R"(,"model":)",
                      model, "}");
    }

    static std::string bytes_and_merges() {
        std::string vocabulary;
        int id = 0;
        for (const std::string& character : runtime::byte_characters())
            vocabulary += concat(runtime::Json(character).text(), ":", id++, ",");
        return concat(R"({"type":"BPE","vocab":{)", vocabulary,
                      R"("th":256,"the":257,"Ġthe":258,"in":259,"ing":260,"ĠĠ":261},)"
                      R"("merges":["t h","th e",["Ġ","the"],"i n","in g","Ġ Ġ"]})");
    }
};

}  // namespace sy::test
