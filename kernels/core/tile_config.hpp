#pragma once

#include <cstdint>

namespace sy {

/// What the tile registers of AMX hold: eight whole tiles of 16 rows of 64 bytes. It must be a constant of the program when
/// it is loaded: of a local one GCC 12 stores only the first word.
struct alignas(64) TileConfig {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
inline constexpr TileConfig kWholeTiles;

}  // namespace sy
