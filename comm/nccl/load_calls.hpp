#pragma once

#include <dlfcn.h>

#include "kernels/core/error.hpp"

namespace sy::comm {

/// The library that SWITCHYARD_NCCL names, or else libnccl.so.2 where the system looks for it.
/// @throws ConfigError saying what is missing
void* open_nccl();

/// @param needs  for the message: which version has the function
/// @throws ConfigError when the library has no such function
template <class Function>
void look_up(void* library, const char* name, Function& function, const char* needs) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr)
        throw ConfigError(concat("NCCL cannot be used: the library has no ", name, "; ", needs));
}

}  // namespace sy::comm
