#pragma once

#include <memory>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/isa.hpp"
#include "kernels/core/write.hpp"
#include "kernels/ops/gemm/gemm.hpp"

/// Matrix products of the host: what multiplies on one thread, and products for the inside of an operation's tasks.
/// K the summed dimension, M and N the sides of the result.
namespace sy::ops {

/// Rows of C that are computed together: a split of a product by rows costs nothing at multiples of it.
inline constexpr index_t kRowsTogether = 12;

/// Part `part_idx` of `num_parts` of [0, rows), near-equal, cut at multiples of kRowsTogether.
constexpr Range row_part_of(index_t rows, index_t num_parts, index_t part_idx) {
    const Range groups = part_of(ceil_div(rows, kRowsTogether), num_parts, part_idx);
    return {groups.begin * kRowsTogether,
            groups.end * kRowsTogether < rows ? groups.end * kRowsTogether : rows};
}

/// Product of operands that the host can read. In {float, bf16}.
template <class In>
struct HostProduct {
    MatrixView<const In> a;
    Transpose transpose_a = Transpose::no;
    MatrixView<const In> b;
    Transpose transpose_b = Transpose::no;
    MatrixView<float> c;
    Write write = Write::overwrite;
};

/// Adds X^T dY to a fixed-point gradient: one product for each block of rows, each rounded to fixed point by itself, so
/// that the sum does not depend on which rank has which blocks.
template <class In>
struct GradientProduct {
    MatrixView<const In> x;           ///< [K, M]
    MatrixView<const In> dy;          ///< [K, N]
    std::span<const index_t> blocks;  ///< block b is rows [blocks[b], blocks[b + 1])
    GradientView gradient;            ///< its element (row + m, col + n) receives element (m, n)
    index_t row = 0;
    index_t col = 0;
    MatrixView<float> scratch;  ///< [M, N], working memory
};

/// Products on the calling thread, and their working memory. One for a rank; callable from all threads of its team at
/// once. Every element of C is one chain of multiply-adds over ascending k, so that it depends on its own row of A and
/// column of B alone: not on M, N, the place of the row, or the thread. Float32 chains round once a step and have the
/// same bits under every instruction set. So have those of bf16, which is widened exactly, but for avx512_bf16: a step
/// of its chains is a dot product of two pairs.
/// @par Source  Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008)
class Gemm {
  public:
    /// @throws LogicError when the processor does not have `isa`
    explicit Gemm(Isa isa = sy::isa());
    ~Gemm();
    Gemm(const Gemm&) = delete;
    Gemm& operator=(const Gemm&) = delete;

    Isa isa() const;

    /// @throws ShapeError when the sides do not fit
    template <class In>
    void multiply(const HostProduct<In>& product) const;

    /// @throws ShapeError when the sides do not fit
    template <class In>
    void add_to_gradient(const GradientProduct<In>& product) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Gemm::multiply for the inside of an operation's tasks: reports to the context's profile.
template <class In>
void multiply_on_this_thread(const HostProduct<In>& product, const Context& context);

/// Gemm::add_to_gradient, likewise.
template <class In>
void add_to_gradient_on_this_thread(const GradientProduct<In>& product, const Context& context);

namespace ref {
/// Plain triple loop, double accumulators.
template <class In>
void multiply(const HostProduct<In>& product);
}  // namespace ref

}  // namespace sy::ops
