// The code books of the IQ block types. An entry is one group of weights: 8 elements of 2 bits
// (iq2, iq1) or 4 elements of 3 bits (iq3), element 0 in the lowest bits; a value list turns an
// element into a magnitude.
#pragma once

#include <cstdint>

namespace tensor {

extern const uint16_t iq2_xxs_grid[256];
extern const uint16_t iq2_xs_grid[512];
extern const uint16_t iq2_s_grid[1024];
extern const uint16_t iq3_xxs_grid[256];
extern const uint16_t iq3_s_grid[512];
extern const uint16_t iq1_grid[2048];

inline constexpr int8_t iq2_values[4] = {8, 25, 43, 0};
inline constexpr int8_t iq3_xxs_values[8] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr int8_t iq3_s_values[8] = {1, 3, 5, 7, 9, 11, 13, 15};
inline constexpr int8_t iq1_values[4] = {-1, 0, 1, 0};

}  // namespace tensor
