#pragma once

#include <filesystem>
#include <string>

#include "kernels/core/types.hpp"

/// The folder run/checkpoints: step-00000200 ..., latest, and .unfinished-step-... while one is written.
namespace sy::runtime::detail {

/// "step-00000200"
std::string step_name(index_t step);

/// An empty folder to write step `step` in; removes what killed runs left.
/// @throws IoError when the step is there already
std::filesystem::path make_unfinished(const std::filesystem::path& checkpoints, index_t step);

/// Gives a finished folder its name, which must be free, and flushes both folders to disk.
void rename_finished(const std::filesystem::path& unfinished, const std::filesystem::path& folder);

/// Points checkpoints/latest to `name`.
void move_latest(const std::filesystem::path& checkpoints, const std::string& name);

/// Removes all but the last steps; never the one that `latest` names.
void remove_old(const std::filesystem::path& checkpoints, index_t keep_last);

}  // namespace sy::runtime::detail
