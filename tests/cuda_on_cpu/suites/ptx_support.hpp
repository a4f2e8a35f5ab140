#pragma once

#include <map>
#include <string>

#include "tests/cuda_on_cpu/ptx/launch.hpp"
#include "tests/cuda_on_cpu/suites/support.hpp"

namespace sy::emulation {

/// A module with one kernel `run`. @param before  what comes before it, @param body  in its braces
inline std::string module_with(const std::string& before, const std::string& parameters,
                               const std::string& body) {
    return ".version 9.0\n.target sm_90\n.address_size 64\n" + before + "\n.visible .entry run(" +
           parameters +
           ")\n{\n.reg .pred %p<8>;\n.reg .b16 %rs<8>;\n.reg .b32 %r<16>;\n.reg .b64 %rd<16>;\n.reg .f32 "
           "%f<8>;\n"
           ".reg .f64 %fd<8>;\n" +
           body + "\nret;\n}\n";
}

/// Launches the kernel `run` of a module and waits. @param arguments  pointers
template <typename... Arguments>
cudaError_t run_ptx(const std::string& text, dim3 grid, dim3 block, std::size_t dynamic_bytes,
                    Arguments... arguments) {
    const Stream stream;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = dynamic_bytes;
    config.stream = stream;
    void* addresses[] = {static_cast<void*>(&arguments)...};
    static const char function = 0;
    const cudaError_t error = ptx::enqueue(config, &function, ptx::parse(text, "a test"), "run", addresses);
    return error == cudaSuccess ? cudaStreamSynchronize(stream) : error;
}

}  // namespace sy::emulation
