#include "runtime/tokenizer/tokenizer_file.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <sstream>

#include "kernels/core/error.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

/// Twenty times the largest files of today.
constexpr std::uintmax_t kMostBytes = std::uintmax_t{256} << 20;

bool is_there(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
}

/// Whether a tokenizer.json holds a unigram model. One that is damaged does not: its reader says what is wrong.
bool is_unigram(const fs::path& path) {
    try {
        const Json file = Json::parse(read_tokenizer_file(path.string(), kTokenizerJson));
        return file.at("model").at("type").as_string() == "Unigram";
    } catch (const IoError&) {
        return false;
    }
}

}  // namespace

bool has_tokenizer_name(const fs::path& file) {
    return file.filename() == kTokenizerJson ||
           std::ranges::find(kSentencePieceNames, file.filename()) != std::end(kSentencePieceNames);
}

std::optional<fs::path> tokenizer_file_in(const fs::path& folder) {
    const fs::path json = folder / kTokenizerJson;
    const bool has_json = is_there(json);
    for (const char* const name : kSentencePieceNames)
        if (is_there(folder / name) && (!has_json || is_unigram(json))) return folder / name;
    return has_json ? std::optional(json) : std::nullopt;
}

std::string read_tokenizer_file(const std::string& path, const char* kind) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
        throw IoError(concat("tokenizer: ", path, " is not a file; name a ", kind));
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error) throw IoError(concat("tokenizer: cannot read ", path, ": ", error.message()));
    if (size > kMostBytes)
        throw IoError(concat("tokenizer: ", path, " has ", size, " bytes, more than a ", kind, " ever has (",
                             kMostBytes, ")"));
    std::string bytes(static_cast<std::size_t>(size), '\0');
    std::ifstream file(path, std::ios::binary);
    if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
        throw IoError(concat("tokenizer: cannot read ", path, ": ", std::strerror(errno)));
    return bytes;
}

std::string tokenizer_identity(const char* kind, std::string_view bytes) {
    std::ostringstream text;
    text << kind << " xxh3:" << std::hex << std::setw(16) << std::setfill('0')
         << XXH3_64bits(bytes.data(), bytes.size());
    return text.str();
}

}  // namespace sy::runtime
