#pragma once

#include <type_traits>

#include "kernels/core/tensor_ref.hpp"

/// Memory of a GPU as kernels see it, beside host_view.hpp: for the bodies of CUDA and its device alone.
namespace sy {

/// Between references and addresses, for the functions below.
struct DeviceAccess {
    template <class Byte>
    static Byte* address(const BasicTensorRef<Byte>& ref) {
        return ref.address_;
    }
    template <class T, class Byte>
    static T* address_of(const BasicTensorRef<Byte>& ref) {
        SY_REQUIRE(ref.is_null() || ref.dtype() == dtype_of<std::remove_const_t<T>>::value, "device view: [",
                   ref.rows(), ", ", ref.cols(), "] holds ", dtype_name(ref.dtype()), ", not ",
                   dtype_name(dtype_of<std::remove_const_t<T>>::value));
        return reinterpret_cast<T*>(ref.address_);
    }
};

namespace cuda {

/// Rows of a row-major matrix, `stride` elements apart, for kernels. Null data where there is no operand.
template <class T>
struct Matrix {
    T* data = nullptr;
    index_t rows = 0;
    index_t cols = 0;
    index_t stride = 0;

    constexpr T* row(index_t row_idx) const { return data + row_idx * stride; }
    constexpr T& operator()(index_t row_idx, index_t col_idx) const {
        return data[row_idx * stride + col_idx];
    }
};

/// @throws LogicError when T is not the dtype
template <class T>
Matrix<T> view(TensorRef ref) {
    return {DeviceAccess::address_of<T>(ref), ref.rows(), ref.cols(), ref.stride()};
}
template <class T>
requires std::is_const_v<T> Matrix<T> view(ConstTensorRef ref) {
    return {DeviceAccess::address_of<T>(ref), ref.rows(), ref.cols(), ref.stride()};
}

/// The first of values one after another; null where there are none.
/// @throws LogicError when T is not their dtype, or when rows are apart
template <class T, class Byte>
T* values(const BasicTensorRef<Byte>& ref) {
    SY_REQUIRE(ref.is_contiguous(), "device view: [", ref.rows(), ", ", ref.cols(), "] with a stride of ",
               ref.stride(), " as one row");
    return DeviceAccess::address_of<T>(ref);
}

}  // namespace cuda
}  // namespace sy
