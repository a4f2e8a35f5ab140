#include "runtime/interchange/tokenizer_files.hpp"

#include <algorithm>
#include <utility>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/interchange/byte_tokenizer.hpp"
#include "runtime/tokenizer/tokenizer.hpp"
#include "runtime/tokenizer/tokenizer_file.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBytes = "bytes";
/// What stands beside the tokenizer. The vocabularies of slow tokenizers are kept for other readers.
constexpr const char* kCompanions[] = {
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "chat_template.jinja",   "generation_config.json"};
/// Ten times the largest tokenizer.json of today.
constexpr index_t kMostBytes = index_t{256} << 20;

void copy_checked(const fs::path& from, const fs::path& to) {
    const detail::RegularFile file(from, detail::Links::followed);
    if (file.bytes() > kMostBytes)
        throw IoError(concat(from.string(), " has ", file.bytes(),
                             " bytes, more than a file of a tokenizer ever has (", kMostBytes, ")"));
    detail::NewFile copy(to);
    std::vector<std::byte> block(static_cast<std::size_t>(std::min(detail::kBlockBytes, file.bytes())));
    for (index_t begin = 0; begin < file.bytes(); begin += detail::kBlockBytes) {
        const auto piece = std::span(block).first(
            static_cast<std::size_t>(std::min(detail::kBlockBytes, file.bytes() - begin)));
        file.read(begin, piece);
        copy.append(piece);
    }
    copy.finish();
}

/// Whether a folder has a file of this name, be it a link whose end is missing: it is no folder without that file.
bool is_listed(const fs::path& path) {
    return fs::exists(fs::symlink_status(path));
}

/// The name of a folder's file of SentencePiece; null when there is none.
const char* sentencepiece_in(const fs::path& folder) {
    for (const char* const name : kSentencePieceNames)
        if (is_listed(folder / name)) return name;
    return nullptr;
}

}  // namespace

bool has_own_tokenizer(const fs::path& folder) {
    const fs::path path = folder / kTokenizerJson;
    if (!is_listed(path)) return sentencepiece_in(folder) != nullptr;
    const std::string bytes = byte_tokenizer_json();
    return detail::regular_file_bytes(path, detail::Links::followed) != std::ssize(bytes) ||
           detail::read_regular_text(path, std::ssize(bytes), detail::Links::followed) != bytes;
}

std::vector<std::string> copy_tokenizer_files(const fs::path& from, const fs::path& to,
                                              const char* sentencepiece_file) {
    std::vector<std::string> copied;
    const auto copy = [&](const fs::path& file, const char* name) {
        if (!is_listed(file)) return;
        copy_checked(file, to / name);
        copied.emplace_back(name);
    };
    const bool is_folder = fs::is_directory(from);
    const auto copy_sentencepiece = [&](const fs::path& file, const char* name) {
        copy(file, sentencepiece_file != nullptr ? sentencepiece_file : name);
    };
    if (is_folder) {
        copy(from / kTokenizerJson, kTokenizerJson);
        if (const char* const name = sentencepiece_in(from)) copy_sentencepiece(from / name, name);
    } else if (from.extension() == ".model") {
        copy_sentencepiece(from, kSentencePieceNames[0]);
    } else {
        copy(from, kTokenizerJson);
    }
    if (copied.empty()) return copied;
    // Beside a file of another name they may belong to something else.
    if (!is_folder && !has_tokenizer_name(from)) return copied;
    for (const char* const name : kCompanions) copy((is_folder ? from : from.parent_path()) / name, name);
    return copied;
}

void check_trained_tokenizer(const Config& config, const Manifest& manifest) {
    if (config.data.tokenizer == kBytes || !manifest.state.data || !fs::exists(config.data.tokenizer)) return;
    const std::string& trained = manifest.state.data->tokenizer;
    const std::string named = make_tokenizer(config.data.tokenizer)->identity();
    if (named != trained)
        throw ConfigError(concat("export: the model was trained with the tokenizer ", trained,
                                 ", but data.tokenizer = ", config.data.tokenizer, " is ", named,
                                 " now; put the former back in its place"));
}

ImportedTokenizer::ImportedTokenizer(const fs::path& new_checkpoint,
                                     const std::function<void(const fs::path&)>& fill) {
    const fs::path to = new_checkpoint.string() + ".tokenizer";
    detail::write_new_folder(to, fill);
    setting_ = to.string();
}

ImportedTokenizer::ImportedTokenizer(ImportedTokenizer&& other) noexcept
    : setting_(std::exchange(other.setting_, std::nullopt)), kept_(other.kept_) {}

ImportedTokenizer::~ImportedTokenizer() {
    std::error_code ignored;
    if (setting_ && !kept_) fs::remove_all(*setting_, ignored);
}

std::vector<std::string> ImportedTokenizer::notes() const {
    if (!setting_) return {};
    std::vector<std::string> notes{concat("the tokenizer is in ", *setting_, ", as data.tokenizer says")};
    try {
        make_tokenizer(*setting_);
    } catch (const Error& error) {
        notes.push_back(
            concat("runs cannot use it, so that data.tokenizer has to be set to another: ", error.what()));
    }
    return notes;
}

ImportedTokenizer import_tokenizer(const fs::path& folder, const fs::path& new_checkpoint) {
    if (!has_own_tokenizer(folder)) return {};
    return {new_checkpoint, [&](const fs::path& to) { copy_tokenizer_files(folder, to); }};
}

}  // namespace sy::runtime
