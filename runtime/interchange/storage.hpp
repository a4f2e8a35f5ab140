#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/core/types.hpp"

/// How files of other programs store the float32 values of a checkpoint.
namespace sy::runtime {

/// q8_0: blocks of 32 consecutive values, an f16 scale and 32 signed bytes.
enum class Storage { f32, f16, bf16, q8_0 };
inline constexpr Storage kStorages[] = {Storage::f32, Storage::f16, Storage::bf16, Storage::q8_0};

inline constexpr index_t kBlockValues = 32;  ///< of a block of q8_0

/// "f32", ...
std::string_view storage_name(Storage storage);
/// Inverse of storage_name. @throws ConfigError naming the known ones
Storage parse_storage(std::string_view name);

/// Consecutive values that are stored together: rows must be a multiple of them.
constexpr index_t storage_block(Storage storage) {
    return storage == Storage::q8_0 ? kBlockValues : 1;
}

/// Bytes of `num_values` values, a multiple of storage_block(storage).
index_t storage_bytes(Storage storage, index_t num_values);

/// Rounds to nearest, ties to even; overflow gives infinity, NaN a quiet NaN.
std::uint16_t float_to_half(float value);
/// Exact.
float half_to_float(std::uint16_t bits);

/// Whether none is NaN or infinite.
bool all_finite(std::span<const float> values);

/// Stores values, little endian. f16 and bf16 round to nearest even; q8_0 is ggml's reference, quantize_row_q8_0_ref.
/// @param values  finite
/// @param bytes   storage_bytes(storage, values.size()) of them are written
/// @throws IoError for a value that is not finite, or that the storage would make infinite
/// @par Source  ggml, src/ggml-quants.c
void encode(Storage storage, std::span<const float> values, std::span<std::byte> bytes);

/// Inverse of encode but for its rounding. @param values  storage_bytes(storage, values.size()) == bytes.size()
void decode(Storage storage, std::span<const std::byte> bytes, std::span<float> values);

}  // namespace sy::runtime
