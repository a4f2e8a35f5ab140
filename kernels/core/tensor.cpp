#include "kernels/core/tensor.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/core/arena.hpp"
#include "kernels/core/device.hpp"

namespace sy {

Shape::Shape(std::initializer_list<index_t> dims)
    : Shape(std::span<const index_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const index_t> dims) {
    if (dims.size() > kMaxDims) throw ShapeError(concat("shape: ", dims.size(), " dimensions, at most 4"));
    index_t product = 1;
    for (const index_t dim : dims) {
        if (dim < 0 || __builtin_mul_overflow(product, dim, &product)) {
            throw ShapeError(concat("shape: dimension ", dim, " is negative or makes too many elements"));
        }
    }
    std::copy(dims.begin(), dims.end(), dims_.begin());
    num_dims_ = static_cast<int>(dims.size());
}

index_t Shape::num_elements() const {
    index_t product = 1;
    for (const index_t dim : dims()) product *= dim;
    return product;
}

std::string Shape::to_string() const {
    std::string text;
    for (const index_t dim : dims()) text += (text.empty() ? "" : ", ") + std::to_string(dim);
    return "[" + text + "]";
}

Tensor::Tensor(Device& device, DType dtype, Shape shape) : Tensor(device, dtype, shape, Memory::device) {}

Tensor::Tensor(Device& device, DType dtype, Shape shape, Memory memory)
    : dtype_(dtype),
      shape_(shape),
      buffer_(device.allocate(shape.num_elements() * dtype_bytes(dtype), memory)) {}

Tensor::Tensor(Arena& arena, DType dtype, Shape shape)
    : dtype_(dtype), shape_(shape), buffer_(arena.allocate(shape.num_elements() * dtype_bytes(dtype))) {}

void Tensor::fill_zero() {
    if (bytes() > 0) std::memset(buffer_.data(), 0, static_cast<std::size_t>(bytes()));
}

void Tensor::check_dtype(DType wanted) const {
    SY_REQUIRE(wanted == dtype_, "tensor: ", shape_.to_string(), " holds ", dtype_name(dtype_), ", not ",
               dtype_name(wanted));
}

index_t Tensor::num_rows() const {
    if (empty()) return 0;
    index_t rows = 1;
    for (int dim = 0; dim + 1 < shape_.num_dims(); ++dim) rows *= shape_[dim];
    return rows;
}

}  // namespace sy
