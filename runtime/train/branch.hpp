#pragma once

#include <filesystem>
#include <string>

#include "runtime/checkpoint/checkpoint.hpp"

/// A run's folder holds one branch: the steps that lead to what it goes on with. Steps that it leaves behind, by going back
/// or because a kill cost them, are set aside in run/aside-1, run/aside-2, ..., each a run's folder of its own.
namespace sy::runtime {

/// @throws ConfigError when `run` holds checkpoints, which a run from step 1 would mix with its own
void check_new_run(const std::filesystem::path& run);

/// @throws ConfigError when `run` holds checkpoints of which `manifest`, read from `folder`, is none, so that nobody could
///         tell which of them lead to it
void check_same_run(const std::filesystem::path& run, const std::filesystem::path& folder,
                    const Manifest& manifest);

/// Points latest to step `step`, if it is here, and sets aside later checkpoints and later records of metrics.jsonl and
/// drops.jsonl. A kill in between leaves nothing that the next call would not set aside. 0: a new run.
/// @return a sentence on what was set aside; empty when nothing was
std::string begin_branch(const std::filesystem::path& run, index_t step);

}  // namespace sy::runtime
