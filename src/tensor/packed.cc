// The packed layouts. "quad" = 4 consecutive k in one dword; a 64-byte line is 16 rows x 4 bytes,
// so that dword r of it belongs to row r. Every line is 64-byte aligned.
//
//   nibble body (32 k, 256 B)  byte 64*i + 4*r + c, i < 4, c < 4:
//                              low nibble = code[r][4i + c], high nibble = code[r][16 + 4i + c]
//   fifth bits  (32 k, 64 B)   byte 4*r + c: bit i = fifth bit of code[r][4i + c], i < 8
//
//   Q4_0  unit of 2 blocks, 576 B:   d f16[16] of block 0 | d f16[16] of block 1 | 2 nibble bodies
//   Q5_0  unit of 2 blocks, 704 B:   the same header | 2 x (fifth bits | nibble body)
//   Q8_0  unit of 2 blocks, 1088 B:  the same header | 2 bodies of 512 B:
//                                    byte 64*i + 4*r + c = q[r][4i + c] XOR 0x80, i < 8
//   Q4_1  unit of 1 block, 320 B:    d f16[16] | m f16[16] | nibble body
//   Q5_1  unit of 1 block, 384 B:    d f16[16] | m f16[16] | fifth bits | nibble body
//   Q4_K  unit of 256 k, 2304 B:     scale lines (256 B) | 8 nibble bodies
//   Q5_K  unit of 256 k, 2816 B:     scale lines | 8 x (fifth bits | nibble body)
//         scale lines A B C of 64 B; low six bits: A[16j+r] = sc_j (j<4), B[16j+r] = sc_{4+j},
//         C[32p+2r+c] = mn_{2p+c} (p<2, c<2); top two bits of A, B, C at 32p+2r+c = bits 0-1, 2-3,
//         4-5 of mn_{4+2p+c}; then d f16[16] | dmin f16[16]
//   Q6_K  unit of 2 superblocks, 6720 B: d f16[16] of each | 2 bodies of 3328 B:
//         scale i8 [16][16 rows], then 4 groups of 64 k, 768 B: lines L0 H0 L1 H1 L2 H2 L3 H3 L4
//         L5 L6 L7; Li[4r+c]: low nibble = low4(4i+c), high = low4(32+4i+c);
//         Hm[4r+c]: bits 2z..2z+1 = high2(4(m+4z)+c), z<4
//   IQ4_NL as Q4_0
//   MXFP4  unit of 4 blocks, 1088 B: e u8 [16] of each | 4 nibble bodies
//   IQ4_XS unit of 256 k, 2176 B:    L[16p + r], p < 4: low nibble = low4 of scale p, high nibble =
//          of scale 4 + p | d f16[16] | the file's high bits of the scales, u16[16] | 8 nibble
//          bodies
//   Q2_K   unit of 256 k, 1344 B:    d f16[16] | dmin f16[16] | the file's scale bytes [16][16
//          rows] | 4 groups of 64 k, 4 lines: Cm[4r+c]: bits 2z..2z+1 = code[4(m+4z)+c], z<4
//   Q3_K   unit of 2 superblocks, 3520 B: d f16[16] of each | 2 bodies of 1728 B:
//          scale lines A B C, low six bits: scales 0-3, 4-7, 8-11 at 16(j%4)+r, top two bits of A,
//          B, C at the same place = bits 0-1, 2-3, 4-5 of scale 12 + j%4; then 4 groups of 64 k,
//          lines B0 C0 C1 C2 C3 B1: C as in Q2_K, Be[4r+c]: bit i = high bit of code[32e+4i+c]
//   FP8    unit of 2 blocks of 128, 4224 B: scale f32[16] of each | 2 bodies of codes [k][16 rows]
//   F32, F16, BF16  unit of 256 k: [k][16 rows]
//
// The lines of a unit stand in the order in which the kernels read them: memory gives twice as much
// to a stream that it can foresee. No byte more than the file has, except half a header where a row
// has an odd number of blocks. Packing is a permutation of bits: unpack_rows() gives the file's
// bytes back. All other types (code books, ternary, NVFP4) stay as the file has them, row by row.
#include "tensor/packed.h"

#include <cstring>

#include "base/check.h"
#include "tensor/decode.h"
#include "tensor/layout.h"

namespace tensor {
namespace {

constexpr int line_bytes = 64;
constexpr uint32_t low_nibbles = 0x0f0f0f0f;
constexpr uint32_t low_crumbs = 0x03030303;

uint8_t* row_dword(uint8_t* body, int line, int r) { return body + line_bytes * line + 4 * r; }
const uint8_t* row_dword(const uint8_t* body, int line, int r) {
  return body + line_bytes * line + 4 * r;
}

// Bits 0, 4, 8 .. 28 of x as the 8 low bits, and back.
uint8_t every_fourth_bit(uint32_t x) {
  x &= 0x11111111;
  x = (x | x >> 3) & 0x03030303;
  x = (x | x >> 6) & 0x000f000f;
  return static_cast<uint8_t>(x | x >> 12);
}
uint32_t to_every_fourth_bit(uint32_t x) {
  x = (x | x << 12) & 0x000f000f;
  x = (x | x << 6) & 0x03030303;
  return (x | x << 3) & 0x11111111;
}

// The 16 bytes of a Q4_0-like block already pair k with k + 16.
void pack_nibbles(const uint8_t* q, uint8_t* body, int r) {
  for (int i = 0; i < 4; ++i) std::memcpy(row_dword(body, i, r), q + 4 * i, 4);
}
void unpack_nibbles(const uint8_t* body, int r, uint8_t* q) {
  for (int i = 0; i < 4; ++i) std::memcpy(q + 4 * i, row_dword(body, i, r), 4);
}

// Bit k of `bits` is the fifth bit of element k.
void pack_fifth_bits(uint32_t bits, uint8_t* line, int r) {
  for (int c = 0; c < 4; ++c) line[4 * r + c] = every_fourth_bit(bits >> c);
}
uint32_t unpack_fifth_bits(const uint8_t* line, int r) {
  uint32_t bits = 0;
  for (int c = 0; c < 4; ++c) bits |= to_every_fourth_bit(line[4 * r + c]) << c;
  return bits;
}

// Q4_K and Q5_K keep 64 k in 32 bytes (low nibbles first): re-pair k with k + 16.
void pack_k_nibbles(const uint8_t* q /* (32) */, uint8_t* first, uint8_t* second, int r) {
  for (int i = 0; i < 4; ++i) {
    const uint32_t a = load_u32(q + 4 * i);
    const uint32_t b = load_u32(q + 16 + 4 * i);
    store_u32(row_dword(first, i, r), (a & low_nibbles) | (b & low_nibbles) << 4);
    store_u32(row_dword(second, i, r), (a >> 4 & low_nibbles) | (b & ~low_nibbles));
  }
}
void unpack_k_nibbles(const uint8_t* first, const uint8_t* second, int r, uint8_t* q) {
  for (int i = 0; i < 4; ++i) {
    const uint32_t low = load_u32(row_dword(first, i, r));
    const uint32_t high = load_u32(row_dword(second, i, r));
    store_u32(q + 4 * i, (low & low_nibbles) | (high & low_nibbles) << 4);
    store_u32(q + 16 + 4 * i, (low >> 4 & low_nibbles) | (high & ~low_nibbles));
  }
}

void pack_k_scales(const uint8_t* block, uint8_t* lines, int r) {
  uint8_t* a = lines;
  uint8_t* b = lines + line_bytes;
  uint8_t* c = lines + 2 * line_bytes;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin part = k_scale_min(block + 4, j);
    lines[16 * j + r] |= part.scale;
    const int at = 32 * (j % 4 / 2) + 2 * r + j % 2;
    if (j < 4) {
      c[at] |= part.minimum;
    } else {
      a[at] |= static_cast<uint8_t>((part.minimum & 3) << 6);
      b[at] |= static_cast<uint8_t>((part.minimum >> 2 & 3) << 6);
      c[at] |= static_cast<uint8_t>((part.minimum >> 4) << 6);
    }
  }
  std::memcpy(lines + 192 + 2 * r, block, 2);
  std::memcpy(lines + 224 + 2 * r, block + 2, 2);
}
void unpack_k_scales(const uint8_t* lines, int r, uint8_t* block) {
  const uint8_t* a = lines;
  const uint8_t* b = lines + line_bytes;
  const uint8_t* c = lines + 2 * line_bytes;
  std::memcpy(block, lines + 192 + 2 * r, 2);
  std::memcpy(block + 2, lines + 224 + 2 * r, 2);
  uint8_t* s = block + 4;
  for (int j = 0; j < 4; ++j) {
    const int at = 32 * (j / 2) + 2 * r + j % 2;
    const int low_scale = lines[16 * j + r] & 63;
    const int high_scale = lines[16 * (4 + j) + r] & 63;
    const int low_min = c[at] & 63;
    const int high_min = a[at] >> 6 | (b[at] >> 6) << 2 | (c[at] >> 6) << 4;
    s[j] = static_cast<uint8_t>(low_scale | (high_scale >> 4) << 6);
    s[j + 4] = static_cast<uint8_t>(low_min | (high_min >> 4) << 6);
    s[j + 8] = static_cast<uint8_t>((high_scale & 15) | (high_min & 15) << 4);
  }
}

// Of Q5_K and Q3_K: byte l of qh has in bit j the highest bit of element 32j + l.
uint32_t k_fifth_bits(const uint8_t* qh, int j) {
  uint32_t bits = 0;
  for (int l = 0; l < 32; ++l) bits |= static_cast<uint32_t>(qh[l] >> j & 1) << l;
  return bits;
}
void store_k_fifth_bits(uint32_t bits, int j, uint8_t* qh /* zero at first */) {
  for (int l = 0; l < 32; ++l) qh[l] |= static_cast<uint8_t>((bits >> l & 1) << j);
}

void pack_q5_k(const uint8_t* block, uint8_t* body, int r) {
  constexpr int step = nibble_body_bytes + fifth_bits_bytes;
  for (int g = 0; g < 4; ++g) {
    uint8_t* first = body + k_scale_bytes + 2 * g * step + fifth_bits_bytes;
    pack_k_nibbles(block + 48 + 32 * g, first, first + step, r);
  }
  for (int j = 0; j < 8; ++j) {
    pack_fifth_bits(k_fifth_bits(block + 16, j), body + k_scale_bytes + j * step, r);
  }
  pack_k_scales(block, body, r);
}
void unpack_q5_k(const uint8_t* body, int r, uint8_t* block) {
  constexpr int step = nibble_body_bytes + fifth_bits_bytes;
  unpack_k_scales(body, r, block);
  std::memset(block + 16, 0, 32);
  for (int g = 0; g < 4; ++g) {
    const uint8_t* first = body + k_scale_bytes + 2 * g * step + fifth_bits_bytes;
    unpack_k_nibbles(first, first + step, r, block + 48 + 32 * g);
  }
  for (int j = 0; j < 8; ++j) {
    store_k_fifth_bits(unpack_fifth_bits(body + k_scale_bytes + j * step, r), j, block + 16);
  }
}

// Two bits each of 64 k, in the file 128 k in 32 bytes: group g (of 64) of q, quads m, m + 4, m +
// 8, m + 12 of it.
uint32_t pack_crumbs(const uint8_t* q /* (64) */, int g, int m) {
  const uint8_t* from = q + 32 * (g / 2) + 4 * m;
  const uint32_t a = load_u32(from) >> (4 * (g % 2));
  const uint32_t b = load_u32(from + 16) >> (4 * (g % 2));
  return (a & low_crumbs) | (b & low_crumbs) << 2 | (a >> 2 & low_crumbs) << 4 |
         (b >> 2 & low_crumbs) << 6;
}
void unpack_crumbs(uint32_t crumbs, int g, int m, uint8_t* q /* (64), zero at first */) {
  uint8_t* to = q + 32 * (g / 2) + 4 * m;
  const uint32_t a = (crumbs & low_crumbs) | (crumbs >> 4 & low_crumbs) << 2;
  const uint32_t b = (crumbs >> 2 & low_crumbs) | (crumbs >> 6 & low_crumbs) << 2;
  store_u32(to, load_u32(to) | a << (4 * (g % 2)));
  store_u32(to + 16, load_u32(to + 16) | b << (4 * (g % 2)));
}

void pack_q6_k(const uint8_t* block, uint8_t* body, int r) {
  for (int g = 0; g < 4; ++g) {
    const uint8_t* ql = block + 64 * (g / 2);
    const int shift = 4 * (g % 2);
    uint8_t* lines = body + k_scale_bytes + q6_k_group_bytes * g;
    for (int i = 0; i < 8; ++i) {
      const uint32_t first = load_u32(ql + 4 * i) >> shift & low_nibbles;
      const uint32_t second = load_u32(ql + 32 + 4 * i) >> shift & low_nibbles;
      store_u32(row_dword(lines, q6_k_low_line(i), r), first | second << 4);
    }
    for (int m = 0; m < 4; ++m) {
      store_u32(row_dword(lines, q6_k_high_line(m), r), pack_crumbs(block + 128, g, m));
    }
  }
  for (int j = 0; j < 16; ++j) body[16 * j + r] = block[192 + j];
}
void unpack_q6_k(const uint8_t* body, int r, uint8_t* block) {
  std::memset(block, 0, 192);
  for (int g = 0; g < 4; ++g) {
    uint8_t* ql = block + 64 * (g / 2);
    const int shift = 4 * (g % 2);
    const uint8_t* lines = body + k_scale_bytes + q6_k_group_bytes * g;
    for (int i = 0; i < 8; ++i) {
      const uint32_t both = load_u32(row_dword(lines, q6_k_low_line(i), r));
      store_u32(ql + 4 * i, load_u32(ql + 4 * i) | (both & low_nibbles) << shift);
      store_u32(ql + 32 + 4 * i, load_u32(ql + 32 + 4 * i) | (both >> 4 & low_nibbles) << shift);
    }
    for (int m = 0; m < 4; ++m) {
      unpack_crumbs(load_u32(row_dword(lines, q6_k_high_line(m), r)), g, m, block + 128);
    }
  }
  for (int j = 0; j < 16; ++j) block[192 + j] = body[16 * j + r];
}

void pack_q2_k(const uint8_t* block, uint8_t* unit, int r) {
  std::memcpy(unit + 2 * r, block + 80, 2);
  std::memcpy(unit + 32 + 2 * r, block + 82, 2);
  for (int j = 0; j < 16; ++j) unit[q2_k_scales_at + 16 * j + r] = block[j];
  for (int i = 0; i < 16; ++i) {
    store_u32(row_dword(unit + q2_k_codes_at, i, r), pack_crumbs(block + 16, i / 4, i % 4));
  }
}
void unpack_q2_k(const uint8_t* unit, int r, uint8_t* block) {
  std::memset(block + 16, 0, 64);
  for (int j = 0; j < 16; ++j) block[j] = unit[q2_k_scales_at + 16 * j + r];
  for (int i = 0; i < 16; ++i) {
    unpack_crumbs(load_u32(row_dword(unit + q2_k_codes_at, i, r)), i / 4, i % 4, block + 16);
  }
  std::memcpy(block + 80, unit + 2 * r, 2);
  std::memcpy(block + 82, unit + 32 + 2 * r, 2);
}

void pack_q3_k(const uint8_t* block, uint8_t* body, int r) {
  for (int j = 0; j < 16; ++j) {
    const int scale = q3_k_scale(block + 96, j);
    if (j < 12) {
      body[16 * j + r] |= static_cast<uint8_t>(scale);
      continue;
    }
    for (int line = 0; line < 3; ++line) {
      body[line_bytes * line + 16 * (j - 12) + r] |=
          static_cast<uint8_t>((scale >> (2 * line) & 3) << 6);
    }
  }
  for (int g = 0; g < 4; ++g) {
    uint8_t* lines = body + q3_k_scale_bytes + q3_k_group_bytes * g;
    for (int m = 0; m < 4; ++m) {
      store_u32(row_dword(lines, q3_k_low_line(m), r), pack_crumbs(block + 32, g, m));
    }
    for (int e = 0; e < 2; ++e) {
      pack_fifth_bits(k_fifth_bits(block, 2 * g + e), row_dword(lines, q3_k_high_line(e), 0), r);
    }
  }
}
void unpack_q3_k(const uint8_t* body, int r, uint8_t* block) {
  std::memset(block, 0, 108);
  for (int j = 0; j < 16; ++j) {
    int scale = body[16 * (j % 12) + r] & 63;
    if (j >= 12) {
      scale = 0;
      for (int line = 0; line < 3; ++line) {
        scale |= (body[line_bytes * line + 16 * (j - 12) + r] >> 6) << (2 * line);
      }
    }
    block[96 + j % 8] |= static_cast<uint8_t>((scale & 15) << (j < 8 ? 0 : 4));
    block[104 + j % 4] |= static_cast<uint8_t>((scale >> 4) << (2 * (j / 4)));
  }
  for (int g = 0; g < 4; ++g) {
    const uint8_t* lines = body + q3_k_scale_bytes + q3_k_group_bytes * g;
    for (int m = 0; m < 4; ++m) {
      unpack_crumbs(load_u32(row_dword(lines, q3_k_low_line(m), r)), g, m, block + 32);
    }
    for (int e = 0; e < 2; ++e) {
      const uint32_t bits = unpack_fifth_bits(row_dword(lines, q3_k_high_line(e), 0), r);
      store_k_fifth_bits(bits, 2 * g + e, block);
    }
  }
}

void pack_iq4_xs(const uint8_t* block, uint8_t* unit, int r) {
  for (int p = 0; p < 4; ++p) {
    const int low = block[4 + p / 2] >> (4 * (p % 2)) & 15;
    const int high = block[6 + p / 2] >> (4 * (p % 2)) & 15;
    unit[16 * p + r] = static_cast<uint8_t>(low | high << 4);
  }
  std::memcpy(unit + 64 + 2 * r, block, 2);
  std::memcpy(unit + 96 + 2 * r, block + 2, 2);
  for (int j = 0; j < 8; ++j) {
    pack_nibbles(block + 8 + 16 * j, unit + iq4_xs_codes_at + j * nibble_body_bytes, r);
  }
}
void unpack_iq4_xs(const uint8_t* unit, int r, uint8_t* block) {
  std::memcpy(block, unit + 64 + 2 * r, 2);
  std::memcpy(block + 2, unit + 96 + 2 * r, 2);
  for (int i = 0; i < 2; ++i) {
    const int first = unit[16 * (2 * i) + r], second = unit[16 * (2 * i + 1) + r];
    block[4 + i] = static_cast<uint8_t>((first & 15) | (second & 15) << 4);
    block[6 + i] = static_cast<uint8_t>(first >> 4 | (second >> 4) << 4);
  }
  for (int j = 0; j < 8; ++j) {
    unpack_nibbles(unit + iq4_xs_codes_at + j * nibble_body_bytes, r, block + 8 + 16 * j);
  }
}

// Block b of a unit, lane r, from and to the file's bytes.
void pack_block_into(Dtype dtype, uint8_t* unit, int b, int r, const uint8_t* block) {
  const Layout& layout = layout_of(dtype);
  uint8_t* body = unit + layout.header_bytes + b * layout.body_bytes;
  switch (dtype) {
    case Dtype::q4_0:
    case Dtype::iq4_nl:
      std::memcpy(unit + 32 * b + 2 * r, block, 2);
      pack_nibbles(block + 2, body, r);
      return;
    case Dtype::q5_0:
      std::memcpy(unit + 32 * b + 2 * r, block, 2);
      pack_fifth_bits(load_u32(block + 2), body, r);
      pack_nibbles(block + 6, body + fifth_bits_bytes, r);
      return;
    case Dtype::q8_0:
      std::memcpy(unit + 32 * b + 2 * r, block, 2);
      for (int i = 0; i < 8; ++i) {
        store_u32(row_dword(body, i, r), load_u32(block + 2 + 4 * i) ^ 0x80808080u);
      }
      return;
    case Dtype::q4_1:
    case Dtype::q5_1:
      std::memcpy(unit + 2 * r, block, 2);
      std::memcpy(unit + 32 + 2 * r, block + 2, 2);
      if (dtype == Dtype::q5_1) {
        pack_fifth_bits(load_u32(block + 4), body, r);
        pack_nibbles(block + 8, body + fifth_bits_bytes, r);
      } else {
        pack_nibbles(block + 4, body, r);
      }
      return;
    case Dtype::q4_k:
      for (int g = 0; g < 4; ++g) {
        uint8_t* first = body + k_scale_bytes + 2 * g * nibble_body_bytes;
        pack_k_nibbles(block + 16 + 32 * g, first, first + nibble_body_bytes, r);
      }
      pack_k_scales(block, body, r);
      return;
    case Dtype::q5_k:
      pack_q5_k(block, body, r);
      return;
    case Dtype::mxfp4:
      unit[16 * b + r] = block[0];
      pack_nibbles(block + 1, body, r);
      return;
    case Dtype::iq4_xs:
      pack_iq4_xs(block, body, r);
      return;
    case Dtype::q2_k:
      pack_q2_k(block, body, r);
      return;
    case Dtype::q3_k:
      std::memcpy(unit + 32 * b + 2 * r, block + 108, 2);
      pack_q3_k(block, body, r);
      return;
    case Dtype::q6_k:
      std::memcpy(unit + 32 * b + 2 * r, block + 208, 2);
      pack_q6_k(block, body, r);
      return;
    case Dtype::f8_scaled:
      std::memcpy(unit + 64 * b + 4 * r, block, 4);
      for (int k = 0; k < f8_scaled_k; ++k) body[half_rows * k + r] = block[4 + k];
      return;
    default:
      CHECK(false, "only types with a packed layout come here");
  }
}

void unpack_block_from(Dtype dtype, const uint8_t* unit, int b, int r, uint8_t* block) {
  const Layout& layout = layout_of(dtype);
  const uint8_t* body = unit + layout.header_bytes + b * layout.body_bytes;
  switch (dtype) {
    case Dtype::q4_0:
    case Dtype::iq4_nl:
      std::memcpy(block, unit + 32 * b + 2 * r, 2);
      unpack_nibbles(body, r, block + 2);
      return;
    case Dtype::q5_0:
      std::memcpy(block, unit + 32 * b + 2 * r, 2);
      store_u32(block + 2, unpack_fifth_bits(body, r));
      unpack_nibbles(body + fifth_bits_bytes, r, block + 6);
      return;
    case Dtype::q8_0:
      std::memcpy(block, unit + 32 * b + 2 * r, 2);
      for (int i = 0; i < 8; ++i) {
        store_u32(block + 2 + 4 * i, load_u32(row_dword(body, i, r)) ^ 0x80808080u);
      }
      return;
    case Dtype::q4_1:
    case Dtype::q5_1:
      std::memcpy(block, unit + 2 * r, 2);
      std::memcpy(block + 2, unit + 32 + 2 * r, 2);
      if (dtype == Dtype::q5_1) {
        store_u32(block + 4, unpack_fifth_bits(body, r));
        unpack_nibbles(body + fifth_bits_bytes, r, block + 8);
      } else {
        unpack_nibbles(body, r, block + 4);
      }
      return;
    case Dtype::q4_k:
      unpack_k_scales(body, r, block);
      for (int g = 0; g < 4; ++g) {
        const uint8_t* first = body + k_scale_bytes + 2 * g * nibble_body_bytes;
        unpack_k_nibbles(first, first + nibble_body_bytes, r, block + 16 + 32 * g);
      }
      return;
    case Dtype::q5_k:
      unpack_q5_k(body, r, block);
      return;
    case Dtype::mxfp4:
      block[0] = unit[16 * b + r];
      unpack_nibbles(body, r, block + 1);
      return;
    case Dtype::iq4_xs:
      unpack_iq4_xs(body, r, block);
      return;
    case Dtype::q2_k:
      unpack_q2_k(body, r, block);
      return;
    case Dtype::q3_k:
      unpack_q3_k(body, r, block);
      std::memcpy(block + 108, unit + 32 * b + 2 * r, 2);
      return;
    case Dtype::q6_k:
      std::memcpy(block + 208, unit + 32 * b + 2 * r, 2);
      unpack_q6_k(body, r, block);
      return;
    case Dtype::f8_scaled:
      std::memcpy(block, unit + 64 * b + 4 * r, 4);
      for (int k = 0; k < f8_scaled_k; ++k) block[4 + k] = body[half_rows * k + r];
      return;
    default:
      CHECK(false, "only types with a packed layout come here");
  }
}

bool is_element_type(Dtype dtype) { return layout_of(dtype).block_k == 1; }

int64_t half_bytes(const Layout& layout, int64_t cols) {
  const int64_t blocks = cols / layout.block_k;
  const int64_t rest = blocks % layout.unit_blocks;
  return blocks / layout.unit_blocks * layout.unit_bytes(layout.unit_blocks) +
         (rest != 0 ? layout.unit_bytes(rest) : 0);
}

void pack_element_row(const PackedMatrix& matrix, const HalfView& half, int r,
                      const uint8_t* file_row) {
  const int size = info(matrix.dtype).block_bytes;
  for (int64_t k = 0; k < matrix.cols; ++k) {
    auto* unit = const_cast<uint8_t*>(half.unit(k / superblock_k));
    std::memcpy(unit + (k % superblock_k * half_rows + r) * size, file_row + k * size,
                static_cast<size_t>(size));
  }
}

}  // namespace

const Layout& layout_of(Dtype dtype) {
  static constexpr Layout q4_0{32, 2, 64, 256};
  static constexpr Layout q5_0{32, 2, 64, 320};
  static constexpr Layout q8_0{32, 2, 64, 512};
  static constexpr Layout q4_1{32, 1, 64, 256};
  static constexpr Layout q5_1{32, 1, 64, 320};
  static constexpr Layout q4_k{256, 1, 0, 2304};
  static constexpr Layout q5_k{256, 1, 0, 2816};
  static constexpr Layout q6_k{256, 2, 64, q6_k_body_bytes};
  static constexpr Layout q2_k{256, 1, 0, 1344};
  static constexpr Layout q3_k{256, 2, 64, q3_k_body_bytes};
  static constexpr Layout iq4_xs{256, 1, 0, 2176};
  static constexpr Layout mxfp4{32, 4, 64, 256};
  static constexpr Layout f8{f8_scaled_k, 2, 128, f8_scaled_k * half_rows};
  static constexpr Layout f32{1, superblock_k, 0, half_rows * 4};
  static constexpr Layout f16{1, superblock_k, 0, half_rows * 2};
  static constexpr Layout none{};
  switch (dtype) {
    case Dtype::q4_0:
    case Dtype::iq4_nl:
      return q4_0;
    case Dtype::q5_0:
      return q5_0;
    case Dtype::q8_0:
      return q8_0;
    case Dtype::q4_1:
      return q4_1;
    case Dtype::q5_1:
      return q5_1;
    case Dtype::q4_k:
      return q4_k;
    case Dtype::q5_k:
      return q5_k;
    case Dtype::q6_k:
      return q6_k;
    case Dtype::q2_k:
      return q2_k;
    case Dtype::q3_k:
      return q3_k;
    case Dtype::iq4_xs:
      return iq4_xs;
    case Dtype::mxfp4:
      return mxfp4;
    case Dtype::f8_scaled:
      return f8;
    case Dtype::f32:
      return f32;
    case Dtype::f16:
    case Dtype::bf16:
      return f16;
    default:
      return none;
  }
}

uint64_t packed_bytes(Dtype dtype, int64_t rows, int64_t cols) {
  CHECK(rows > 0 && cols > 0, "the loader refuses empty tensors");
  const Layout& layout = layout_of(dtype);
  if (layout.block_k == 0) {
    const uint64_t bytes = static_cast<uint64_t>(rows) * row_bytes(dtype, cols);
    return (bytes + 63) / 64 * 64;
  }
  CHECK(cols % info(dtype).block_elements == 0, "the caller checked that rows are whole blocks");
  const int64_t halves = (rows + half_rows - 1) / half_rows;
  return static_cast<uint64_t>(halves * half_bytes(layout, cols));
}

HalfView half_view(const PackedMatrix& matrix, int64_t half) {
  const Layout& layout = layout_of(matrix.dtype);
  const int64_t blocks = matrix.cols / layout.block_k;
  const int64_t unit = layout.unit_bytes(layout.unit_blocks);
  const int64_t rest = blocks % layout.unit_blocks;
  const int64_t in_pair = half % 2;
  const bool alone = in_pair == 0 && half + 1 == half_count(matrix);
  HalfView view;
  view.full_units = blocks / layout.unit_blocks;
  view.stride = alone ? unit : 2 * unit;
  const uint8_t* panel = matrix.data + half / 2 * 2 * half_bytes(layout, matrix.cols);
  view.first = panel + in_pair * unit;
  view.last =
      panel + view.full_units * view.stride + (rest != 0 ? in_pair * layout.unit_bytes(rest) : 0);
  return view;
}

void pack_rows(const PackedMatrix& matrix, uint8_t* memory, int64_t first_row,
               const uint8_t* file_rows, int64_t count) {
  CHECK(first_row >= 0 && count >= 0 && first_row + count <= matrix.rows, "rows of this matrix");
  const Layout& layout = layout_of(matrix.dtype);
  const uint64_t bytes = row_bytes(matrix.dtype, matrix.cols);
  if (layout.block_k == 0) {
    std::memcpy(memory + static_cast<uint64_t>(first_row) * bytes, file_rows,
                static_cast<uint64_t>(count) * bytes);
    return;
  }
  PackedMatrix target = matrix;
  target.data = memory;
  const DtypeInfo& type = info(matrix.dtype);
  const int64_t blocks = matrix.cols / type.block_elements;
  for (int64_t row = first_row; row < first_row + count; ++row, file_rows += bytes) {
    const HalfView half = half_view(target, row / half_rows);
    const int r = static_cast<int>(row % half_rows);
    if (is_element_type(matrix.dtype)) {
      pack_element_row(target, half, r, file_rows);
      continue;
    }
    for (int64_t b = 0; b < blocks; ++b) {
      auto* unit = const_cast<uint8_t*>(half.unit(b / layout.unit_blocks));
      pack_block_into(matrix.dtype, unit, static_cast<int>(b % layout.unit_blocks), r,
                      file_rows + b * type.block_bytes);
    }
  }
}

void clear_rows(const PackedMatrix& matrix, uint8_t* memory, int64_t first_row, int64_t count) {
  CHECK(first_row % panel_rows == 0 && first_row + count <= matrix.rows, "rows of this matrix");
  const Layout& layout = layout_of(matrix.dtype);
  if (layout.block_k == 0 || count <= 0) return;  // file rows are copied whole
  const int64_t half = half_bytes(layout, matrix.cols);
  std::memset(memory + first_row / half_rows * half, 0,
              static_cast<size_t>((count + half_rows - 1) / half_rows * half));
}

void unpack_block(const PackedMatrix& matrix, int64_t row, int64_t block, uint8_t* file_block) {
  const Layout& layout = layout_of(matrix.dtype);
  const DtypeInfo& type = info(matrix.dtype);
  if (layout.block_k == 0) {
    std::memcpy(file_block,
                matrix.data + static_cast<uint64_t>(row) * row_bytes(matrix.dtype, matrix.cols) +
                    static_cast<uint64_t>(block) * static_cast<uint64_t>(type.block_bytes),
                static_cast<size_t>(type.block_bytes));
    return;
  }
  const uint8_t* unit = half_view(matrix, row / half_rows).unit(block / layout.unit_blocks);
  const int r = static_cast<int>(row % half_rows);
  const int in_unit = static_cast<int>(block % layout.unit_blocks);
  if (layout.block_k == 1) {
    std::memcpy(file_block, unit + (in_unit * half_rows + r) * type.block_bytes,
                static_cast<size_t>(type.block_bytes));
    return;
  }
  unpack_block_from(matrix.dtype, unit, in_unit, r, file_block);
}

void unpack_rows(const PackedMatrix& matrix, int64_t first_row, int64_t count, uint8_t* file_rows) {
  const DtypeInfo& type = info(matrix.dtype);
  const int64_t blocks = matrix.cols / type.block_elements;
  for (int64_t row = first_row; row < first_row + count; ++row) {
    for (int64_t b = 0; b < blocks; ++b, file_rows += type.block_bytes) {
      unpack_block(matrix, row, b, file_rows);
    }
  }
}

void decode_packed_row(const PackedMatrix& matrix, int64_t row, float* out) {
  const DtypeInfo& type = info(matrix.dtype);
  if (is_element_type(matrix.dtype)) {
    const HalfView half = half_view(matrix, row / half_rows);
    for (int64_t k = 0; k < matrix.cols; ++k) {
      const int64_t at = k % superblock_k * half_rows + row % half_rows;
      decode_row(matrix.dtype, half.unit(k / superblock_k) + at * type.block_bytes, out + k, 1);
    }
    return;
  }
  uint8_t block[block_bytes_max];
  for (int64_t k = 0; k < matrix.cols; k += type.block_elements) {
    unpack_block(matrix, row, k / type.block_elements, block);
    decode_row(matrix.dtype, block, out + k, type.block_elements);
  }
}

int decode_half_superblock(const PackedMatrix& matrix, int64_t half, int64_t g, float* out) {
  const int64_t k0 = g * superblock_k;
  const int count =
      static_cast<int>(matrix.cols - k0 < superblock_k ? matrix.cols - k0 : superblock_k);
  const DtypeInfo& type = info(matrix.dtype);
  if (is_element_type(matrix.dtype)) {
    decode_row(matrix.dtype, half_view(matrix, half).unit(g), out, int64_t{count} * half_rows);
    return count;
  }
  uint8_t block[block_bytes_max];
  float values[superblock_k];
  for (int r = 0; r < half_rows; ++r) {
    const int64_t row = half * half_rows + r;
    if (row >= matrix.rows) {
      for (int k = 0; k < count; ++k) out[k * half_rows + r] = 0.0f;
      continue;
    }
    for (int k = 0; k < count; k += type.block_elements) {
      unpack_block(matrix, row, (k0 + k) / type.block_elements, block);
      decode_row(matrix.dtype, block, values, type.block_elements);
      for (int i = 0; i < type.block_elements; ++i) out[(k + i) * half_rows + r] = values[i];
    }
  }
  return count;
}

}  // namespace tensor
