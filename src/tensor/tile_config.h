// What the tiles of AMX are told before their first product; for files of kernels only.
#pragma once

#include <cstdint>

namespace tensor {

// What LDTILECFG reads (Intel's manual, volume 1, chapter 18). Tiles belong to a thread.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void shape(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
  // GCC's _tile_loadconfig claims to read eight bytes, and the rest is lost.
  void load() const { asm volatile("ldtilecfg %0" ::"m"(*this)); }
};

}  // namespace tensor
