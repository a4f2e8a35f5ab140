#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/view.hpp"

/// Rows as pieces of several elements, so that a thread moves sixteen bytes at a time: the widest access of a GPU, which
/// needs an address that is a multiple of it.
namespace sy::cuda {

inline constexpr std::size_t kPackBytes = 16;

/// Sixteen bytes of elements.
template <class T>
struct alignas(kPackBytes) Pack {
    static constexpr std::size_t kSize = kPackBytes / sizeof(T);
    T lanes[kSize];
};

/// Sixteen bytes of anything.
struct alignas(kPackBytes) Bytes16 {
    std::uint32_t words[4];
};

/// Bytes of the widest piece that the rows of all operands consist of: 16, 4, 2 or 1.
inline std::size_t widest_piece(std::initializer_list<ConstTensorRef> operands) {
    for (const std::size_t bytes : {kPackBytes, std::size_t{4}, std::size_t{2}}) {
        bool fits = true;
        for (const ConstTensorRef& operand : operands) {
            const index_t element = dtype_bytes(operand.dtype());
            const auto address = reinterpret_cast<std::uintptr_t>(DeviceAccess::address(operand));
            const auto width = static_cast<std::size_t>(operand.cols() * element);
            const auto pitch = static_cast<std::size_t>(operand.stride() * element);
            fits = fits && address % bytes == 0 && width % bytes == 0 && pitch % bytes == 0;
        }
        if (fits) return bytes;
    }
    return 1;
}

/// A matrix of pieces. @pre widest_piece says so
template <class Piece, class Byte>
Matrix<Piece> pieces(const BasicTensorRef<Byte>& ref) {
    const index_t element = dtype_bytes(ref.dtype());
    const auto bytes = static_cast<index_t>(sizeof(Piece));
    return {reinterpret_cast<Piece*>(DeviceAccess::address(ref)), ref.rows(), ref.cols() * element / bytes,
            ref.stride() * element / bytes};
}

/// Calls body.operator()<Piece>() with the type of pieces of so many bytes.
template <class Body>
void with_pieces(std::size_t bytes, const Body& body) {
    if (bytes == kPackBytes) return body.template operator()<Bytes16>();
    if (bytes == 4) return body.template operator()<std::uint32_t>();
    if (bytes == 2) return body.template operator()<std::uint16_t>();
    return body.template operator()<std::uint8_t>();
}

}  // namespace sy::cuda
