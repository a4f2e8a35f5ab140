#include "runtime/interchange/byte_tokenizer.hpp"

#include "runtime/json/json.hpp"
#include "runtime/tokenizer/byte_level.hpp"

namespace sy::runtime {
std::string byte_tokenizer_json() {
    Json::Object vocabulary;
    index_t id = 0;
    for (const std::string& token : byte_characters()) vocabulary.push_back({token, id++});
    const Json byte_level = Json::Object{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
    const Json model = Json::Object{{"type", "BPE"},
                                    {"dropout", nullptr},
                                    {"unk_token", nullptr},
                                    {"continuing_subword_prefix", nullptr},
                                    {"end_of_word_suffix", nullptr},
                                    {"fuse_unk", false},
                                    {"byte_fallback", false},
                                    {"ignore_merges", false},
                                    {"vocab", std::move(vocabulary)},
                                    {"merges", Json::Array{}}};
    return Json(Json::Object{{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", Json::Array{}},
                             {"normalizer", nullptr},
                             {"pre_tokenizer", byte_level},
                             {"post_processor", nullptr},
                             {"decoder", byte_level},
                             {"model", model}})
        .text();
}

std::string byte_tokenizer_config_json(index_t max_length) {
    return Json(Json::Object{{"tokenizer_class", "PreTrainedTokenizerFast"},
                             {"model_max_length", max_length},
                             {"clean_up_tokenization_spaces", false}})
        .text();
}

}  // namespace sy::runtime
