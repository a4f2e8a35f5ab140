#pragma once

#include <dlfcn.h>

#include <string>

#include "kernels/cuda/error.hpp"

/// How libraries of NVIDIA's are opened that the module of CUDA serves without.
namespace sy::cuda {

/// A library that stays open: what it has queued on a GPU may run until the process ends.
class OpenLibrary {
  public:
    /// @param name    such as "cuBLAS", for messages
    /// @param file    such as "libcublas.so.13", looked for where the system's loader looks
    /// @param advice  what to do about one that lacks a function
    OpenLibrary(std::string name, std::string file, std::string advice)
        : name_(std::move(name)),
          file_(std::move(file)),
          advice_(std::move(advice)),
          handle_(dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL)) {
        if (handle_ == nullptr) missing_ = dlerror();  // NOLINT(concurrency-mt-unsafe): of this thread
    }

    /// Why it could not be opened; empty where it could.
    const std::string& missing() const { return missing_; }
    /// @throws CudaError when the library has no function of that name
    template <class Function>
    void look_up(const std::string& function_name, Function& function) const {
        function = reinterpret_cast<Function>(dlsym(handle_, function_name.c_str()));
        if (function == nullptr)
            throw CudaError(
                concat("cuda: the ", name_, " that was found has no ", function_name, "; ", advice_));
    }
    /// The file that a function of it was found in.
    template <class Function>
    std::string place_of(Function* function) const {
        Dl_info info{};
        return dladdr(reinterpret_cast<void*>(function), &info) != 0 ? info.dli_fname : file_;
    }

  private:
    std::string name_;
    std::string file_;
    std::string advice_;
    void* handle_;
    std::string missing_;
};

}  // namespace sy::cuda
