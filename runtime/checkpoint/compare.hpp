#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/checkpoint/manifest.hpp"

namespace sy::runtime {

/// What differs between two checkpoints: settings, state, tensors, matrices by checksum with their largest difference.
/// How they were written (layout, files, ranks) does not count. @return one line a difference; empty when there is none
/// @throws IoError when a matrix that differs is missing, doubled or altered
std::vector<std::string> compare_checkpoints(const std::filesystem::path& first,
                                             const std::filesystem::path& second);

/// What a checkpoint holds, as a table for people.
std::string describe_checkpoint(const std::filesystem::path& folder);

}  // namespace sy::runtime
