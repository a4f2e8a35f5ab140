#include <catch2/catch.hpp>
#include <type_traits>
#include <vector>

#include "kernels/core/host_view.hpp"
#include "kernels/core/arena.hpp"
#include "kernels/core/tensor.hpp"

using namespace sy;

TEST_CASE("tensor reference: parts of a matrix name its own elements", "[unit]") {
    Arena arena;
    Tensor tensor(arena, DType::f32, {2, 3, 4});
    const std::span<float> values = tensor.values<float>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);

    const TensorRef all = tensor;
    CHECK(all.dtype() == DType::f32);
    CHECK(all.rows() == 6);
    CHECK(all.cols() == 4);
    const MatrixView<float> corner = host<float>(all.rows_of({1, 5}).cols_of({2, 4}));
    CHECK(corner.rows == 4);
    CHECK(corner.cols == 2);
    CHECK(corner(0, 0) == 6.0F);
    CHECK(corner(3, 1) == 19.0F);
    CHECK_FALSE(all.cols_of({2, 4}).is_contiguous());
    CHECK(host<float>(all.as_matrix(3, 8))(2, 7) == 23.0F);
    CHECK_THROWS_AS(all.as_matrix(5, 4), LogicError);
    CHECK_THROWS_AS(all.cols_of({0, 2}).as_matrix(3, 4), LogicError);
}

TEST_CASE("tensor reference: values without rows are one row", "[unit]") {
    Arena arena;
    Tensor tensor(arena, DType::i32, {5});
    const ConstTensorRef ref = std::as_const(tensor);
    CHECK(ref.rows() == 1);
    CHECK(ref.cols() == 5);
    CHECK(host_values<const std::int32_t>(ref).size() == 5);
    const std::vector<double> sums(7);
    const ConstTensorRef from_span = host_operand(std::span<const double>(sums));
    CHECK(from_span.dtype() == DType::f64);
    CHECK(host_values<const double>(from_span).data() == sums.data());
    CHECK(HostRef(std::span<const double>(sums)).readable() == from_span);
}

TEST_CASE("tensor reference: bf16 is offset by its own width", "[unit]") {
    std::vector<bf16> values(12);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = bf16(static_cast<float>(i));
    const ConstTensorRef ref = MatrixView<const bf16>(values.data(), 3, 2, 4);
    CHECK(static_cast<float>(host<const bf16>(ref.rows_of({2, 3}).cols_of({1, 2}))(0, 0)) == 9.0F);
}

TEST_CASE("tensor reference: a view of another dtype is refused", "[unit]") {
    Arena arena;
    Tensor tensor(arena, DType::f32, {2, 2});
    CHECK_THROWS_AS(host<bf16>(tensor), LogicError);
    CHECK_THROWS_AS(host<const std::int32_t>(tensor.ref()), LogicError);
    CHECK_THROWS_AS(host_values<const double>(tensor.ref()), LogicError);
    CHECK_THROWS_AS(host_values<const float>(tensor.ref().cols_of({0, 1})), LogicError);
}

TEST_CASE("tensor reference: what is not there has neither address nor elements", "[unit]") {
    const TensorRef none = Tensor();
    CHECK(none.is_null());
    CHECK(host<float>(none).data == nullptr);
    CHECK(host<float>(none).rows == 0);
    CHECK(host<std::int32_t>(none).data == nullptr);
    CHECK(none == TensorRef());
    CHECK(none.rows_of({0, 0}).is_null());
}

TEST_CASE("tensor reference: what may only be read never becomes writable", "[unit]") {
    STATIC_REQUIRE(std::is_convertible_v<TensorRef, ConstTensorRef>);
    STATIC_REQUIRE(std::is_convertible_v<MatrixView<float>, TensorRef>);
    STATIC_REQUIRE(std::is_convertible_v<Tensor&, TensorRef>);
    STATIC_REQUIRE(std::is_convertible_v<Tensor&, ConstTensorRef>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<ConstTensorRef, TensorRef>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<TensorRef, MatrixView<const float>>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<TensorRef, std::span<const float>>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<const Tensor&, TensorRef>);
}

TEST_CASE("dtype: computing is dispatched to float and bf16 alone", "[unit]") {
    const auto bytes = [](DType dtype) { return dispatch_dtype(dtype, []<class T>() { return sizeof(T); }); };
    CHECK(bytes(DType::f32) == 4);
    CHECK(bytes(DType::bf16) == 2);
    CHECK_THROWS_AS(bytes(DType::f64), LogicError);
    CHECK_THROWS_AS(bytes(DType::i32), LogicError);
}
