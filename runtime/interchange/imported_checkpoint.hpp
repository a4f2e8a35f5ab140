#pragma once

#include <filesystem>

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/interchange/foreign_values.hpp"

namespace sy::runtime {

/// Writes what an import has read: a checkpoint whose moments are zero, and its settings as NEW_CHECKPOINT.conf beside it.
/// @param manifest  without files and pieces
/// @throws IoError when one of them exists, or cannot be read or written: then there is neither
void write_imported(const std::filesystem::path& new_checkpoint, Manifest manifest,
                    const OurMatrices& matrices);

}  // namespace sy::runtime
