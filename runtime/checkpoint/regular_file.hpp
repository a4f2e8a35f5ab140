#pragma once

#include <filesystem>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::runtime::detail {

/// Size of a regular file, found without waiting for a pipe or device and without following a link.
/// @throws IoError when it is missing, unreadable or anything but a regular file
index_t regular_file_bytes(const std::filesystem::path& path);

/// The text of a regular file of at most `max_bytes` bytes. @throws IoError as above, or when it is larger
std::string read_regular_text(const std::filesystem::path& path, index_t max_bytes);

}  // namespace sy::runtime::detail
