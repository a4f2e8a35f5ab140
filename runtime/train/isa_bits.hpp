#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "runtime/config/config.hpp"

/// Where the bits of a run depend on what computes them. Products of bf16 are rounded otherwise under avx512_bf16 and under
/// amx_bf16 than under all lower instruction sets, and than under one another. GPUs differ in exponentials and the like
/// from one compute capability to the next.
namespace sy::runtime {

/// Where bits are promised, ranks that would round differently are refused.
/// @param mine  of this rank: a processor's instruction set, or the architecture of its GPU ("sm_90")
/// @throws ConfigError on every rank
/// @par Collective over `world`
void check_isa_of_ranks(const Config& config, const std::string& mine, comm::Communicator& world);

/// What to tell when a run goes on under another instruction set than its checkpoint was written under: nothing when the
/// bits are the same, when the checkpoint does not say, or when one of both is a GPU's: that another device rounds
/// otherwise is said of the setting (runtime/config/differences.hpp).
std::vector<std::string> isa_notes(const Config& config, const std::string& checkpoint_isa,
                                   const std::string& mine);

}  // namespace sy::runtime
