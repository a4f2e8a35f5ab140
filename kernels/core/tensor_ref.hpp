#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include "kernels/core/dtype.hpp"
#include "kernels/core/error.hpp"
#include "kernels/core/types.hpp"

/// Memory named by those who pass it on. A reference says what an operand is (its dtype and sides) and which part of it
/// is meant; what is in it, only bodies of operations can see (kernels/core/host_view.hpp). So a model is written once
/// for every device, and to read through a reference without that header does not compile.
namespace sy {

template <class T>
struct MatrixView;

/// Rows of a row-major matrix, `stride` elements apart, in the memory of a device. A borrower: never owns. Values
/// without rows are one row. Byte is std::byte, or const std::byte for what is only read.
template <class Byte>
class BasicTensorRef {
  public:
    /// Names nothing: an operand that is not there.
    BasicTensorRef() = default;
    /// Constants from variables.
    template <class Variable>
    requires std::is_same_v<const Variable, Byte> BasicTensorRef(const BasicTensorRef<Variable>& other)
        : address_(other.address_),
          dtype_(other.dtype_),
          rows_(other.rows_),
          cols_(other.cols_),
          stride_(other.stride_) {}
    /// A matrix of the host, where kernels/core/host_view.hpp is included: an operand of devices that work in its memory.
    /// Values in a span are none, so that what the host has just made is uploaded.
    template <class T>
    requires(std::is_const_v<Byte> || !std::is_const_v<T>) BasicTensorRef(const MatrixView<T>& view);

    /// Whether it names no memory. A matrix without rows may name some.
    bool is_null() const { return address_ == nullptr; }
    DType dtype() const { return dtype_; }
    index_t rows() const { return rows_; }
    index_t cols() const { return cols_; }
    index_t stride() const { return stride_; }
    index_t num_elements() const { return rows_ * cols_; }
    bool is_contiguous() const { return stride_ == cols_ || rows_ <= 1; }

    BasicTensorRef rows_of(Range range) const {
        SY_ASSERT(range.begin >= 0 && range.begin <= range.end && range.end <= rows_, "tensor: rows ",
                  range.begin, " to ", range.end, " of ", rows_);
        return {offset(range.begin * stride_), dtype_, range.size(), cols_, stride_};
    }
    BasicTensorRef cols_of(Range range) const {
        SY_ASSERT(range.begin >= 0 && range.begin <= range.end && range.end <= cols_, "tensor: columns ",
                  range.begin, " to ", range.end, " of ", cols_);
        return {offset(range.begin), dtype_, rows_, range.size(), stride_};
    }
    /// The same elements as a matrix of other sides. @throws LogicError when their number differs or rows are apart
    BasicTensorRef as_matrix(index_t rows, index_t cols) const;
    /// Whether both name the same elements.
    bool operator==(const BasicTensorRef&) const = default;

  private:
    template <class>
    friend class BasicTensorRef;
    friend class Tensor;
    friend struct HostAccess;
    friend struct DeviceAccess;

    BasicTensorRef(Byte* address, DType dtype, index_t rows, index_t cols, index_t stride)
        : address_(address), dtype_(dtype), rows_(rows), cols_(cols), stride_(stride) {}
    Byte* offset(index_t elements) const {
        return address_ == nullptr ? nullptr : address_ + elements * dtype_bytes(dtype_);
    }

    Byte* address_ = nullptr;
    DType dtype_ = DType::f32;
    index_t rows_ = 0;
    index_t cols_ = 0;
    index_t stride_ = 0;
};

extern template class BasicTensorRef<std::byte>;
extern template class BasicTensorRef<const std::byte>;
using TensorRef = BasicTensorRef<std::byte>;
using ConstTensorRef = BasicTensorRef<const std::byte>;

}  // namespace sy
