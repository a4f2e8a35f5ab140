#pragma once

#include <cuda_runtime.h>

#include <source_location>

#include "kernels/core/error.hpp"

namespace sy {

/// A call of the CUDA runtime that failed: which one, what CUDA says about it, and what to try.
class CudaError : public Error {
  public:
    using Error::Error;
};

namespace cuda {

/// @param call  text of the call
/// @throws CudaError unless status is cudaSuccess
void check(cudaError_t status, const char* call,
           const std::source_location& where = std::source_location::current());

/// What to try after an error; empty where its name says it all.
const char* advice_for(cudaError_t status);

}  // namespace cuda
}  // namespace sy

#define SY_CUDA(call) ::sy::cuda::check((call), #call)
