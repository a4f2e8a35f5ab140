#include "runtime/interchange/storage.hpp"

#include <catch2/catch.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/core/error.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

std::vector<float> round_trip(Storage storage, const std::vector<float>& values) {
    std::vector<std::byte> bytes(
        static_cast<std::size_t>(storage_bytes(storage, static_cast<index_t>(values.size()))));
    encode(storage, values, bytes);
    std::vector<float> back(values.size(), -1.0F);
    decode(storage, bytes, back);
    return back;
}

}  // namespace

TEST_CASE("storage: every finite half survives the way over a float", "[unit]") {
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = half_to_float(half);
        if (std::isnan(value)) {
            CHECK(std::isnan(half_to_float(float_to_half(value))));
        } else if (float_to_half(value) != half) {
            FAIL("half " << bits << " is " << value << ", which became " << float_to_half(value));
        }
    }
}

TEST_CASE("storage: what lies between two halves goes to the nearer one, and to the even one from the middle",
          "[unit]") {
    for (std::uint32_t bits = 0; bits < 0x7bffU; ++bits) {
        const double low = half_to_float(static_cast<std::uint16_t>(bits));
        const double high = half_to_float(static_cast<std::uint16_t>(bits + 1));
        const auto middle = static_cast<float>((low + high) / 2);
        const std::uint32_t even = bits % 2 == 0 ? bits : bits + 1;
        const bool right =
            float_to_half(middle) == even && float_to_half(std::nextafter(middle, 0.0F)) == bits &&
            float_to_half(std::nextafter(middle, std::numeric_limits<float>::infinity())) == bits + 1;
        if (!right) FAIL("between the halves " << bits << " and " << bits + 1);
    }
    CHECK(float_to_half(65519.996F) == 0x7bffU);
    CHECK(float_to_half(65520.0F) == 0x7c00U);
    CHECK(float_to_half(-1e30F) == 0xfc00U);
    CHECK(float_to_half(-0.0F) == 0x8000U);
}

TEST_CASE("storage: f32 keeps every bit, f16 and bf16 their own values", "[unit]") {
    const std::vector<float> values = {0.0F, -0.0F, 1.0F, -2.5F, 0.15625F, 1024.0F};
    for (const Storage storage : {Storage::f32, Storage::f16, Storage::bf16}) {
        const std::vector<float> back = round_trip(storage, values);
        for (std::size_t i = 0; i < values.size(); ++i) {
            INFO(storage_name(storage) << " " << values[i]);
            CHECK(std::bit_cast<std::uint32_t>(back[i]) == std::bit_cast<std::uint32_t>(values[i]));
        }
    }
}

TEST_CASE("storage: q8_0 is off by half a step of its block at most, and by that of the scale's rounding",
          "[unit]") {
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0.0F, 0.02F);
    std::vector<float> values(kBlockValues * 20);
    for (float& value : values) value = normal(random);
    std::fill(values.begin() + 32, values.begin() + 64, 0.0F);
    std::fill(values.begin() + 64, values.begin() + 96, 1e-41F);  // whose scale has no inverse
    const std::vector<float> back = round_trip(Storage::q8_0, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t begin = i / kBlockValues * kBlockValues;
        float greatest = 0.0F;
        for (std::size_t j = begin; j < begin + kBlockValues; ++j)
            greatest = std::max(greatest, std::abs(values[j]));
        CHECK(std::abs(back[i] - values[i]) <= greatest * (0.5F / 127.0F + 0x1p-11F) + 1e-7F);
    }
    CHECK(back[40] == 0.0F);
    CHECK(back[70] == 0.0F);
}

TEST_CASE("storage: values that would not stay finite are refused", "[unit]") {
    std::array<float, kBlockValues> values = {};
    std::array<std::byte, 128> bytes = {};
    const auto encode_with = [&](Storage storage, float value) {
        values[3] = value;
        encode(storage, values,
               std::span(bytes).first(static_cast<std::size_t>(storage_bytes(storage, kBlockValues))));
    };
    for (const Storage storage : kStorages) {
        CHECK_THROWS_AS(encode_with(storage, std::numeric_limits<float>::quiet_NaN()), IoError);
        CHECK_THROWS_AS(encode_with(storage, -std::numeric_limits<float>::infinity()), IoError);
    }
    CHECK_THROWS_WITH(encode_with(Storage::f16, 70000.0F),
                      "the value 70000 cannot be stored as f16; store it as f32 or bf16");
    CHECK_THROWS_AS(encode_with(Storage::bf16, 3.4e38F), IoError);
    CHECK_THROWS_AS(encode_with(Storage::q8_0, 1e7F), IoError);
    CHECK_NOTHROW(encode_with(Storage::f32, 3.4e38F));
}

TEST_CASE("storage: names are those of --dtype", "[unit]") {
    for (const Storage storage : kStorages) CHECK(parse_storage(storage_name(storage)) == storage);
    CHECK_THROWS_WITH(parse_storage("int4"), "unknown dtype 'int4'; write f32, f16, bf16 or q8_0");
    CHECK_THROWS_AS(storage_bytes(Storage::q8_0, 33), LogicError);
}
