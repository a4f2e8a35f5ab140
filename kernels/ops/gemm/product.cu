// The plain product of a GPU: tiles of C, whose parts of A and B pass through shared memory. Libraries are faster; this one
// runs everywhere, has the order of sums that `reproducible` promises, and is what others are compared with.
#include "kernels/ops/gemm/product.cuh"

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/cuda_device.hpp"
#include "kernels/cuda/gradient.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/launch.hpp"

namespace sy::ops {
namespace {

/// A block of threads computes kTile by kTile elements of C, each thread kOwn by kOwn of them; kDepth of the summed
/// dimension are in shared memory at a time.
constexpr int kTile = 64;
constexpr int kOwn = 4;
constexpr int kDepth = 16;
constexpr int kSide = kTile / kOwn;
constexpr int kThreads = kSide * kSide;

/// op(X) of a matrix.
template <class In>
struct Operand {
    cuda::Matrix<const In> x;
    bool transposed;

    __device__ float operator()(index_t row, index_t col) const {
        return static_cast<float>(transposed ? x(col, row) : x(row, col));
    }
};

template <class In>
struct Factors {
    Operand<In> a;
    Operand<In> b;
    index_t num_m;
    index_t num_n;
    index_t num_k;
    /// Block b sums k in [blocks[b], blocks[b + 1]); null: one block of all.
    const index_t* blocks;
    index_t num_blocks;
};

/// Puts sums into C, or adds them.
struct IntoMatrix {
    cuda::Matrix<float> c;
    bool adds;

    __device__ void operator()(index_t m, index_t n, float sum) const {
        c(m, n) = adds ? c(m, n) + sum : sum;
    }
};

struct IntoGradient {
    cuda::Gradient gradient;
    index_t cols;

    __device__ void operator()(index_t m, index_t n, float sum) const { gradient.add(m * cols + n, sum); }
};

using Tile = cuda::Array<float, kDepth * kTile>;

/// Part [k, k + kDepth) of op(A) and op(B), as columns of k; zeros beyond `end` and the sides.
template <class In>
__device__ void load_tiles(const Factors<In>& in, index_t first_m, index_t first_n, index_t k, index_t end,
                           float* a_km, float* b_kn) {
    for (int i = static_cast<int>(threadIdx.x); i < kDepth * kTile; i += kThreads) {
        const int depth = i / kTile;
        const int place = i % kTile;
        const bool is_summed = k + depth < end;
        a_km[i] = is_summed && first_m + place < in.num_m ? in.a(first_m + place, k + depth) : 0.0F;
        b_kn[i] = is_summed && first_n + place < in.num_n ? in.b(k + depth, first_n + place) : 0.0F;
    }
}

template <class In, class Store>
__global__ void __launch_bounds__(kThreads) product_kernel(Factors<In> in, Store store) {
    SY_SHARED(a_km, Tile);
    SY_SHARED(b_kn, Tile);
    const index_t first_m = static_cast<index_t>(blockIdx.y) * kTile;
    const index_t first_n = static_cast<index_t>(blockIdx.x) * kTile;
    const int own_m = static_cast<int>(threadIdx.x) / kSide * kOwn;
    const int own_n = static_cast<int>(threadIdx.x) % kSide * kOwn;
    for (index_t block = 0; block < in.num_blocks; ++block) {
        const index_t begin = in.blocks == nullptr ? 0 : in.blocks[block];
        const index_t end = in.blocks == nullptr ? in.num_k : in.blocks[block + 1];
        float sums[kOwn][kOwn] = {};
        for (index_t k = begin; k < end; k += kDepth) {
            load_tiles(in, first_m, first_n, k, end, a_km, b_kn);
            __syncthreads();
            const int depth = end - k < kDepth ? static_cast<int>(end - k) : kDepth;
            for (int step = 0; step < depth; ++step) {
#pragma unroll
                for (int m = 0; m < kOwn; ++m) {
#pragma unroll
                    for (int n = 0; n < kOwn; ++n)
                        sums[m][n] =
                            fmaf(a_km[step * kTile + own_m + m], b_kn[step * kTile + own_n + n], sums[m][n]);
                }
            }
            __syncthreads();
        }
#pragma unroll
        for (int m = 0; m < kOwn; ++m) {
#pragma unroll
            for (int n = 0; n < kOwn; ++n) {
                const index_t row = first_m + own_m + m;
                const index_t col = first_n + own_n + n;
                if (row < in.num_m && col < in.num_n) store(row, col, sums[m][n]);
            }
        }
    }
}

template <class In, class Store>
void run(const Factors<In>& in, const Store& store, const Context& context) {
    // Blocks along y are 65,535 at most: four million rows of C.
    const index_t down = ceil_div(in.num_m, kTile);
    SY_REQUIRE(down <= cuda::kMostBlocks, "gemm: ", in.num_m, " rows of a product, at most ",
               cuda::kMostBlocks * kTile);
    cuda::launch(context,
                 {{static_cast<unsigned>(ceil_div(in.num_n, kTile)), static_cast<unsigned>(down)}, kThreads},
                 product_kernel<In, Store>, in, store);
}

}  // namespace

cuda::ProductLibrary* on_gpu::product_library(const Context& context) {
    if (context.numerics == NumericsMode::reproducible) return nullptr;
    return static_cast<CudaDevice&>(context.device).product_library();
}

cuda::LibraryProduct on_gpu::library_product(const Product& product) {
    return {product.a, product.transpose_a == Transpose::yes,
            product.b, product.transpose_b == Transpose::yes,
            product.c, product.write == Write::add};
}

void on_gpu::multiply(const Product& product, const Context& context) {
    if (product.c.num_elements() == 0) return;
    if (cuda::ProductLibrary* const library = product_library(context))
        return library->multiply(library_product(product), context);
    const bool ta = product.transpose_a == Transpose::yes;
    const bool tb = product.transpose_b == Transpose::yes;
    dispatch_dtype(product.a.dtype(), [&]<class In>() {
        run<In>({{cuda::view<const In>(product.a), ta},
                 {cuda::view<const In>(product.b), tb},
                 product.c.rows(),
                 product.c.cols(),
                 ta ? product.a.rows() : product.a.cols(),
                 nullptr,
                 1},
                IntoMatrix{cuda::view<float>(product.c), product.write == Write::add}, context);
    });
}

Product on_gpu::gradient_product(ConstTensorRef x, ConstTensorRef dy, const GradientRef& gradient) {
    return {.a = x, .transpose_a = Transpose::yes, .b = dy, .c = gradient.sums, .write = Write::add};
}

void on_gpu::add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, std::span<const index_t> blocks,
                                 const GradientRef& gradient, const Context& context) {
    if (!gradient.is_fixed()) return on_gpu::multiply(gradient_product(x, dy, gradient), context);
    const cuda::HostList<index_t> list(blocks, context);
    const index_t num_blocks = std::max<index_t>(static_cast<index_t>(blocks.size()) - 1, 0);
    dispatch_dtype(x.dtype(), [&]<class In>() {
        run<In>({{cuda::view<const In>(x), true},
                 {cuda::view<const In>(dy), false},
                 x.cols(),
                 dy.cols(),
                 x.rows(),
                 list.data(),
                 num_blocks},
                IntoGradient{cuda::Gradient(gradient), dy.cols()}, context);
    });
}

void on_cuda::multiply(const Product& product, const Context& context) {
    on_gpu::multiply(product, context);
}

void on_cuda::add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, index_t block_rows,
                                  GradientRef gradient, const Context& context) {
    std::vector<index_t> blocks;
    if (gradient.is_fixed()) {
        for (index_t row = 0; row < x.rows(); row += block_rows) blocks.push_back(row);
        blocks.push_back(x.rows());
    }
    on_gpu::add_weight_gradient(x, dy, blocks, gradient, context);
}

}  // namespace sy::ops
