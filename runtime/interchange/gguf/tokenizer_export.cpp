#include <algorithm>
#include <filesystem>
#include <set>

#include "runtime/checkpoint/regular_file.hpp"
#include "runtime/interchange/gguf/pre_tokenizers.hpp"
#include "runtime/interchange/gguf/token_types.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/tokenizer_file.hpp"
#include "runtime/tokenizer/tokenizer_json.hpp"

namespace sy::runtime::gguf {
namespace {

namespace fs = std::filesystem;

constexpr index_t kMostBytes = index_t{256} << 20;
constexpr index_t kMostConfigBytes = index_t{16} << 20;

/// A tokenizer.json and what stands beside it.
struct Source {
    TokenizerJson read;  ///< checked
    Json file;           ///< as it spells its tokens
    Json config;         ///< tokenizer_config.json, or null
};

/// The file that data.tokenizer means: of a folder, the one that make_tokenizer takes.
fs::path file_of(const std::string& spec) {
    fs::path path = spec;
    if (fs::is_directory(path)) path = tokenizer_file_in(path).value_or(path / kTokenizerJson);
    if (!fs::exists(path) || (path.extension() != ".json" && path.extension() != ".model"))
        throw ConfigError(
            concat("data.tokenizer = ", spec,
                   ": there is no tokenizer.json or tokenizer.model to be written to GGUF; put it back, or "
                   "export to hf"));
    return path;
}

Json config_beside(const fs::path& path) {
    const fs::path config = path.parent_path() / "tokenizer_config.json";
    if (!has_tokenizer_name(path) || !fs::exists(config)) return {};
    return Json::parse(detail::read_regular_text(config, kMostConfigBytes, detail::Links::followed));
}

/// Tokens with their types, by id.
class TokenTable {
  public:
    TokenTable(const Source& source, index_t vocab_size) {
        tokens_.resize(static_cast<std::size_t>(vocab_size));
        types_.assign(tokens_.size(), kUnused);
        for (const Json::Member& entry : source.file.at("model").at("vocab").as_object())
            set(entry.value.as_whole(), entry.name, kNormal);
        for (const AddedToken& token : source.read.added)
            set(token.id, token.content, token.special ? kControl : kUserDefined);
        for (std::size_t id = 0; id < tokens_.size(); ++id) {
            if (tokens_[id].empty()) tokens_[id] = concat("[PAD", id, "]");
        }
        std::set<std::string_view> seen;
        for (const std::string& token : tokens_) {
            if (!seen.insert(token).second)
                problems_.push_back(
                    concat("the token ", escaped(token), " has two ids, which llama.cpp does not load"));
        }
    }

    const std::vector<std::string>& problems() const { return problems_; }
    /// The id of a token with this text.
    std::optional<std::uint32_t> find(const std::string& text) const {
        const auto found = std::ranges::find(tokens_, text);
        if (found == tokens_.end()) return std::nullopt;
        return static_cast<std::uint32_t>(found - tokens_.begin());
    }
    std::vector<std::string> take_tokens() { return std::move(tokens_); }
    std::vector<std::int32_t> take_types() { return std::move(types_); }

  private:
    void set(std::int64_t id, const std::string& text, std::int32_t type) {
        const auto place = static_cast<std::size_t>(id);
        if (place >= tokens_.size()) {
            if (problems_.empty())
                problems_.push_back(concat("the token ", escaped(text), " has the id ", id,
                                           ", but model.vocab_size = ", tokens_.size()));
            return;
        }
        tokens_[place] = text;
        types_[place] = type;
    }

    std::vector<std::string> tokens_;
    std::vector<std::int32_t> types_;
    std::vector<std::string> problems_;
};

/// Merges as llama.cpp reads them, with one blank between two tokens.
std::vector<std::string> merges_of(const Source& source) {
    std::vector<std::string> merges;
    for (const Json& rule : source.file.at("model").at("merges").as_array()) {
        merges.push_back(rule.is_array()
                             ? concat(rule.as_array()[0].as_string(), " ", rule.as_array()[1].as_string())
                             : rule.as_string());
    }
    return merges;
}

/// A token that tokenizer_config.json names, as text or as an object with its content.
std::optional<std::string> named_token(const Json& config, std::string_view name) {
    const Json* const value = config.find(name);
    if (value == nullptr || value->is_null()) return std::nullopt;
    return value->is_object() ? value->at("content").as_string() : value->as_string();
}

/// Which tokens begin and end a text, and whether they are added to it.
struct Ends {
    std::optional<std::uint32_t> begin;
    std::optional<std::uint32_t> end;
    std::optional<std::uint32_t> padding;
    bool add_begin = false;
    bool add_end = false;
};

bool config_flag(const Json& config, std::string_view name) {
    const Json* const value = config.find(name);
    return value != nullptr && value->is_bool() && value->as_bool();
}

Ends find_ends(const Source& source, const TokenTable& table, std::vector<std::string>& problems) {
    Ends ends;
    for (const auto& [name, id] : {std::pair("bos_token", &ends.begin), std::pair("eos_token", &ends.end),
                                   std::pair("pad_token", &ends.padding)}) {
        const std::optional<std::string> token = named_token(source.config, name);
        if (!token) continue;
        *id = table.find(*token);
        if (!*id)
            problems.push_back(
                concat("tokenizer_config.json: ", name, " = ", escaped(*token), " is no token"));
    }
    const TokenizerJson& read = source.read;
    if (read.text_begin.size() > 1 || read.text_end.size() > 1)
        problems.emplace_back(
            "its template puts more than one token before or behind a text, llama.cpp does not");
    ends.add_begin = !read.text_begin.empty() || (ends.begin && config_flag(source.config, "add_bos_token"));
    ends.add_end = !read.text_end.empty() || (ends.end && config_flag(source.config, "add_eos_token"));
    if (!read.text_begin.empty()) ends.begin = static_cast<std::uint32_t>(read.text_begin[0]);
    if (!read.text_end.empty()) ends.end = static_cast<std::uint32_t>(read.text_end[0]);
    for (const char* const name :
         {"<|endoftext|>", "<|end_of_text|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "</s>"})
        if (!ends.end) ends.end = table.find(name);
    if (!ends.end)
        problems.emplace_back(
            "no token ends a text, and llama.cpp would take the one of id 11; name it as eos_token in "
            "tokenizer_config.json beside tokenizer.json");
    // llama.cpp would take 11 here too.
    if (!ends.begin) ends.begin = ends.end;
    return ends;
}

void check_added(const TokenizerJson& read, std::vector<std::string>& problems,
                 std::vector<std::string>& notes) {
    for (const AddedToken& token : read.added) {
        if (!token.lstrip && !token.rstrip && !token.single_word) continue;
        const std::string text =
            concat("the token ", escaped(token.content),
                   " takes blanks beside it along or stands only between words, which llama.cpp "
                   "does not know");
        (token.special ? notes : problems).push_back(text);
    }
}

}  // namespace

TokenizerKeys tokenizer_keys(const std::string& spec, index_t vocab_size) {
    const fs::path path = file_of(spec);
    const std::string text = detail::read_regular_text(path, kMostBytes, detail::Links::followed);
    if (path.extension() == ".model")
        return sentencepiece_keys(text, config_beside(path), path.string(), vocab_size);
    Json file = Json::parse(text);
    const Json* const model = file.find("model");
    const Json* const type = model != nullptr ? model->find("type") : nullptr;
    if (type != nullptr && *type == Json("WordPiece"))
        return wordpiece_keys(file, config_beside(path), spec, vocab_size);
    const Source source{read_tokenizer_json(text, path.string()), std::move(file), config_beside(path)};
    TokenizerKeys result;
    std::vector<std::string> problems;
    const char* pre = "";
    try {
        pre = known_pre_tokenizer(source.file).name;
    } catch (const ConfigError& error) {
        problems.emplace_back(error.what());
    }
    TokenTable table(source, vocab_size);
    problems.insert(problems.end(), table.problems().begin(), table.problems().end());
    check_added(source.read, problems, result.notes);
    const Ends ends = find_ends(source, table, problems);
    for (std::string& problem : problems)
        problem = concat("data.tokenizer = ", spec, " cannot be written to GGUF: ", problem);
    if (!problems.empty()) throw ConfigError(problems);
    if (source.read.normalizer == Normalizer::nfc)
        result.notes.emplace_back(
            "llama.cpp does not bring texts into Unicode's form NFC, as this tokenizer does: tokens of texts "
            "in other "
            "forms differ");
    result.keys = {{"tokenizer.ggml.model", std::string("gpt2")},
                   {"tokenizer.ggml.pre", std::string(pre)},
                   {"tokenizer.ggml.tokens", Array(table.take_tokens())},
                   {"tokenizer.ggml.token_type", Array(table.take_types())},
                   {"tokenizer.ggml.merges", Array(merges_of(source))},
                   {"tokenizer.ggml.bos_token_id", *ends.begin},
                   {"tokenizer.ggml.eos_token_id", *ends.end}};
    if (ends.padding) result.keys.push_back({"tokenizer.ggml.padding_token_id", *ends.padding});
    result.keys.push_back({"tokenizer.ggml.add_bos_token", ends.add_begin});
    result.keys.push_back({"tokenizer.ggml.add_eos_token", ends.add_end});
    const Json* const chat = source.config.find("chat_template");
    if (chat != nullptr && chat->is_array()) {
        result.notes.emplace_back(
            "the chat templates are left out: a GGUF file has one, tokenizer_config.json several");
    } else if (chat != nullptr && !chat->is_null()) {
        result.keys.push_back({"tokenizer.chat_template", chat->as_string()});
    }
    return result;
}

}  // namespace sy::runtime::gguf
