#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/core/types.hpp"

/// The folder run/checkpoints: step-00000200 ..., latest, and .unfinished-step-... while one is written. Only names that
/// this program writes count; nothing else in it is ever loaded, sorted or removed.
namespace sy::runtime::detail {

/// "step-00000200"
std::string step_name(index_t step);

/// The step whose folder has this name; nothing when step_name gives no such name.
std::optional<index_t> step_of(const std::string& name);

/// Steps of the published checkpoints in a folder, ascending; none when there is no such folder.
std::vector<index_t> published_steps(const std::filesystem::path& checkpoints);

/// The checkpoint that latest means: what the link names, or the one whose publication lacks the link's move alone.
/// @throws IoError when the link is missing or wrong, naming the newest whole checkpoint
std::filesystem::path latest_checkpoint(const std::filesystem::path& checkpoints);

/// "; the newest whole checkpoint is ...", after reading every value of those that are not; empty when there is none at all.
std::string advice_on_newest_whole(const std::filesystem::path& checkpoints);

/// Whether a run has left checkpoints here, or a link to one.
bool holds_checkpoints(const std::filesystem::path& checkpoints);

/// Makes an empty folder to write step `step` in; removes what killed runs left.
/// @return what could not be removed @throws IoError when the step is there already
std::vector<std::string> make_unfinished(const std::filesystem::path& checkpoints, index_t step);

/// Gives a finished folder its name, which must be free, and flushes both folders to disk.
void rename_finished(const std::filesystem::path& unfinished, const std::filesystem::path& folder);

/// Makes a folder that is no step of a run: under a temporary name, which goes when filling it fails, and then under its own.
/// @param fill  writes what is in it, to the folder that it is given
/// @throws IoError when there is such a folder already, none to make it in, or another command that is making it
void write_new_folder(const std::filesystem::path& folder,
                      const std::function<void(const std::filesystem::path&)>& fill);

/// Points latest to a published step. A kill leaves the earlier latest or this one.
void point_latest_to(const std::filesystem::path& checkpoints, index_t step);

/// Publishes a finished folder as step `step` and points latest to it. A kill leaves the earlier latest or this one.
/// @throws IoError when the step is there already
void publish_finished(const std::filesystem::path& unfinished, const std::filesystem::path& checkpoints,
                      index_t step);

/// The newest published step before which no step was skipped: while steps are being skipped the weights may be lost
/// already. Nothing when there is none whose manifest can be read.
std::optional<index_t> last_good_step(const std::filesystem::path& checkpoints);

/// Removes all but the last steps; never the one that `latest` names, nor `kept`. @return what could not be removed
std::vector<std::string> remove_old(const std::filesystem::path& checkpoints, index_t keep_last,
                                    std::optional<index_t> kept);

}  // namespace sy::runtime::detail
