#include "kernels/core/error.hpp"
#include "runtime/tokenizer/regex_syntax.hpp"
#include "runtime/tokenizer/tokenizer_json.hpp"

namespace sy::runtime {
namespace {

using Part = PartReader::Part;

/// Sequences may hold sequences, but no tokenizer needs more levels.
constexpr int kMostLevels = 8;
/// Each step of a split is a level of recursion.
constexpr std::size_t kMostPreTokenizers = 32;

/// Calls `read` for a part, or for each of a "Sequence" of them, which is the member `list`.
template <class Read>
void each_of_sequence(const Part& part, const char* list, PartReader& reader, const Read& read,
                      int level = 0) {
    const std::string type = reader.type(part);
    if (type.empty()) return;
    if (type != "Sequence") {
        read(part, type);
        return;
    }
    reader.only(part, {"type", list});
    if (level == kMostLevels) {
        reader.problem(concat(part.where, " is a sequence within ", level, " others; unfold it"));
        return;
    }
    for (const Part& element : reader.elements(part, list))
        each_of_sequence(element, list, reader, read, level + 1);
}

void refuse(const Part& part, const std::string& type, const char* known, PartReader& reader) {
    reader.problem(concat(part.where, " is a ", type, ", which is not supported; supported: ", known,
                          ". If the model has a tokenizer.model, use that"));
}

std::optional<Regex> compiled(const Part& where, const std::string& pattern, PartReader& reader) {
    try {
        return Regex(pattern);
    } catch (const IoError& error) {
        reader.problem(concat(where.where, ": ", error.what()));
        return std::nullopt;
    }
}

SplitBehavior behavior_of(const Part& part, PartReader& reader) {
    const std::string name = reader.text(part, "behavior");
    if (name == "Isolated") return SplitBehavior::isolated;
    if (name == "Removed") return SplitBehavior::removed;
    if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
    if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
    if (name == "Contiguous") return SplitBehavior::contiguous;
    reader.problem(
        concat(part.where, ".behavior = ", name,
               " is unknown; known: Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous"));
    return SplitBehavior::isolated;
}

PreTokenizerStep read_split(const Part& part, PartReader& reader) {
    reader.only(part, {"type", "pattern", "behavior", "invert"});
    PreTokenizerStep step;
    step.behavior = behavior_of(part, reader);
    step.means = reader.flag(part, "invert", false) ? PatternMeans::words : PatternMeans::delimiters;
    const std::optional<Part> pattern = reader.member(part, "pattern");
    if (pattern && reader.member(*pattern, "Regex")) {
        step.pattern = compiled(*pattern, reader.text(*pattern, "Regex"), reader);
    } else if (pattern && reader.member(*pattern, "String")) {
        step.pattern = compiled(*pattern, literal_pattern(reader.text(*pattern, "String")), reader);
    } else {
        reader.problem(concat(part.where, ".pattern is neither a Regex nor a String"));
    }
    return step;
}

PreTokenizerStep read_byte_level(const Part& part, PartReader& reader) {
    // Offsets into the text are not kept, so there are none to be trimmed.
    reader.only(part, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    PreTokenizerStep step;
    if (reader.flag(part, "add_prefix_space", true)) step.prefix_space = PrefixSpace::add;
    if (reader.flag(part, "use_regex", true)) step.pattern = compiled(part, kGpt2Pattern, reader);
    return step;
}

PreTokenizerStep read_digits(const Part& part, PartReader& reader) {
    reader.only(part, {"type", "individual_digits"});
    PreTokenizerStep step;
    step.pattern = compiled(part, "\\p{N}", reader);
    step.behavior =
        reader.flag(part, "individual_digits", false) ? SplitBehavior::isolated : SplitBehavior::contiguous;
    return step;
}

void read_pre_tokenizers(const Part& file, PartReader& reader, TokenizerJson& result) {
    result.rules.base = BaseSymbols::characters;
    const std::optional<Part> part = reader.member(file, "pre_tokenizer");
    if (!part) return;
    each_of_sequence(*part, "pretokenizers", reader, [&](const Part& step, const std::string& type) {
        if (result.rules.base == BaseSymbols::bytes)
            reader.problem(concat(step.where, " comes after ByteLevel, which has to be the last"));
        if (result.steps.size() == kMostPreTokenizers) {
            reader.problem(concat(step.where, " is one more than the ", kMostPreTokenizers,
                                  " pre-tokenizers that a file may have"));
        } else if (type == "Split") {
            result.steps.push_back(read_split(step, reader));
        } else if (type == "Digits") {
            result.steps.push_back(read_digits(step, reader));
        } else if (type == "ByteLevel") {
            result.steps.push_back(read_byte_level(step, reader));
            result.rules.base = BaseSymbols::bytes;
        } else {
            refuse(step, type, "ByteLevel, Split, Digits, Sequence", reader);
        }
    });
}

void read_normalizers(const Part& file, PartReader& reader, TokenizerJson& result) {
    const std::optional<Part> part = reader.member(file, "normalizer");
    if (!part) return;
    each_of_sequence(*part, "normalizers", reader, [&](const Part& step, const std::string& type) {
        if (type == "NFC") {
            result.normalizer = Normalizer::nfc;
        } else {
            refuse(step, type, "NFC, Sequence", reader);
        }
    });
}

/// Appends the ids of one special token of a template.
void append_special(const Part& part, const std::string& name, PartReader& reader,
                    std::vector<std::int32_t>& ids) {
    const std::optional<Part> known = reader.member(part, "special_tokens");
    const std::optional<Part> token = known ? reader.member(*known, name) : std::nullopt;
    const std::vector<Part> found = token ? reader.elements(*token, "ids") : std::vector<Part>();
    if (found.empty()) reader.problem(concat(part.where, ".special_tokens has no ids of ", name));
    for (const Part& id : found) {
        if (id.value.is_whole() && id.value.as_whole() >= 0 && id.value.as_whole() <= INT32_MAX) {
            ids.push_back(static_cast<std::int32_t>(id.value.as_whole()));
        } else {
            reader.problem(concat(id.where, " is no token"));
        }
    }
}

/// What stands before and after a single text; pairs of texts are no matter here.
void read_template(const Part& part, PartReader& reader, TokenizerJson& result) {
    reader.only(part, {"type", "single", "pair", "special_tokens"});
    int num_texts = 0;
    std::vector<std::int32_t> before;
    std::vector<std::int32_t> after;
    for (const Part& piece : reader.elements(part, "single")) {
        if (reader.member(piece, "Sequence")) {
            ++num_texts;
        } else if (const std::optional<Part> special = reader.member(piece, "SpecialToken")) {
            append_special(part, reader.text(*special, "id"), reader, num_texts == 0 ? before : after);
        } else {
            reader.problem(concat(piece.where, " is neither a Sequence nor a SpecialToken"));
        }
    }
    if (num_texts != 1)
        reader.problem(concat(part.where, ".single has ", num_texts, " texts instead of one"));
    // Each processor of a sequence works on what the one before it gave.
    result.text_begin.insert(result.text_begin.begin(), before.begin(), before.end());
    result.text_end.insert(result.text_end.end(), after.begin(), after.end());
}

void read_post_processors(const Part& file, PartReader& reader, TokenizerJson& result) {
    const std::optional<Part> part = reader.member(file, "post_processor");
    if (!part) return;
    each_of_sequence(*part, "processors", reader, [&](const Part& step, const std::string& type) {
        if (type == "TemplateProcessing") {
            read_template(step, reader, result);
        } else if (type != "ByteLevel") {  // which moves offsets, and there are none
            refuse(step, type, "TemplateProcessing, ByteLevel, Sequence", reader);
        }
    });
}

/// The decoder has to undo what the pre-tokenizer does, for the bytes of a token are known without it.
void check_decoders(const Part& file, PartReader& reader, const TokenizerJson& result) {
    const bool over_bytes = result.rules.base == BaseSymbols::bytes;
    const std::optional<Part> part = reader.member(file, "decoder");
    bool restores_bytes = false;
    if (part) {
        each_of_sequence(*part, "decoders", reader, [&](const Part& step, const std::string& type) {
            if (type == "ByteLevel") {
                restores_bytes = true;
            } else if (over_bytes || (type != "ByteFallback" && type != "Fuse")) {
                refuse(step, type, over_bytes ? "ByteLevel, Sequence" : "ByteFallback, Fuse, Sequence",
                       reader);
            }
        });
    }
    if (restores_bytes != over_bytes) {
        reader.problem(over_bytes
                           ? "the pre-tokenizer is ByteLevel, but the decoder is not; set it to "
                             "{\"type\":\"ByteLevel\"}"
                           : "the decoder is ByteLevel, but the pre-tokenizer is not; set both or none");
    } else if (!over_bytes && !part) {
        reader.problem(
            "decoder is missing, which puts a blank between tokens; set it to {\"type\":\"Fuse\"}");
    }
}

}  // namespace

void read_steps(const Part& file, PartReader& reader, TokenizerJson& result) {
    read_normalizers(file, reader, result);
    read_pre_tokenizers(file, reader, result);
    read_post_processors(file, reader, result);
    check_decoders(file, reader, result);
}

}  // namespace sy::runtime
