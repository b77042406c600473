#include "tensor/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace tensor {
namespace {

constexpr DtypeInfo known[] = {
    {Dtype::f32, "F32", 1, 4, true},
    {Dtype::f16, "F16", 1, 2, true},
    {Dtype::q4_0, "Q4_0", 32, 18, true},
    {Dtype::q4_1, "Q4_1", 32, 20, true},
    {Dtype::q5_0, "Q5_0", 32, 22, true},
    {Dtype::q5_1, "Q5_1", 32, 24, true},
    {Dtype::q8_0, "Q8_0", 32, 34, true},
    {Dtype::q8_1, "Q8_1", 32, 36, false},
    {Dtype::q2_k, "Q2_K", 256, 84, true},
    {Dtype::q3_k, "Q3_K", 256, 110, true},
    {Dtype::q4_k, "Q4_K", 256, 144, true},
    {Dtype::q5_k, "Q5_K", 256, 176, true},
    {Dtype::q6_k, "Q6_K", 256, 210, true},
    {Dtype::q8_k, "Q8_K", 256, 292, false},
    {Dtype::iq2_xxs, "IQ2_XXS", 256, 66, true},
    {Dtype::iq2_xs, "IQ2_XS", 256, 74, true},
    {Dtype::iq3_xxs, "IQ3_XXS", 256, 98, true},
    {Dtype::iq1_s, "IQ1_S", 256, 50, true},
    {Dtype::iq4_nl, "IQ4_NL", 32, 18, true},
    {Dtype::iq3_s, "IQ3_S", 256, 110, true},
    {Dtype::iq2_s, "IQ2_S", 256, 82, true},
    {Dtype::iq4_xs, "IQ4_XS", 256, 136, true},
    {Dtype::i8, "I8", 1, 1, false},
    {Dtype::i16, "I16", 1, 2, false},
    {Dtype::i32, "I32", 1, 4, false},
    {Dtype::i64, "I64", 1, 8, false},
    {Dtype::f64, "F64", 1, 8, true},
    {Dtype::iq1_m, "IQ1_M", 256, 56, true},
    {Dtype::bf16, "BF16", 1, 2, true},
    {Dtype::tq1_0, "TQ1_0", 256, 54, true},
    {Dtype::tq2_0, "TQ2_0", 256, 66, true},
    {Dtype::mxfp4, "MXFP4", 32, 17, true},
    {Dtype::nvfp4, "NVFP4", 64, 36, true},
    {Dtype::f8_e4m3, "F8_E4M3", 1, 1, true},
    {Dtype::f8_e5m2, "F8_E5M2", 1, 1, true},
    {Dtype::u8, "U8", 1, 1, false},
    {Dtype::boolean, "BOOL", 1, 1, false},
    {Dtype::u16, "U16", 1, 2, false},
    {Dtype::u32, "U32", 1, 4, false},
    {Dtype::u64, "U64", 1, 8, false},
    {Dtype::f8_e8m0, "F8_E8M0", 1, 1, true},
    {Dtype::f8_scaled, "F8_E4M3_SCALED", f8_scaled_k, f8_scaled_bytes, true},
};

}  // namespace

std::optional<DtypeInfo> dtype_info(uint32_t id) {
  for (const DtypeInfo& entry : known) {
    if (static_cast<uint32_t>(entry.dtype) == id) return entry;
  }
  return std::nullopt;
}

const DtypeInfo& info(Dtype dtype) {
  // Place in `known` by id, so that decoders may ask for every block.
  static constexpr auto places = [] {
    std::array<int8_t, 64> table{};
    for (int8_t& place : table) place = -1;
    int8_t at = 0;
    for (const DtypeInfo& entry : known) {
      const auto id = static_cast<uint32_t>(entry.dtype);
      if (id < table.size()) table[id] = at;
      ++at;
    }
    return table;
  }();
  const auto id = static_cast<uint32_t>(dtype);
  if (id < places.size() && places[id] >= 0) return known[places[id]];
  for (const DtypeInfo& entry : known) {
    if (entry.dtype == dtype) return entry;
  }
  CHECK(false, "a Dtype is made only from an id that dtype_info knows");
  __builtin_unreachable();
}

uint64_t row_bytes(Dtype dtype, uint64_t elements) {
  const DtypeInfo& type = info(dtype);
  CHECK(elements % static_cast<uint64_t>(type.block_elements) == 0,
        "the caller checked that rows are whole blocks");
  return elements / static_cast<uint64_t>(type.block_elements) *
         static_cast<uint64_t>(type.block_bytes);
}

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) {
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  }
  // Subnormal: mantissa * 2^-24 is exact in f32.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  }
  if (magnitude >= 0x47800000u) return sign | 0x7c00u;  // 65536 and more, infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the unit is 2^-24: adding 0.5 makes the f32 adder round to that unit, and the
    // low mantissa bits of the sum are the result.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) & 0x7fffu));
  }
  const uint32_t odd = magnitude >> 13 & 1;
  const uint32_t rounded = magnitude - 0x38000000u + 0xfffu + odd;
  return static_cast<uint16_t>(sign | rounded >> 13);  // may carry into infinity, as it should
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

}  // namespace tensor
