// What objects that nvcc made call when the program starts, and when they launch kernels: they link against this in place
// of the CUDA runtime. Their PTX has to be there as it is (nvcc --no-compress), which only this test relies on.
#include <cuda_runtime_api.h>

#include <cstring>
#include <map>
#include <mutex>

#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/ptx/launch.hpp"

namespace sy::emulation::ptx {
namespace {

/// Read at the first launch: objects register before main().
struct Binary {
    std::string_view text;
    std::shared_ptr<const Module> module;
};
struct Kernel {
    Binary* binary = nullptr;
    std::string name;
    std::size_t num_launches = 0;
};
struct Registry {
    std::map<const void*, Kernel> kernels;  ///< by their functions on the host
    std::vector<std::unique_ptr<Binary>> binaries;
    cudaLaunchConfig_t pushed{};  ///< by <<<>>>
};
Registry& registry() {
    static auto& all = *new Registry;  // for as long as the process: programs end in any order
    return all;
}

// Of a fat binary, as nvcc 13.0 writes it: a header, and parts with headers of their own.
constexpr std::uint32_t kMagic = 0xba55ed50U;
constexpr std::uint16_t kPtx = 1;
template <typename T>
T read_at(const char* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

/// The PTX inside, or the empty text.
std::string_view find_text(const char* binary) {
    if (read_at<std::uint32_t>(binary) != kMagic) return {};
    const char* part = binary + read_at<std::uint16_t>(binary + 6);
    const char* end = part + read_at<std::uint64_t>(binary + 8);
    while (part < end) {
        const char* content = part + read_at<std::uint32_t>(part + 4);
        const auto bytes = std::size_t(read_at<std::uint64_t>(part + 8));
        const std::string_view text(content, strnlen(content, bytes));
        if (read_at<std::uint16_t>(part) == kPtx && text.find(".version") != std::string_view::npos)
            return text;
        part = content + bytes;
    }
    return {};
}

/// The .cu file among those that the text names.
std::string source_of(std::string_view text) {
    const std::size_t end = text.find(".cu\"");
    if (end == std::string_view::npos) return "a fat binary";
    const std::size_t begin = text.rfind('"', end) + 1;
    return std::string(text.substr(begin, end + 3 - begin));
}

const std::shared_ptr<const Module>& module_of(Binary& binary) {
    if (binary.module == nullptr) {
        if (binary.text.empty())
            throw PtxError("a fat binary without PTX that can be read: nvcc --no-compress");
        binary.module = parse(binary.text, source_of(binary.text));
    }
    return binary.module;
}

using Guard = std::lock_guard<std::recursive_mutex>;

cudaError_t launch(const cudaLaunchConfig_t& config, const void* function, void** arguments) {
    const Guard guard(runtime_mutex());
    const auto found = registry().kernels.find(function);
    if (found == registry().kernels.end()) return remember(cudaErrorInvalidDeviceFunction);
    try {
        ++found->second.num_launches;
        return enqueue(config, function, module_of(*found->second.binary), found->second.name, arguments);
    } catch (const PtxError& error) {
        report(error.what());
        return remember(cudaErrorInvalidPtx);
    }
}

}  // namespace

std::vector<RegisteredKernel> registered_kernels() {
    std::vector<RegisteredKernel> all;
    for (const auto& [function, kernel] : registry().kernels) {
        all.push_back({kernel.name, module_of(*kernel.binary), kernel.num_launches});
    }
    return all;
}

}  // namespace sy::emulation::ptx

using namespace sy::emulation::ptx;

extern "C" {

struct FatBinaryWrapper {
    std::uint32_t magic;
    std::uint32_t version;
    const char* data;
    void* unused;
};

void** __cudaRegisterFatBinary(void* wrapper);
void __cudaRegisterFatBinaryEnd(void** handle);
void __cudaUnregisterFatBinary(void** handle);
char __cudaInitModule(void** handle);
void __cudaRegisterFunction(void** handle, const char* function, char* device_function,
                            const char* device_name, int limit, uint3* thread, uint3* block,
                            dim3* block_shape, dim3* grid_shape, int* warp);
void __cudaRegisterVar(void** handle, char* host, char* device, const char* name, int is_extern,
                       std::size_t bytes, int is_constant, int is_global);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes, CUstream_st* stream);
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes, void* stream);
cudaError_t __cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared_bytes, cudaStream_t stream);
cudaError_t __cudaGetKernel(const void** kernel, const void* function);

void** __cudaRegisterFatBinary(void* wrapper) {
    auto& binaries = registry().binaries;
    binaries.push_back(
        std::make_unique<Binary>(Binary{find_text(static_cast<FatBinaryWrapper*>(wrapper)->data), {}}));
    return reinterpret_cast<void**>(binaries.back().get());
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) {
    return 1;
}

void __cudaRegisterFunction(void** handle, const char* function, char*, const char* device_name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
    registry().kernels[function] = {reinterpret_cast<Binary*>(handle), device_name, 0};
}

// A variable that the host does not touch: the module has it.
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes, CUstream_st* stream) {
    cudaLaunchConfig_t& pushed = registry().pushed;
    pushed = {};
    pushed.gridDim = grid;
    pushed.blockDim = block;
    pushed.dynamicSmemBytes = shared_bytes;
    pushed.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes, void* stream) {
    const cudaLaunchConfig_t& pushed = registry().pushed;
    *grid = pushed.gridDim;
    *block = pushed.blockDim;
    *shared_bytes = pushed.dynamicSmemBytes;
    std::memcpy(stream, &pushed.stream, sizeof pushed.stream);
    return cudaSuccess;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
    return launch(*config, function, arguments);
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             std::size_t shared_bytes, cudaStream_t stream) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    return launch(config, function, arguments);
}

cudaError_t __cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared_bytes, cudaStream_t stream) {
    return cudaLaunchKernel(function, grid, block, arguments, shared_bytes, stream);
}

cudaError_t __cudaGetKernel(const void** kernel, const void* function) {
    *kernel = function;
    return cudaSuccess;
}

}  // extern "C"
