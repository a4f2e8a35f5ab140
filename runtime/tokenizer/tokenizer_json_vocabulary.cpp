#include <array>

#include "kernels/core/error.hpp"
#include "runtime/json/utf8.hpp"
#include "runtime/tokenizer/byte_level.hpp"
#include "runtime/tokenizer/tokenizer_json.hpp"

namespace sy::runtime {
namespace {

using Part = PartReader::Part;
/// Tokens as the file spells them.
using Spelled = std::unordered_map<std::string, std::int32_t>;

/// Eight times the largest vocabularies of today; it bounds what a wrong id can make us allocate.
constexpr std::int64_t kHighestId = (std::int64_t{1} << 21) - 1;

void name_id(std::int32_t id, const std::string& where, const std::string& bytes, PartReader& reader,
             TokenizerJson& result) {
    const auto place = static_cast<std::size_t>(id);
    if (result.bytes_of_id.size() <= place) result.bytes_of_id.resize(place + 1);
    if (result.bytes_of_id[place]) {
        reader.problem(
            concat(where, ": the id ", id, " has another token too, ", escaped(*result.bytes_of_id[place])));
        return;
    }
    result.bytes_of_id[place] = bytes;
}

/// What a token stands for: over bytes, those of its characters, or its own text where it has any other character.
std::string bytes_of(const std::string& spelled, const ByteCharacters* characters) {
    if (characters == nullptr) return spelled;
    return characters->bytes_of(spelled).value_or(spelled);
}

Spelled read_tokens(const Part& model, const ByteCharacters* characters, PartReader& reader,
                    TokenizerJson& result) {
    Spelled ids;
    const std::optional<Part> vocabulary = reader.member(model, "vocab");
    if (!vocabulary || !vocabulary->value.is_object()) {
        reader.problem("model.vocab is missing or no object");
        return ids;
    }
    ids.reserve(vocabulary->value.as_object().size());
    for (const Json::Member& entry : vocabulary->value.as_object()) {
        const std::string where = concat("model.vocab[\"", escaped(entry.name), "\"]");
        if (!entry.value.is_whole() || entry.value.as_whole() < 0 || entry.value.as_whole() > kHighestId) {
            reader.problem(concat(where, " is no whole number from 0 to ", kHighestId));
            continue;
        }
        const auto id = static_cast<std::int32_t>(entry.value.as_whole());
        ids.emplace(entry.name, id);
        name_id(id, where, bytes_of(entry.name, characters), reader, result);
        if (characters == nullptr) {
            result.rules.ids.emplace(entry.name, id);
        } else if (std::optional<std::string> bytes = characters->bytes_of(entry.name)) {
            result.rules.ids.emplace(*std::move(bytes), id);
        }
    }
    return ids;
}

/// The two halves of a rule, written as a pair or with a blank between them.
std::optional<std::array<std::string, 2>> halves(const Json& rule) {
    try {
        if (rule.is_array()) {
            if (rule.as_array().size() != 2) return std::nullopt;
            return std::array{rule.as_array()[0].as_string(), rule.as_array()[1].as_string()};
        }
        const std::string& text = rule.as_string();
        const std::size_t blank = text.find(' ');
        if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) return std::nullopt;
        return std::array{text.substr(0, blank), text.substr(blank + 1)};
    } catch (const IoError&) {
        return std::nullopt;
    }
}

void read_merges(const Part& model, const Spelled& ids, PartReader& reader, TokenizerJson& result) {
    for (const Part& rule : reader.elements(model, "merges")) {
        const auto parts = halves(rule.value);
        if (!parts) {
            reader.problem(concat(rule.where, " is no rule of two tokens"));
            continue;
        }
        MergeRule merge;
        bool known = true;
        for (const auto& [token, id] : {std::pair{(*parts)[0], &merge.left},
                                        {(*parts)[1], &merge.right},
                                        {(*parts)[0] + (*parts)[1], &merge.merged}}) {
            const auto found = ids.find(token);
            if (found == ids.end()) {
                reader.problem(concat(rule.where, ": ", escaped(token), " is no token of model.vocab"));
                known = false;
            } else {
                *id = found->second;
            }
        }
        if (known) result.rules.merges.push_back(merge);
    }
}

/// Tokens for what has none: unk_token, <0x00> to <0xFF>, or bytes that all have one.
void read_fallbacks(const Part& model, const Spelled& ids, PartReader& reader, TokenizerJson& result) {
    BpeRules& rules = result.rules;
    rules.fuse_unknown = reader.flag(model, "fuse_unk", false);
    if (reader.member(model, "unk_token")) {
        const std::string token = reader.text(model, "unk_token");
        const auto found = ids.find(token);
        if (found != ids.end()) {
            rules.unknown = found->second;
        } else {
            reader.problem(concat("model.unk_token = ", escaped(token), " is no token of model.vocab"));
        }
    }
    if (rules.base == BaseSymbols::bytes) {
        int num_missing = 0;
        for (int byte = 0; byte < 256; ++byte)
            num_missing += rules.ids.contains(std::string(1, static_cast<char>(byte))) ? 0 : 1;
        if (num_missing > 0)
            reader.problem(concat("model.vocab has no tokens for ", num_missing,
                                  " of the 256 bytes, so that texts could not be restored; add them"));
    } else if (reader.flag(model, "byte_fallback", false)) {
        constexpr std::string_view kDigits = "0123456789ABCDEF";
        std::array<std::int32_t, 256> tokens{};
        for (std::size_t byte = 0; byte < tokens.size(); ++byte) {
            const std::string spelled = concat("<0x", kDigits[byte / 16], kDigits[byte % 16], ">");
            const auto found = ids.find(spelled);
            if (found == ids.end()) {
                reader.problem(concat("model.byte_fallback is set, but model.vocab has no ", spelled));
                continue;
            }
            tokens[byte] = found->second;
            result.bytes_of_id[static_cast<std::size_t>(found->second)] =
                std::string(1, static_cast<char>(byte));
        }
        rules.byte_fallback = tokens;
    }
}

void read_added(const Part& file, const Spelled& ids, const ByteCharacters* characters, PartReader& reader,
                TokenizerJson& result) {
    Spelled added;
    for (const Part& part : reader.elements(file, "added_tokens")) {
        reader.only(part, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
        AddedToken token;
        token.content = reader.text(part, "content");
        token.id = static_cast<std::int32_t>(reader.whole(part, "id", kHighestId));
        token.special = reader.flag(part, "special", false);
        token.single_word = reader.flag(part, "single_word", false);
        token.lstrip = reader.flag(part, "lstrip", false);
        token.rstrip = reader.flag(part, "rstrip", false);
        token.normalized = reader.flag(part, "normalized", !token.special);
        if (token.content.empty()) {
            reader.problem(concat(part.where, ".content is empty"));
            continue;
        }
        if (!added.emplace(token.content, token.id).second) {
            reader.problem(concat(part.where, ": ", escaped(token.content), " is there twice"));
            continue;
        }
        const auto known = ids.find(token.content);
        if (known == ids.end()) {
            name_id(token.id, part.where, bytes_of(token.content, characters), reader, result);
        } else if (known->second != token.id) {
            reader.problem(concat(part.where, ": ", escaped(token.content), " has the id ", token.id,
                                  ", but ", known->second, " in model.vocab"));
        }
        result.added.push_back(token);
    }
}

}  // namespace

void read_vocabulary(const Part& file, PartReader& reader, TokenizerJson& result) {
    const std::optional<Part> model = reader.member(file, "model");
    if (!model) {
        reader.problem("model is missing");
        return;
    }
    // Files of early versions have no type.
    if (reader.member(*model, "type") && reader.type(*model) != "BPE") {
        reader.problem(concat("model.type = ", escaped(reader.type(*model)),
                              " is not supported, BPE is; if the model has a tokenizer.model, use that"));
        return;
    }
    reader.only(*model, {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                         "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
    reader.unset(*model, "dropout", "set it to null, since merging at random makes runs differ");
    reader.unset(*model, "continuing_subword_prefix", "only tokenizers without it can be read");
    reader.unset(*model, "end_of_word_suffix", "only tokenizers without it can be read");
    const std::optional<ByteCharacters> characters =
        result.rules.base == BaseSymbols::bytes ? std::optional<ByteCharacters>(std::in_place) : std::nullopt;
    const ByteCharacters* const table = characters ? &*characters : nullptr;
    const Spelled ids = read_tokens(*model, table, reader, result);
    read_merges(*model, ids, reader, result);
    read_fallbacks(*model, ids, reader, result);
    if (reader.flag(*model, "ignore_merges", false))
        result.rules.ignore_merges = IgnoreMerges::for_whole_words;
    read_added(file, ids, table, reader, result);
    for (const std::vector<std::int32_t>* list : {&result.text_begin, &result.text_end}) {
        for (const std::int32_t id : *list) {
            const auto place = static_cast<std::size_t>(id);
            if (place >= result.bytes_of_id.size() || !result.bytes_of_id[place])
                reader.problem(concat("post_processor: there is no token of the id ", id));
        }
    }
}

}  // namespace sy::runtime
