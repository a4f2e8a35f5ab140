#include "kernels/core/tensor_ref.hpp"

#include "kernels/core/host_view.hpp"

namespace sy {

template <class Byte>
BasicTensorRef<Byte> BasicTensorRef<Byte>::as_matrix(index_t rows, index_t cols) const {
    SY_REQUIRE(rows * cols == num_elements() && is_contiguous(), "tensor: [", rows_, ", ", cols_,
               "] with a stride of ", stride_, " as [", rows, ", ", cols, "]");
    return {address_, dtype_, rows, cols, cols};
}

template class BasicTensorRef<std::byte>;
template class BasicTensorRef<const std::byte>;

void HostAccess::check(ConstTensorRef ref, DType wanted) {
    SY_REQUIRE(ref.is_null() || ref.dtype() == wanted, "host view: [", ref.rows(), ", ", ref.cols(),
               "] holds ", dtype_name(ref.dtype()), ", not ", dtype_name(wanted));
}

void HostAccess::check_one_row(ConstTensorRef ref) {
    SY_REQUIRE(ref.is_contiguous(), "host view: [", ref.rows(), ", ", ref.cols(), "] with a stride of ",
               ref.stride(), " as one row");
}

}  // namespace sy
