// Element types of weight files: their ids are ggml's, since files carry them. A block is the least
// piece of a row that can be decoded alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace tensor {

enum class Dtype : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q8_1 = 9,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  q8_k = 15,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  // Types that only safetensors has; numbered away from ggml's.
  f8_e4m3 = 1000,
  f8_e5m2 = 1001,
  u8 = 1002,
  boolean = 1003,
  u16 = 1004,
  u32 = 1005,
  u64 = 1006,
  f8_e8m0 = 1007,
  // In memory only: the f32 that a block of an FP8 checkpoint is multiplied with, then 128 F8_E4M3
  // of a row. f32(code) * scale, rounded once, is the weight; codes that are no number do not
  // occur.
  f8_scaled = 1008
};
inline constexpr int f8_scaled_k = 128, f8_scaled_bytes = 132;

struct DtypeInfo {
  Dtype dtype;
  std::string_view name;  // as ggml or safetensors print it: "Q4_K", "BF16"
  int block_elements;
  int block_bytes;
  bool dequantizable;  // decode_row() can turn it into f32
};

// Nothing for an id that is retired or unknown.
std::optional<DtypeInfo> dtype_info(uint32_t id);
const DtypeInfo& info(Dtype dtype);  // CHECKs that it is known

// Bytes of a row of `elements`; `elements` must be a multiple of the block (callers check the file
// first). 64-bit checked by the caller: elements <= 2^40.
uint64_t row_bytes(Dtype dtype, uint64_t elements);

// Decodes `elements` weights exactly as ggml does, f32 rounding included.
void decode_row(Dtype dtype, const uint8_t* blocks, float* out /* (elements) */, int64_t elements);

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);  // round to nearest even
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);  // round to nearest even

}  // namespace tensor
