#pragma once

#include <functional>
#include <string>

#include "comm/communicator.hpp"
#include "runtime/checkpoint/checkpoint.hpp"

/// What rank 0 decides for all ranks, whose views of a network file system may differ for a while.
namespace sy::runtime {

/// Runs `decide` on rank 0 alone; the others wait as long as it takes. @return its answer on every rank
/// @throws ConfigError or IoError on every rank, as rank 0 threw it @par Collective
std::string decided_by_rank_0(comm::Communicator& world, const std::function<std::string()>& decide);

/// A checkpoint that every rank sees alike.
struct AgreedCheckpoint {
    std::filesystem::path folder;
    Manifest manifest;
};

/// The checkpoint that rank 0 finds for "latest" (of the run) or a folder, with its manifest as every rank reads it.
/// @throws IoError on every rank: when there is none; when its manifest or the size of a file is wrong, for latest with the
///         newest whole checkpoint; or naming the ranks that read another manifest than rank 0
/// @par Collective
AgreedCheckpoint agree_on_checkpoint(comm::Communicator& world, const std::filesystem::path& run,
                                     const std::string& which);

namespace detail {
/// The manifest in `folder`, which has this manifest_checksum() on rank 0.
/// @throws IoError on every rank naming those that read another one @par Collective
Manifest read_manifest_of_rank_0(comm::Communicator& world, const std::filesystem::path& folder,
                                 const std::string& checksum);
}  // namespace detail

/// Runs `read`, which reads a checkpoint and fails on all ranks when it fails on one.
/// @throws IoError as `read` does, naming the newest whole checkpoint beside this one; of a lock FileLockError, as it is
/// @par Collective
void with_advice_on_damage(comm::Communicator& world, const std::filesystem::path& folder,
                           const std::function<void()>& read);

}  // namespace sy::runtime
