#pragma once

#include <array>
#include <initializer_list>
#include <span>
#include <string>

#include "kernels/core/buffer.hpp"
#include "kernels/core/dtype.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/tensor_ref.hpp"
#include "kernels/core/types.hpp"

namespace sy {

class Device;
enum class Memory;

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

/// An owned, contiguous, row-major array in the memory of a device. Move-only. Contents start uninitialised.
class Tensor {
  public:
    Tensor() = default;
    Tensor(Device& device, DType dtype, Shape shape);
    Tensor(Device& device, DType dtype, Shape shape, Memory memory);
    /// In memory that is not a device's own, such as several processes share.
    Tensor(Arena& arena, DType dtype, Shape shape);

    bool empty() const { return shape_.num_dims() == 0; }
    DType dtype() const { return dtype_; }
    const Shape& shape() const { return shape_; }
    index_t num_elements() const { return empty() ? 0 : shape_.num_elements(); }
    index_t bytes() const { return num_elements() * dtype_bytes(dtype_); }

    /// As a matrix whose columns are the last dimension and whose rows are all others.
    TensorRef ref() { return {buffer_.data(), dtype_, num_rows(), num_cols(), num_cols()}; }
    ConstTensorRef ref() const { return {buffer_.data(), dtype_, num_rows(), num_cols(), num_cols()}; }
    operator TensorRef() { return ref(); }             // NOLINT(google-explicit-constructor): as T& to T*
    operator ConstTensorRef() const { return ref(); }  // NOLINT(google-explicit-constructor)

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
