#include "runtime/tokenizer/tokenizer_json.hpp"

#include "kernels/core/error.hpp"

namespace sy::runtime {

TokenizerJson read_tokenizer_json(std::string_view text, const std::string& name) {
    Json value;
    try {
        value = Json::parse(text);
    } catch (const IoError& error) {
        throw IoError(concat(name, ": no tokenizer.json: ", error.what()));
    }
    PartReader reader;
    const PartReader::Part file{value, ""};
    reader.only(file, {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                       "post_processor", "decoder", "model"});
    reader.finish(name);
    if (reader.text(file, "version") != "1.0")
        reader.problem("version is not 1.0, the only one that is known");
    reader.unset(file, "truncation",
                 "set it to null, since texts are cut into windows of model.seq_len tokens");
    reader.unset(file, "padding", "set it to null, since texts are never padded");
    TokenizerJson result;
    read_steps(file, reader, result);
    read_vocabulary(file, reader, result);
    reader.finish(name);
    return result;
}

}  // namespace sy::runtime
