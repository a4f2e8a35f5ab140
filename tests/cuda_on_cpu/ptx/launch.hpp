#pragma once

#include <driver_types.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_on_cpu/ptx/module.hpp"

/// Kernels that nvcc compiled to PTX, on the emulation: they are launched as others are, and interpreted.
namespace sy::emulation::ptx {

/// Queues a kernel of a module.
/// @param function   by which the limit of dynamic shared memory is known
/// @param arguments  where each of them is, as cudaLaunchKernel has it; copied
/// @return           cudaErrorInvalidConfiguration, reported, for more threads than .maxntid allows
cudaError_t enqueue(const cudaLaunchConfig_t& config, const void* function,
                    std::shared_ptr<const Module> module, const std::string& kernel, void** arguments);

/// A kernel of nvcc's objects in this program.
struct RegisteredKernel {
    std::string name;
    std::shared_ptr<const Module> module;
    std::size_t num_launches = 0;
};
/// All of them, read. @throws PtxError where one has an instruction that is not interpreted
std::vector<RegisteredKernel> registered_kernels();

}  // namespace sy::emulation::ptx
