// WordPiece, BERT's tokenizer: llama.cpp marks the tokens that begin a word, tokenizer.json those that do not.
#include <algorithm>
#include <map>

#include "runtime/interchange/gguf/token_types.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/interchange/gguf/tokenizer_values.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime::gguf {
namespace {

constexpr std::string_view kWordBegin = "\u2581";
constexpr std::string_view kContinued = "##";
constexpr index_t kMostCharactersOfWord = 100;

/// What the tokens mean that BERT's models have beside words.
struct Special {
    const char* key;   ///< in a GGUF file; tokenizer.ggml.bos_token_id begins a text, [CLS]
    const char* name;  ///< in tokenizer_config.json
    const char* text;  ///< what it is called where that does not say
    bool is_needed;
};
constexpr Special kSpecial[] = {{"tokenizer.ggml.bos_token_id", "cls_token", "[CLS]", true},
                                {"tokenizer.ggml.seperator_token_id", "sep_token", "[SEP]", true},
                                {"tokenizer.ggml.unknown_token_id", "unk_token", "[UNK]", true},
                                {"tokenizer.ggml.padding_token_id", "pad_token", "[PAD]", false},
                                {"tokenizer.ggml.mask_token_id", "mask_token", "[MASK]", false}};

/// Tokens such as [CLS] and [unused1] are called the same in both files.
bool has_brackets(std::string_view token) {
    return token.size() > 2 && token.starts_with('[') && token.ends_with(']');
}

std::string in_gguf(const std::string& token) {
    if (has_brackets(token)) return token;
    if (token.starts_with(kContinued)) return token.substr(kContinued.size());
    return concat(kWordBegin, token);
}

std::string in_json(const std::string& token) {
    if (has_brackets(token)) return token;
    if (token.starts_with(kWordBegin)) return token.substr(kWordBegin.size());
    return concat(kContinued, token);
}

/// A member of an object, or null.
Json member(const Json& object, std::string_view name) {
    const Json* const found = object.find(name);
    return found != nullptr ? *found : Json();
}

/// Everything that llama.cpp's tokenizer "bert" does otherwise: it takes capitals and accents away, and puts a token before
/// and one behind a text.
std::vector<std::string> rule_problems(const Json& file) {
    std::vector<std::string> problems;
    const auto require = [&](bool holds, const char* problem) {
        if (!holds) problems.emplace_back(problem);
    };
    const Json normalizer = member(file, "normalizer");
    const Json accents = member(normalizer, "strip_accents");
    require(member(normalizer, "type") == Json("BertNormalizer") &&
                member(normalizer, "lowercase") == Json(true) &&
                member(normalizer, "clean_text") == Json(true) &&
                member(normalizer, "handle_chinese_chars") == Json(true) &&
                (accents.is_null() || accents == Json(true)),
            "its normalizer is no BertNormalizer that takes capitals and accents away, cleans texts and cuts "
            "Chinese characters apart, as llama.cpp does");
    require(member(member(file, "pre_tokenizer"), "type") == Json("BertPreTokenizer"),
            "its pre_tokenizer is no BertPreTokenizer, whose words llama.cpp has");
    require(member(member(file, "model"), "continuing_subword_prefix") == Json(std::string(kContinued)),
            "tokens within a word do not begin with ##");
    const Json type = member(member(file, "post_processor"), "type");
    require(type == Json("TemplateProcessing") || type == Json("BertProcessing"),
            "its post_processor puts no [CLS] before and no [SEP] behind a text, which llama.cpp does");
    return problems;
}

/// Tokens of a vocabulary by id, and their types.
struct Tokens {
    std::vector<std::string> texts;
    std::vector<std::int32_t> types;
};

Tokens tokens_of(const Json& file, index_t vocab_size, std::vector<std::string>& problems) {
    Tokens tokens{std::vector<std::string>(static_cast<std::size_t>(vocab_size)),
                  std::vector<std::int32_t>(static_cast<std::size_t>(vocab_size), kUnused)};
    std::int64_t most = -1;
    const auto set = [&](std::int64_t id, std::string text, std::int32_t type) {
        most = std::max(most, id);
        if (id < 0 || id >= vocab_size) return;
        tokens.texts[static_cast<std::size_t>(id)] = std::move(text);
        tokens.types[static_cast<std::size_t>(id)] = type;
    };
    for (const Json::Member& entry : file.at("model").at("vocab").as_object())
        set(entry.value.as_whole(), in_gguf(entry.name), kNormal);
    const Json added = member(file, "added_tokens");
    if (added.is_array()) {
        for (const Json& token : added.as_array()) {
            const std::string& text = token.at("content").as_string();
            if (!has_brackets(text))
                problems.push_back(
                    concat("the added token ", escaped(text), " is not in brackets, as BERT's are"));
            set(token.at("id").as_whole(), text,
                member(token, "special") == Json(true) ? kControl : kUserDefined);
        }
    }
    if (most >= vocab_size)
        problems.push_back(concat("it has the id ", most, ", but model.vocab_size = ", vocab_size));
    std::map<std::string_view, std::size_t> ids;
    for (std::size_t id = 0; id < tokens.texts.size(); ++id) {
        if (tokens.texts[id].empty()) tokens.texts[id] = concat("[PAD", id, "]");
        if (!ids.emplace(tokens.texts[id], id).second)
            problems.push_back(concat("two tokens become ", escaped(tokens.texts[id]), " there, the ids ",
                                      ids.at(tokens.texts[id]), " and ", id));
    }
    return tokens;
}

/// What tokenizer_config.json calls a token, or how BERT's models call it.
std::string name_of(const Special& special, const Json& config) {
    const Json named = member(config, special.name);
    if (named.is_null()) return special.text;
    return named.is_object() ? named.at("content").as_string() : named.as_string();
}

}  // namespace

TokenizerKeys wordpiece_keys(const Json& file, const Json& config, const std::string& spec,
                             index_t vocab_size) {
    std::vector<std::string> problems = rule_problems(file);
    Tokens tokens = tokens_of(file, vocab_size, problems);
    TokenizerKeys result;
    for (const Special& special : kSpecial) {
        const std::string text = name_of(special, config);
        const auto found = std::ranges::find(tokens.texts, text);
        if (found != tokens.texts.end()) {
            const auto id = static_cast<std::uint32_t>(found - tokens.texts.begin());
            tokens.types[id] = kControl;
            result.keys.push_back({special.key, id});
        } else if (special.is_needed) {
            problems.push_back(
                concat("it has no token ", escaped(text), ", which llama.cpp needs as ", special.name));
        }
    }
    for (std::string& problem : problems)
        problem = concat("data.tokenizer = ", spec, " cannot be written to GGUF: ", problem);
    if (!problems.empty()) throw ConfigError(problems);
    const Json most = member(file.at("model"), "max_input_chars_per_word");
    if (!most.is_null())
        result.notes.push_back(
            concat("words of more than ", most.text(),
                   " characters are unknown to this tokenizer, llama.cpp cuts them into tokens"));
    result.notes.emplace_back(
        "llama.cpp keeps accents that a text writes apart from their letters, and takes vertical tabs for "
        "blanks: tokens of "
        "such texts differ");
    result.keys.push_back({"tokenizer.ggml.model", std::string("bert")});
    result.keys.push_back({"tokenizer.ggml.tokens", Array(std::move(tokens.texts))});
    result.keys.push_back({"tokenizer.ggml.token_type", Array(std::move(tokens.types))});
    return result;
}

TokenizerText read_wordpiece(const Header& header) {
    const auto* const texts = array_of<std::string>(header, "tokenizer.ggml.tokens");
    const auto* const types = array_of<std::int32_t>(header, "tokenizer.ggml.token_type");
    if (types == nullptr || types->size() != texts->size())
        throw IoError("tokenizer.ggml.token_type is not there, or does not fit the tokens");
    Json::Object vocabulary;
    Json::Array added;
    for (std::size_t id = 0; id < texts->size(); ++id) {
        if ((*types)[id] == kUnused) continue;
        const std::string text = in_json((*texts)[id]);
        vocabulary.push_back({text, id});
        if ((*types)[id] != kControl && (*types)[id] != kUserDefined) continue;
        added.push_back(Json::Object{{"id", id},
                                     {"content", text},
                                     {"single_word", false},
                                     {"lstrip", false},
                                     {"rstrip", false},
                                     {"normalized", false},
                                     {"special", (*types)[id] == kControl}});
    }
    Json config = Json::Object{{"tokenizer_class", "BertTokenizer"}, {"do_lower_case", true}};
    for (const Special& special : kSpecial) {
        const std::optional<std::size_t> id = token_id(header, special.key, texts->size());
        if (id) {
            config[special.name] = (*texts)[*id];
        } else if (special.is_needed) {
            throw IoError(concat(special.key, " is missing"));
        }
    }
    const auto id_of = [&](const Special& special) { return *token_id(header, special.key, texts->size()); };
    const auto ends = [&](const Special& special) {
        return Json::Array{(*texts)[id_of(special)], id_of(special)};
    };
    const Json tokenizer = Json::Object{
        {"version", "1.0"},
        {"truncation", nullptr},
        {"padding", nullptr},
        {"added_tokens", std::move(added)},
        {"normalizer", Json::Object{{"type", "BertNormalizer"},
                                    {"clean_text", true},
                                    {"handle_chinese_chars", true},
                                    {"strip_accents", nullptr},
                                    {"lowercase", true}}},
        {"pre_tokenizer", Json::Object{{"type", "BertPreTokenizer"}}},
        {"post_processor",
         Json::Object{{"type", "BertProcessing"}, {"sep", ends(kSpecial[1])}, {"cls", ends(kSpecial[0])}}},
        {"decoder",
         Json::Object{{"type", "WordPiece"}, {"prefix", std::string(kContinued)}, {"cleanup", true}}},
        {"model", Json::Object{{"type", "WordPiece"},
                               {"unk_token", (*texts)[id_of(kSpecial[2])]},
                               {"continuing_subword_prefix", std::string(kContinued)},
                               {"max_input_chars_per_word", kMostCharactersOfWord},
                               {"vocab", std::move(vocabulary)}}}};
    return {.file = "tokenizer.json", .tokenizer = tokenizer.text(), .config = config.text()};
}

}  // namespace sy::runtime::gguf
