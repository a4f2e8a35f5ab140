#pragma once

#include <memory>
#include <string>

#include "comm/nccl/nccl_group.hpp"

/// Rows from GPU to GPU by NCCL, for a program that knows no CUDA.
namespace sy::comm {

/// NCCL, or why it cannot be used.
struct NcclChoice {
    std::unique_ptr<NcclLibrary> library;  ///< null where a rank has none
    std::string note;                      ///< for the user: its version, or which rank lacks what
};

/// NCCL from the module of CUDA, where all ranks have it.
/// @par Collective over `world`
NcclChoice load_nccl(Communicator& world);

/// The same ranks once more: messages of the host go through `group`, those of devices by NCCL, on a stream of their own
/// (comm/device_messages.hpp). Parts that are split from it are parts of `group`.
///
/// A GPU that never answers ends in the time-out of the wait for it, with the roll call; NCCL is aborted when a request is
/// given up, so that nothing is written any more, and the communicator is then of no more use.
/// @param group    borrowed, until it is closed
/// @param library  borrowed, as `device` is, until the result is destroyed
/// @param device   this rank's, one that no other rank uses
/// @throws CommError in NCCL's words; TimeoutError when a rank does not connect
/// @par Collective over `group`
/// @par Waits      until all ranks have exchanged a first message, at most the group's deadline
std::unique_ptr<Communicator> connect_nccl(Communicator& group, NcclLibrary& library, Device& device);

}  // namespace sy::comm
