// Encoders of single blocks, by type. encode_row() in encode.h is the door; these are its parts.
// Every weight is finite and at most encodable_abs_max.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace tensor::encoding {

using EncodeBlock = void (*)(const float* in /* (block_elements) */, uint8_t* block);
EncodeBlock k_block_encoder(Dtype dtype);  // Q2_K to Q6_K; nullptr for others

inline void store_f16(uint8_t* to, float value) {
  const uint16_t bits = f32_to_f16(value);
  std::memcpy(to, &bits, sizeof bits);
}
inline float as_f16(float value) { return f16_to_f32(f32_to_f16(value)); }

}  // namespace tensor::encoding
