#pragma once

#include <span>
#include <type_traits>

#include "kernels/core/tensor_ref.hpp"

/// Memory of the host as its elements: for bodies of operations, transfers, checkpoints and tests. What passes operands
/// on uses references (kernels/core/tensor_ref.hpp).
namespace sy {

/// Rows of a row-major matrix, `stride` elements apart. A borrower: never owns.
template <class T>
struct MatrixView {
    T* data = nullptr;
    index_t rows = 0;
    index_t cols = 0;
    index_t stride = 0;

    MatrixView() = default;
    MatrixView(T* data_, index_t rows_, index_t cols_) : MatrixView(data_, rows_, cols_, cols_) {}
    MatrixView(T* data_, index_t rows_, index_t cols_, index_t stride_)
        : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
    /// A view of constants from a view of variables.
    template <class U>
    requires std::is_same_v<const U, T> MatrixView(
        const MatrixView<U>& other)  // NOLINT(google-explicit-constructor): as T* to const T*
        : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

    T* row(index_t row_idx) const {
        SY_ASSERT(row_idx >= 0 && row_idx < rows, "matrix view: row ", row_idx, " of ", rows);
        return data + row_idx * stride;
    }
    std::span<T> row_span(index_t row_idx) const { return {row(row_idx), static_cast<std::size_t>(cols)}; }
    T& operator()(index_t row_idx, index_t col_idx) const { return row(row_idx)[col_idx]; }
    MatrixView rows_of(Range range) const {
        return {data + range.begin * stride, range.size(), cols, stride};
    }
    MatrixView cols_of(Range range) const { return {data + range.begin, rows, range.size(), stride}; }
    bool is_contiguous() const { return stride == cols || rows <= 1; }
};

/// `count` contiguous row-major matrices of equal shape, one after another.
template <class T>
struct TensorView3 {
    T* data = nullptr;
    index_t count = 0;
    index_t rows = 0;
    index_t cols = 0;

    TensorView3() = default;
    TensorView3(T* data_, index_t count_, index_t rows_, index_t cols_)
        : data(data_), count(count_), rows(rows_), cols(cols_) {}
    template <class U>
    requires std::is_same_v<const U, T> TensorView3(
        const TensorView3<U>& other)  // NOLINT(google-explicit-constructor): as T* to const T*
        : data(other.data), count(other.count), rows(other.rows), cols(other.cols) {}

    MatrixView<T> operator[](index_t idx) const {
        SY_ASSERT(idx >= 0 && idx < count, "tensor view: matrix ", idx, " of ", count);
        return {data + idx * rows * cols, rows, cols};
    }
};

/// Between references and addresses, for the functions below.
struct HostAccess {
    template <class T, class Byte>
    static T* address(const BasicTensorRef<Byte>& ref) {
        check(ref, dtype_of<std::remove_const_t<T>>::value);
        return reinterpret_cast<T*>(ref.address_);
    }
    template <class Byte, class T>
    static BasicTensorRef<Byte> name(T* data, index_t rows, index_t cols, index_t stride) {
        return {reinterpret_cast<Byte*>(data), dtype_of<std::remove_const_t<T>>::value, rows, cols, stride};
    }
    /// The bytes of a row, whatever they are.
    template <class Byte>
    static Byte* row(const BasicTensorRef<Byte>& ref, index_t row_idx) {
        return ref.offset(row_idx * ref.stride_);
    }
    static void check(ConstTensorRef ref, DType wanted);
    static void check_one_row(ConstTensorRef ref);
};

/// The elements of a matrix, T or const T where they may only be read. Nothing where the reference names nothing.
/// @throws LogicError when T is not its dtype
template <class T>
MatrixView<T> host(TensorRef ref) {
    return {HostAccess::address<T>(ref), ref.rows(), ref.cols(), ref.stride()};
}
template <class T>
requires std::is_const_v<T> MatrixView<T> host(ConstTensorRef ref) {
    return {HostAccess::address<T>(ref), ref.rows(), ref.cols(), ref.stride()};
}
/// The elements of rows that are not apart, one after another.
/// @throws LogicError when T is not their dtype, or when rows are apart
template <class T, class Byte>
std::span<T> host_values(BasicTensorRef<Byte> ref) {
    HostAccess::check_one_row(ref);
    return {HostAccess::address<T>(ref), static_cast<std::size_t>(ref.num_elements())};
}

/// The same as bytes, whatever they are.
template <class Byte>
std::span<Byte> host_bytes(BasicTensorRef<Byte> ref) {
    HostAccess::check_one_row(ref);
    return {HostAccess::row(ref, 0), static_cast<std::size_t>(ref.num_elements() * dtype_bytes(ref.dtype()))};
}

template <class Byte>
template <class T>
requires(std::is_const_v<Byte> ||
         !std::is_const_v<T>) BasicTensorRef<Byte>::BasicTensorRef(const MatrixView<T>& view)
    : BasicTensorRef(HostAccess::name<Byte>(view.data, view.rows, view.cols, view.stride)) {}

/// Values in memory of the host as an operand of one row, for those who know that their device works in it: bodies of the
/// CPU, messages between ranks of the host, measurements and tests. On any other device a kernel would follow an address
/// that is not its own; what the host has made goes there by upload() (kernels/core/host_values.hpp).
template <class T>
std::conditional_t<std::is_const_v<T>, ConstTensorRef, TensorRef> host_operand(std::span<T> values) {
    return MatrixView<T>(values.data(), 1, static_cast<index_t>(values.size()));
}

/// Memory of the host that is only read: what an upload copies to a device. No operation takes it for an operand, since a
/// device need not reach it.
class HostRef {
  public:
    template <class T>
    HostRef(std::span<T> values)  // NOLINT(google-explicit-constructor): as T* to const void*
        : HostRef(MatrixView<T>(values.data(), 1, static_cast<index_t>(values.size()))) {}
    template <class T>
    HostRef(const MatrixView<T>& view)  // NOLINT(google-explicit-constructor): as T* to const void*
        : readable_(
              HostAccess::name<const std::byte, const T>(view.data, view.rows, view.cols, view.stride)) {}
    /// What the host can read of a device's memory: staging memory, or that of a device of the host.
    explicit HostRef(const ConstTensorRef& readable) : readable_(readable) {}

    /// For host() and host_values().
    ConstTensorRef readable() const { return readable_; }

  private:
    ConstTensorRef readable_;
};

}  // namespace sy
