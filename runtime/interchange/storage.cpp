#include "runtime/interchange/storage.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/core/dtype.hpp"

namespace sy::runtime {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"f32", "f16", "bf16", "q8_0"};

static_assert(std::endian::native == std::endian::little, "values are stored as they lie in memory");

struct Block {
    std::uint16_t scale;
    std::array<std::int8_t, kBlockValues> quotients;
};
static_assert(sizeof(Block) == 34);

template <class T>
void put(std::span<std::byte> bytes, std::size_t idx, T value) {
    std::memcpy(bytes.data() + idx * sizeof(T), &value, sizeof(T));
}

template <class T>
T get(std::span<const std::byte> bytes, std::size_t idx) {
    T value;
    std::memcpy(&value, bytes.data() + idx * sizeof(T), sizeof(T));
    return value;
}

bool is_finite_half(std::uint16_t bits) {
    return (bits & 0x7c00U) != 0x7c00U;
}

[[noreturn]] void refuse(Storage storage, float value) {
    throw IoError(concat("the value ", value, " cannot be stored as ", storage_name(storage),
                         std::isfinite(value) ? "; store it as f32 or bf16" : ""));
}

void encode_block(std::span<const float> values, std::span<std::byte> bytes, std::size_t idx) {
    float greatest = 0.0F;
    for (const float value : values) greatest = std::max(greatest, std::abs(value));
    const float scale = greatest / 127.0F;
    // A scale so small that its inverse overflows is zero as a half, whatever the quotients are.
    const float inverse = scale < std::numeric_limits<float>::min() ? 0.0F : 1.0F / scale;
    Block block{float_to_half(scale), {}};
    if (!is_finite_half(block.scale)) refuse(Storage::q8_0, greatest);
    for (std::size_t i = 0; i < values.size(); ++i)
        block.quotients[i] = static_cast<std::int8_t>(std::round(values[i] * inverse));
    put(bytes, idx, block);
}

void check_sizes(Storage storage, std::size_t num_values, std::size_t num_bytes) {
    SY_REQUIRE(storage_bytes(storage, static_cast<index_t>(num_values)) == static_cast<index_t>(num_bytes),
               num_values, " values as ", storage_name(storage), " in ", num_bytes, " bytes");
}

}  // namespace

std::string_view storage_name(Storage storage) {
    return kNames[static_cast<std::size_t>(storage)];
}

Storage parse_storage(std::string_view name) {
    for (const Storage storage : kStorages)
        if (storage_name(storage) == name) return storage;
    throw ConfigError(concat("unknown dtype '", name, "'; write f32, f16, bf16 or q8_0"));
}

index_t storage_bytes(Storage storage, index_t num_values) {
    SY_REQUIRE(num_values % storage_block(storage) == 0, num_values, " values are no multiple of ",
               storage_block(storage));
    if (storage == Storage::q8_0) return num_values / kBlockValues * index_t{sizeof(Block)};
    return num_values * (storage == Storage::f32 ? 4 : 2);
}

std::uint16_t float_to_half(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7fffffffU;
    if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);
    // From halfway between the greatest half, 65504, and what would be the next one.
    if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);
    if (magnitude < 0x38800000U) {
        // Subnormal halves are multiples of 2^-24, as are floats from 1/2 on: the addition rounds.
        const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
        return static_cast<std::uint16_t>(
            sign | (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F)));
    }
    constexpr std::uint32_t kExponentShift = (127U - 15U) << 23;
    const std::uint32_t rounded = magnitude - kExponentShift + 0xfffU + ((magnitude >> 13) & 1U);
    return static_cast<std::uint16_t>(sign | (rounded >> 13));
}

float half_to_float(std::uint16_t bits) {
    const std::uint32_t sign = (bits & 0x8000U) << 16;
    const std::uint32_t exponent = (bits >> 10) & 0x1fU;
    const std::uint32_t fraction = bits & 0x3ffU;
    if (exponent == 0x1fU) return std::bit_cast<float>(sign | 0x7f800000U | (fraction << 13));
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
        return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
    }
    return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (fraction << 13));
}

bool all_finite(std::span<const float> values) {
    constexpr std::uint32_t kExponent = 0x7f800000U;
    // One more in an exponent of ones alone carries into the sign. Without a way out of the loop it runs on vectors.
    std::uint32_t carried = 0;
    for (const float value : values)
        carried |= (std::bit_cast<std::uint32_t>(value) & kExponent) + (std::uint32_t{1} << 23);
    return carried >> 31 == 0;
}

void encode(Storage storage, std::span<const float> values, std::span<std::byte> bytes) {
    check_sizes(storage, values.size(), bytes.size());
    if (!all_finite(values)) {
        refuse(storage, *std::ranges::find_if(values, [](float value) { return !std::isfinite(value); }));
    }
    switch (storage) {
        case Storage::f32:
            if (!values.empty()) std::memcpy(bytes.data(), values.data(), values.size_bytes());
            return;
        case Storage::f16:
            for (std::size_t i = 0; i < values.size(); ++i) {
                const std::uint16_t half = float_to_half(values[i]);
                if (!is_finite_half(half)) refuse(storage, values[i]);
                put(bytes, i, half);
            }
            return;
        case Storage::bf16:
            for (std::size_t i = 0; i < values.size(); ++i) {
                const bf16 rounded(values[i]);
                if (!std::isfinite(static_cast<float>(rounded))) refuse(storage, values[i]);
                put(bytes, i, rounded.bits);
            }
            return;
        case Storage::q8_0:
            for (std::size_t i = 0; i < values.size() / kBlockValues; ++i)
                encode_block(values.subspan(i * kBlockValues, kBlockValues), bytes, i);
            return;
    }
}

void decode(Storage storage, std::span<const std::byte> bytes, std::span<float> values) {
    check_sizes(storage, values.size(), bytes.size());
    switch (storage) {
        case Storage::f32:
            if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
            return;
        case Storage::f16:
            for (std::size_t i = 0; i < values.size(); ++i)
                values[i] = half_to_float(get<std::uint16_t>(bytes, i));
            return;
        case Storage::bf16:
            for (std::size_t i = 0; i < values.size(); ++i) {
                bf16 value;
                value.bits = get<std::uint16_t>(bytes, i);
                values[i] = static_cast<float>(value);
            }
            return;
        case Storage::q8_0:
            for (std::size_t i = 0; i < values.size() / kBlockValues; ++i) {
                const auto block = get<Block>(bytes, i);
                const float scale = half_to_float(block.scale);
                for (std::size_t j = 0; j < kBlockValues; ++j)
                    values[i * kBlockValues + j] = static_cast<float>(block.quotients[j]) * scale;
            }
            return;
    }
}

}  // namespace sy::runtime
