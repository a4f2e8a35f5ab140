#include "kernels/ops/gemm/product_group.cuh"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "kernels/cuda/cuda_device.hpp"
#include "kernels/ops/gemm/product.cuh"

namespace sy::ops {
namespace {

index_t summed_side(const Product& product) {
    return product.transpose_a == Transpose::yes ? product.a.rows() : product.a.cols();
}

double work_of(const Product& product) {
    return static_cast<double>(product.c.num_elements()) * static_cast<double>(summed_side(product));
}

/// The largest power of two up to a number; 0 for 0.
index_t power_of_two(index_t number) {
    return static_cast<index_t>(std::bit_floor(static_cast<std::uint64_t>(number)));
}

cuda::GroupSize size_of(std::span<const Product> products) {
    index_t m = 0, n = 0, k = 0;
    for (const Product& product : products) {
        m += product.c.rows();
        n += product.c.cols();
        k += summed_side(product);
    }
    return {.is_bf16 = products.front().a.dtype() == DType::bf16,
            .num_products = power_of_two(static_cast<index_t>(products.size())),
            .num_m = power_of_two(m),
            .num_n = power_of_two(n),
            .num_k = power_of_two(k)};
}

/// Each product on the stream that has the least to do so far.
void multiply_on_streams(std::span<const Product> products, const Context& context) {
    cuda::ForkedStreams& streams = static_cast<CudaDevice&>(context.device).forked();
    auto& main = static_cast<CudaStream&>(context.stream);
    streams.fork(main);
    std::array<double, cuda::ForkedStreams::kCount> work{};
    for (const Product& product : products) {
        const auto least = std::ranges::min_element(work);
        *least += work_of(product);
        on_gpu::multiply(product, {context.device, streams[static_cast<std::size_t>(least - work.begin())],
                                   context.numerics, context.profile});
    }
    streams.join(main);
}

}  // namespace

void on_gpu::multiply_group(std::span<const Product> products, const Context& context) {
    if (products.empty()) return;
    cuda::ProductLibrary* const library = product_library(context);
    std::vector<cuda::LibraryProduct> by_library;
    for (const Product& product : products) by_library.push_back(library_product(product));
    cuda::GroupSize size = size_of(products);
    size.by_library = library != nullptr;
    size.takes_one_call = size.by_library && library->takes_group(by_library);
    cuda::FirstUses& uses = static_cast<CudaDevice&>(context.device).group_methods().of(size);
    auto& stream = static_cast<CudaStream&>(context.stream);
    switch (uses.begin(stream)) {
        case cuda::GroupMethod::one_stream:
            for (const Product& product : products) on_gpu::multiply(product, context);
            break;
        case cuda::GroupMethod::several_streams:
            multiply_on_streams(products, context);
            break;
        case cuda::GroupMethod::one_call:
            library->multiply_group(by_library, context);
            break;
    }
    uses.end(stream);
}

}  // namespace sy::ops
