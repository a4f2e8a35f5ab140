#pragma once

#include <array>
#include <initializer_list>
#include <span>
#include <string>

#include "kernels/core/arena.hpp"
#include "kernels/core/dtype.hpp"
#include "kernels/core/types.hpp"

namespace sy {

/// Up to four dimensions, outermost first.
class Shape {
  public:
    static constexpr int kMaxDims = 4;

    Shape() = default;
    Shape(std::initializer_list<index_t> dims);
    explicit Shape(std::span<const index_t> dims);

    int num_dims() const { return num_dims_; }
    index_t operator[](int dim) const { return dims_[static_cast<std::size_t>(dim)]; }
    /// Product of all dimensions (1 for a scalar). @throws ShapeError on overflow, at construction
    index_t num_elements() const;
    std::span<const index_t> dims() const { return {dims_.data(), static_cast<std::size_t>(num_dims_)}; }
    /// "[4096, 512]"
    std::string to_string() const;
    bool operator==(const Shape&) const = default;

  private:
    std::array<index_t, kMaxDims> dims_{};
    int num_dims_ = 0;
};

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

/// An owned, contiguous, row-major array in an arena. Move-only. Contents start uninitialised.
class Tensor {
  public:
    Tensor() = default;
    Tensor(Arena& arena, DType dtype, Shape shape);

    bool empty() const { return shape_.num_dims() == 0; }
    DType dtype() const { return dtype_; }
    const Shape& shape() const { return shape_; }
    index_t num_elements() const { return empty() ? 0 : shape_.num_elements(); }
    index_t bytes() const { return num_elements() * dtype_bytes(dtype_); }

    /// All elements. @throws LogicError when T is not this tensor's dtype
    template <class T>
    std::span<T> values() {
        check_dtype(dtype_of<T>::value);
        return {reinterpret_cast<T*>(buffer_.data()), static_cast<std::size_t>(num_elements())};
    }
    template <class T>
    std::span<const T> values() const {
        check_dtype(dtype_of<T>::value);
        return {reinterpret_cast<const T*>(buffer_.data()), static_cast<std::size_t>(num_elements())};
    }
    /// As a matrix whose columns are the last dimension and whose rows are all others.
    template <class T>
    MatrixView<T> matrix() {
        const std::span<T> all = values<T>();
        return {all.data(), num_rows(), num_cols()};
    }
    template <class T>
    MatrixView<const T> matrix() const {
        const std::span<const T> all = values<T>();
        return {all.data(), num_rows(), num_cols()};
    }
    std::span<std::byte> raw() { return {buffer_.data(), static_cast<std::size_t>(bytes())}; }
    std::span<const std::byte> raw() const { return {buffer_.data(), static_cast<std::size_t>(bytes())}; }
    void fill_zero();

  private:
    void check_dtype(DType wanted) const;
    index_t num_cols() const { return empty() ? 0 : shape_[shape_.num_dims() - 1]; }
    index_t num_rows() const;

    DType dtype_ = DType::f32;
    Shape shape_;
    Buffer buffer_;
};

}  // namespace sy
