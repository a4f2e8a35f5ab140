#include "runtime/tokenizer/tokenizer_file.hpp"

#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// Twenty times the largest files of today.
constexpr std::uintmax_t kMostBytes = std::uintmax_t{256} << 20;

}  // namespace

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
