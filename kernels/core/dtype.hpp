#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "kernels/core/types.hpp"

namespace sy {

/// Element types. Models compute in f32 and bf16; f64, the integers and u8 hold sums, choices and marks; f16 and the fp8
/// formats are storage only.
enum class DType : std::uint8_t { f32, bf16, f64, f16, i32, i64, u8, fp8_e4m3, fp8_e5m2 };

/// Bytes of one element.
index_t dtype_bytes(DType dtype);

/// "f32", "bf16", ...
std::string_view dtype_name(DType dtype);

/// @throws LogicError unless it is f32 or bf16
void check_computable(DType dtype);

/// Inverse of dtype_name. @throws ConfigError naming the known types
DType parse_dtype(std::string_view name);

/// bfloat16: the upper half of a float32; conversion rounds to nearest even and keeps NaN.
struct bf16 {
    std::uint16_t bits = 0;

    bf16() = default;
    explicit constexpr bf16(float value) : bits(round(value)) {}
    explicit constexpr operator float() const {
        return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    }
    bool operator==(const bf16&) const = default;

  private:
    static constexpr std::uint16_t round(float value) {
        const std::uint32_t wide = std::bit_cast<std::uint32_t>(value);
        if ((wide & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((wide >> 16) | 0x40U);
        return static_cast<std::uint16_t>((wide + 0x7fffU + ((wide >> 16) & 1U)) >> 16);
    }
};

template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
    static constexpr DType value = DType::f32;
};
template <>
struct dtype_of<bf16> {
    static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of<std::int32_t> {
    static constexpr DType value = DType::i32;
};
template <>
struct dtype_of<std::int64_t> {
    static constexpr DType value = DType::i64;
};

template <>
struct dtype_of<double> {
    static constexpr DType value = DType::f64;
};
template <>
struct dtype_of<std::uint8_t> {
    static constexpr DType value = DType::u8;
};

/// Calls body.template operator()<T>() with the element type of what a model computes in: float or bf16.
/// @throws LogicError for another dtype
template <class Body>
decltype(auto) dispatch_dtype(DType dtype, Body&& body) {
    check_computable(dtype);
    if (dtype == DType::bf16) return body.template operator()<bf16>();
    return body.template operator()<float>();
}

}  // namespace sy
