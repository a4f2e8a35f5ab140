#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/isa.hpp"
#include "runtime/config/config.hpp"

/// Where the bits of a run depend on the instruction set: products of bf16 under avx512_bf16 and under amx_bf16 are
/// rounded otherwise than under all lower ones, and than one another.
namespace sy::runtime {

/// Where bits are promised, ranks that would round differently are refused.
/// @param mine  of this rank
/// @throws ConfigError on every rank
/// @par Collective over `world`
void check_isa_of_ranks(const Config& config, Isa mine, comm::Communicator& world);

/// What to tell when a run goes on under another instruction set than its checkpoint was written under: nothing when the
/// bits are the same, or when the checkpoint does not say.
std::vector<std::string> isa_notes(const Config& config, const std::string& checkpoint_isa, Isa mine);

}  // namespace sy::runtime
