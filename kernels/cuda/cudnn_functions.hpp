#pragma once

#include <cudnn.h>

#include <string>

namespace sy::cuda {

/// The functions of cuDNN that build plans, with NVIDIA's own types, and where they come from.
struct CudnnFunctions {
    decltype(&cudnnGetVersion) get_version = nullptr;
    decltype(&cudnnGetErrorString) get_error_string = nullptr;
    decltype(&cudnnGetLastErrorString) get_last_error_string = nullptr;
    decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
    decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
    decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
    decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
    decltype(&cudnnBackendFinalize) finalize = nullptr;
    /// The file of the library; empty: there is none, for the reason in `missing`.
    std::string place;
    std::string missing;
};

/// Looks for the library.
/// @throws CudaError when one is there that lacks a function
CudnnFunctions load_cudnn_functions();

}  // namespace sy::cuda
