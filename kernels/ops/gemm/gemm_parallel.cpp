#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/core/fits.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/gemm/check.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// Columns that are cut together: a multiple of the panels of every instruction set.
constexpr index_t kColsTogether = 32;

/// Into how many ranges of rows and of columns C is cut for the threads.
struct Parts {
    index_t rows;
    index_t cols;
};

/// Two blocks a thread or more, and the same number for each; blocks that share packed operands among as many rows and columns
/// as that allows. Few rows take as long as their part of B takes to arrive: it is read in pieces of rows as long as they can
/// be, a block a thread.
Parts parts_of_result(index_t rows, index_t cols, index_t num_threads) {
    constexpr index_t kMostRows = 384;
    constexpr index_t kLeastRows = 48;
    constexpr index_t kLeastCols = 128;
    const index_t wanted = rows <= kRowsTogether ? num_threads : 2 * num_threads;
    Parts parts{std::max<index_t>(1, ceil_div(rows, kMostRows)), 1};
    while (parts.rows * parts.cols < wanted) {
        const index_t block_rows = rows / parts.rows;
        const index_t block_cols = cols / parts.cols;
        const bool can_cut_rows = block_rows >= 2 * kLeastRows;
        const bool can_cut_cols = cols / (parts.cols + 1) >= kLeastCols;
        if (can_cut_cols && (block_cols >= block_rows || !can_cut_rows)) {
            ++parts.cols;
        } else if (can_cut_rows) {
            ++parts.rows;
        } else {
            break;
        }
    }
    while (parts.rows * parts.cols % num_threads != 0 && rows / (parts.rows + 1) >= kLeastRows) ++parts.rows;
    return parts;
}

template <class In>
MatrixView<const In> lines_of(MatrixView<const In> x, bool lines_are_columns, Range lines) {
    return lines_are_columns ? x.cols_of(lines) : x.rows_of(lines);
}

/// The part of a product that computes c.rows_of(rows).cols_of(cols).
template <class In>
HostProduct<In> part_of_product(const HostProduct<In>& product, Range rows, Range cols) {
    HostProduct<In> part = product;
    part.a = lines_of(product.a, product.transpose_a == Transpose::yes, rows);
    part.b = lines_of(product.b, product.transpose_b == Transpose::no, cols);
    part.c = product.c.rows_of(rows).cols_of(cols);
    return part;
}

/// Calls body(rows, cols, thread_idx) for all blocks of a [rows, cols] result.
template <class Body>
void for_blocks(index_t rows, index_t cols, const Context& context, const Body& body) {
    if (rows == 0 || cols == 0) return;
    const Parts parts = parts_of_result(rows, cols, context.device.num_threads());
    cpu(context).team().for_tasks(parts.rows * parts.cols, [&](index_t task_idx, int thread_idx) {
        const Range panels = part_of(ceil_div(cols, kColsTogether), parts.cols, task_idx % parts.cols);
        body(row_part_of(rows, parts.rows, task_idx / parts.cols),
             Range{panels.begin * kColsTogether, std::min(panels.end * kColsTogether, cols)}, thread_idx);
    });
}

/// Runs a product and reports it to the context's profile, if there is one.
/// @param flops  multiply-adds count two
template <class Body>
void report_product(index_t flops, const Context& context, const Body& body) {
    if (context.profile == nullptr) {
        body();
        return;
    }
    const auto start = std::chrono::steady_clock::now();
    body();
    context.profile->add_product(std::chrono::steady_clock::now() - start, flops);
}

}  // namespace

template <class In>
void multiply_on_this_thread(const HostProduct<In>& product, const Context& context) {
    const index_t num_k = product.transpose_a == Transpose::yes ? product.a.rows : product.a.cols;
    report_product(2 * product.c.rows * product.c.cols * num_k, context,
                   [&] { cpu(context).gemm().multiply(product); });
}

template <class In>
void add_to_gradient_on_this_thread(const GradientProduct<In>& product, const Context& context) {
    report_product(2 * product.x.rows * product.x.cols * product.dy.cols, context,
                   [&] { cpu(context).gemm().add_to_gradient(product); });
}

namespace {

template <class In>
void multiply_by_blocks(const HostProduct<In>& product, const Context& context) {
    for_blocks(product.c.rows, product.c.cols, context, [&](Range rows, Range cols, int) {
        multiply_on_this_thread(part_of_product(product, rows, cols), context);
    });
}

template <class In>
void add_by_blocks(MatrixView<const In> x, MatrixView<const In> dy, index_t block_rows, GradientView gradient,
                   const Context& context) {
    if (gradient.f32 != nullptr) {
        const MatrixView<float> sums(gradient.f32, gradient.rows, gradient.cols);
        multiply_by_blocks<In>({x, Transpose::yes, dy, Transpose::no, sums, Write::add}, context);
        return;
    }
    std::vector<index_t> blocks;
    for (index_t row = 0; row < x.rows; row += block_rows) blocks.push_back(row);
    blocks.push_back(x.rows);
    const Parts parts = parts_of_result(gradient.rows, gradient.cols, context.device.num_threads());
    const index_t most_rows = ceil_div(gradient.rows, parts.rows) + kRowsTogether;
    const index_t most_cols = ceil_div(gradient.cols, parts.cols) + kColsTogether;
    Tensor scratch(context.device, DType::f32, {context.device.num_threads(), most_rows * most_cols});
    for_blocks(gradient.rows, gradient.cols, context, [&](Range rows, Range cols, int thread_idx) {
        const MatrixView<float> sums(scratch.matrix<float>().row(thread_idx), rows.size(), cols.size());
        add_to_gradient_on_this_thread<In>(
            {x.cols_of(rows), dy.cols_of(cols), blocks, gradient, rows.begin, cols.begin, sums}, context);
    });
}

}  // namespace

void on_cpu::multiply(const Product& product, const Context& context) {
    dispatch_dtype(product.a.dtype(), [&]<class In>() {
        multiply_by_blocks<In>({host<const In>(product.a), product.transpose_a, host<const In>(product.b),
                                product.transpose_b, host<float>(product.c), product.write},
                               context);
    });
}

void on_cpu::add_weight_gradient(ConstTensorRef x, ConstTensorRef dy, index_t block_rows,
                                 GradientRef gradient, const Context& context) {
    dispatch_dtype(x.dtype(), [&]<class In>() {
        add_by_blocks(host<const In>(x), host<const In>(dy), block_rows, host_gradient(gradient), context);
    });
}

template void multiply_on_this_thread<float>(const HostProduct<float>&, const Context&);
template void multiply_on_this_thread<bf16>(const HostProduct<bf16>&, const Context&);
template void add_to_gradient_on_this_thread<float>(const GradientProduct<float>&, const Context&);
template void add_to_gradient_on_this_thread<bf16>(const GradientProduct<bf16>&, const Context&);

}  // namespace sy::ops
