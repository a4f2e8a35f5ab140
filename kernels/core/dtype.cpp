#include "kernels/core/dtype.hpp"

#include <array>
#include <string>

namespace sy {
namespace {

struct Entry {
    DType dtype;
    std::string_view name;
    index_t bytes;
};

constexpr std::array kEntries{
    Entry{DType::f32, "f32", 4}, Entry{DType::bf16, "bf16", 2},         Entry{DType::f64, "f64", 8},
    Entry{DType::f16, "f16", 2}, Entry{DType::i32, "i32", 4},           Entry{DType::i64, "i64", 8},
    Entry{DType::u8, "u8", 1},   Entry{DType::fp8_e4m3, "fp8_e4m3", 1}, Entry{DType::fp8_e5m2, "fp8_e5m2", 1},
};

const Entry& entry_of(DType dtype) {
    for (const Entry& entry : kEntries) {
        if (entry.dtype == dtype) return entry;
    }
    throw LogicError(concat("dtype: unknown value ", static_cast<int>(dtype)));
}

}  // namespace

index_t dtype_bytes(DType dtype) {
    return entry_of(dtype).bytes;
}

std::string_view dtype_name(DType dtype) {
    return entry_of(dtype).name;
}

void check_computable(DType dtype) {
    SY_REQUIRE(dtype == DType::f32 || dtype == DType::bf16, "dtype: ", dtype_name(dtype),
               " cannot be computed with");
}

DType parse_dtype(std::string_view name) {
    std::string known;
    for (const Entry& entry : kEntries) {
        if (entry.name == name) return entry.dtype;
        known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw ConfigError(concat("dtype: '", name, "' is not one of ", known));
}

}  // namespace sy
