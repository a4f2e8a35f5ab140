#pragma once

#include <span>
#include <type_traits>

#include "kernels/core/error.hpp"
#include "kernels/core/tensor_ref.hpp"

namespace sy {

template <class Values, class T>
inline constexpr bool reads_as_span = std::is_constructible_v<std::span<const T>, const Values&>;

/// Integers that an operation reads: ids, positions, rows. Either they are the host's, and then the operation checks them
/// and copies what it needs; or they are in the memory of the device, where whoever has put them there has checked them. Work
/// that is queued again (kernels/core/graphs.hpp) finds in the latter what is there then.
template <class T>
class List {
  public:
    List() = default;
    template <class Values, std::enable_if_t<reads_as_span<Values, T>, int> = 0>
    List(const Values& values)  // NOLINT(google-explicit-constructor): as for std::span
        : host_(values), size_(static_cast<index_t>(host_.size())) {}
    /// @param values  one row of a device's memory
    explicit List(ConstTensorRef values) : device_(values), size_(values.num_elements()) {
        SY_REQUIRE(!values.is_null() && values.dtype() == dtype_of<T>::value && values.rows() == 1, "list: [",
                   values.rows(), ", ", values.cols(), "] ", dtype_name(values.dtype()),
                   " of a device as one row of ", dtype_name(dtype_of<T>::value));
    }

    index_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    bool is_of_host() const { return device_.is_null(); }
    /// @throws LogicError when they are in the memory of the device
    std::span<const T> of_host() const {
        SY_REQUIRE(is_of_host(), "list: ", size_, " values of a device's memory, which the host cannot read");
        return host_;
    }
    /// Null where they are the host's.
    ConstTensorRef on_device() const { return device_; }

  private:
    std::span<const T> host_;
    ConstTensorRef device_;
    index_t size_ = 0;
};

}  // namespace sy
