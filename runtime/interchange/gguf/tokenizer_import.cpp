#include <algorithm>

#include "runtime/interchange/gguf/model.hpp"
#include "runtime/interchange/gguf/pre_tokenizers.hpp"
#include "runtime/interchange/gguf/token_types.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/interchange/gguf/tokenizer_values.hpp"
#include "runtime/json/json.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/byte_level.hpp"
#include "runtime/tokenizer/tokenizer_json.hpp"

namespace sy::runtime::gguf {
namespace {

bool are_bytes(const std::vector<std::string>& tokens) {
    const auto bytes = byte_characters();
    return tokens.size() >= bytes.size() && std::equal(bytes.begin(), bytes.end(), tokens.begin());
}

const KnownPreTokenizer& find_known(const std::string& name) {
    std::string names;
    for (const KnownPreTokenizer& known : known_pre_tokenizers()) {
        if (name == known.name) return known;
        names += concat(names.empty() ? "" : ", ", known.name);
    }
    throw IoError(concat("tokenizer.ggml.pre = '", escaped(name),
                         "': its rules are not known here; known are ", names));
}

Json pre_tokenizer_json(const KnownPreTokenizer& known) {
    Json::Array steps;
    for (const std::string& pattern : known.patterns)
        steps.push_back(Json::Object{{"type", "Split"},
                                     {"pattern", Json::Object{{"Regex", pattern}}},
                                     {"behavior", "Isolated"},
                                     {"invert", false}});
    steps.push_back(Json::Object{{"type", "ByteLevel"},
                                 {"add_prefix_space", false},
                                 {"trim_offsets", false},
                                 {"use_regex", known.patterns.empty()}});
    return Json::Object{{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

/// The lists of tokens in a file, of equal lengths.
struct Tokens {
    const std::vector<std::string>& texts;
    const std::vector<std::int32_t>& types;
    const std::vector<std::string>& merges;
};

Json::Array added_tokens(const Tokens& tokens) {
    Json::Array added;
    for (std::size_t id = 0; id < tokens.texts.size(); ++id) {
        const std::int32_t type = tokens.types[id];
        if (type != kControl && type != kUserDefined) continue;
        added.push_back(Json::Object{{"id", id},
                                     {"content", tokens.texts[id]},
                                     {"single_word", false},
                                     {"lstrip", false},
                                     {"rstrip", false},
                                     {"normalized", false},
                                     {"special", type == kControl}});
    }
    return added;
}

Json vocabulary(const Tokens& tokens) {
    Json::Object vocabulary;
    for (std::size_t id = 0; id < tokens.texts.size(); ++id)
        if (tokens.types[id] == kNormal) vocabulary.push_back({tokens.texts[id], id});
    return vocabulary;
}

Json tokenizer_json(const Tokens& tokens, const KnownPreTokenizer& known) {
    const Json byte_level = Json::Object{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
    return Json::Object{{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", added_tokens(tokens)},
                        {"normalizer", known.nfc ? Json(Json::Object{{"type", "NFC"}}) : Json()},
                        {"pre_tokenizer", pre_tokenizer_json(known)},
                        {"post_processor", byte_level},
                        {"decoder", byte_level},
                        {"model", Json::Object{{"type", "BPE"},
                                               {"dropout", nullptr},
                                               {"unk_token", nullptr},
                                               {"continuing_subword_prefix", nullptr},
                                               {"end_of_word_suffix", nullptr},
                                               {"fuse_unk", false},
                                               {"byte_fallback", false},
                                               {"ignore_merges", known.ignore_merges},
                                               {"vocab", vocabulary(tokens)},
                                               {"merges", json_array(tokens.merges)}}}};
}

}  // namespace

std::string tokenizer_config(const Header& header, const std::vector<std::string>& tokens,
                             const char* tokenizer_class) {
    Json config = Json::Object{{"tokenizer_class", tokenizer_class}};
    for (const auto& [key, name] : {std::pair("tokenizer.ggml.bos_token_id", "bos_token"),
                                    std::pair("tokenizer.ggml.eos_token_id", "eos_token"),
                                    std::pair("tokenizer.ggml.padding_token_id", "pad_token")}) {
        if (const std::optional<std::size_t> id = token_id(header, key, tokens.size()))
            config[name] = tokens[*id];
    }
    for (const auto& [key, name] : {std::pair("tokenizer.ggml.add_bos_token", "add_bos_token"),
                                    std::pair("tokenizer.ggml.add_eos_token", "add_eos_token")}) {
        if (const auto* const flag = value_of<bool>(header, key)) config[name] = *flag;
    }
    const std::string chat = text_of(header, "tokenizer.chat_template");
    if (!chat.empty()) config["chat_template"] = chat;
    return config.text();
}

std::optional<TokenizerText> read_tokenizer(const Header& header) {
    if (header.find("tokenizer.ggml.tokens") == nullptr) return std::nullopt;
    try {
        const auto* const texts = array_of<std::string>(header, "tokenizer.ggml.tokens");
        if (texts == nullptr) throw IoError("tokenizer.ggml.tokens are no texts");
        const auto* const merges = array_of<std::string>(header, "tokenizer.ggml.merges");
        if (are_bytes(*texts) && (merges == nullptr || merges->empty())) return std::nullopt;
        const std::string model = text_of(header, "tokenizer.ggml.model");
        if (model == "llama" || model == "t5") return read_sentencepiece(header);
        if (model == "bert") return read_wordpiece(header);
        if (model != "gpt2")
            throw IoError(concat("tokenizer.ggml.model = '", escaped(model),
                                 "' is not supported; gpt2, llama, t5 and bert are"));
        const auto* const types = array_of<std::int32_t>(header, "tokenizer.ggml.token_type");
        if (types == nullptr || merges == nullptr || types->size() != texts->size())
            throw IoError("tokenizer.ggml.token_type and merges are not there, or do not fit the tokens");
        const Tokens tokens{*texts, *types, *merges};
        TokenizerText result{.file = "tokenizer.json", .tokenizer = {}, .config = {}};
        result.tokenizer = tokenizer_json(tokens, find_known(text_of(header, "tokenizer.ggml.pre"))).text();
        result.config = tokenizer_config(header, tokens.texts, "PreTrainedTokenizerFast");
        // What runs could not use is not imported.
        read_tokenizer_json(result.tokenizer, "its tokenizer");
        return result;
    } catch (const IoError& error) {
        throw IoError(
            concat("the tokenizer of the GGUF file cannot be imported: ", error.what(),
                   "; --without-tokenizer imports the model alone, for ids that were made elsewhere"));
    }
}

}  // namespace sy::runtime::gguf
