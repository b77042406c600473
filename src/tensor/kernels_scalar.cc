// The reference: every product computed from the file's own block bytes, in the reduction order of
// docs/kernels.md. Also what runs on a machine without AVX2.
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/decode.h"
#include "tensor/fused.h"
#include "tensor/kernels.h"
#include "tensor/kernels_generic.h"

namespace tensor {
namespace {

// Superblock g of one row as integers: weight = d * scale[j] * (code - offset) + minimum part.
struct RowCodes {
  int blocks;         // that exist
  int block_k;        // 32, or 16 for Q2_K, Q3_K, Q6_K and code books
  int16_t code[256];  // offset already subtracted
  float scale[16];    // of each block: d for the 32-wide types, else the integer scale
  float minimum[16];  // m for Q4_1 and Q5_1, the integer minimum for Q2_K, Q4_K and Q5_K
  float d, dmin;      // of the K types
};

void nibbles_with_fifth(const uint8_t* q, uint32_t fifth, int offset, int16_t* code) {
  for (int j = 0; j < 16; ++j) {
    code[j] = static_cast<int16_t>(((q[j] & 15) | static_cast<int>(fifth >> j & 1) << 4) - offset);
    code[j + 16] =
        static_cast<int16_t>(((q[j] >> 4) | static_cast<int>(fifth >> (j + 16) & 1) << 4) - offset);
  }
}

void look_up(const uint8_t* q, const int8_t (&table)[16], int16_t* code) {
  for (int j = 0; j < 16; ++j) {
    code[j] = table[q[j] & 15];
    code[j + 16] = table[q[j] >> 4];
  }
}

void codes_of_block32(Dtype dtype, const uint8_t* block, int b, RowCodes& row) {
  row.scale[b] = dtype == Dtype::mxfp4 ? mxfp4_scale(block[0]) : load_f16(block);
  int16_t* code = row.code + 32 * b;
  switch (dtype) {
    case Dtype::mxfp4:
      look_up(block + 1, fp4_values, code);
      return;
    case Dtype::iq4_nl:
      look_up(block + 2, iq4_values, code);
      return;
    case Dtype::q4_0:
      nibbles_with_fifth(block + 2, 0, 8, code);
      return;
    case Dtype::q5_0:
      nibbles_with_fifth(block + 6, load_u32(block + 2), 16, code);
      return;
    case Dtype::q4_1:
      row.minimum[b] = load_f16(block + 2);
      nibbles_with_fifth(block + 4, 0, 0, code);
      return;
    case Dtype::q5_1:
      row.minimum[b] = load_f16(block + 2);
      nibbles_with_fifth(block + 8, load_u32(block + 4), 0, code);
      return;
    default:
      for (int i = 0; i < 32; ++i) code[i] = static_cast<int8_t>(block[2 + i]);
      return;
  }
}

void codes_of_k(Dtype dtype, const uint8_t* block, RowCodes& row) {
  row.d = load_f16(block);
  row.dmin = load_f16(block + 2);
  const uint8_t* q = block + (dtype == Dtype::q4_k ? 16 : 48);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin part = k_scale_min(block + 4, j);
    row.scale[j] = part.scale;
    row.minimum[j] = part.minimum;
    for (int l = 0; l < 32; ++l) {
      const int low = q[32 * (j / 2) + l] >> (4 * (j % 2)) & 15;
      const int fifth = dtype == Dtype::q4_k ? 0 : block[16 + l] >> j & 1;
      row.code[32 * j + l] = static_cast<int16_t>(low | fifth << 4);
    }
  }
}

void codes_of_q6_k(const uint8_t* block, RowCodes& row) {
  row.d = load_f16(block + 208);
  for (int j = 0; j < 16; ++j) row.scale[j] = static_cast<int8_t>(block[192 + j]);
  for (int k = 0; k < 256; ++k) {
    const int quarter = k % 128 / 32;
    const int low = block[64 * (k / 128) + k % 32 + 32 * (quarter % 2)] >> (4 * (quarter / 2)) & 15;
    const int high = block[128 + 32 * (k / 128) + k % 32] >> (2 * quarter) & 3;
    row.code[k] = static_cast<int16_t>((low | high << 4) - 32);
  }
}

void codes_of_q2_k(const uint8_t* block, RowCodes& row) {
  row.d = load_f16(block + 80);
  row.dmin = load_f16(block + 82);
  for (int j = 0; j < 16; ++j) {
    row.scale[j] = static_cast<float>(block[j] & 15);
    row.minimum[j] = static_cast<float>(block[j] >> 4);
    const uint8_t* q = block + 16 + 32 * (j / 8) + 16 * (j % 2);
    for (int l = 0; l < 16; ++l) {
      row.code[16 * j + l] = static_cast<int16_t>(q[l] >> (j % 8 / 2 * 2) & 3);
    }
  }
}

void codes_of_q3_k(const uint8_t* block, RowCodes& row) {
  row.d = load_f16(block + 108);
  for (int j = 0; j < 16; ++j) {
    row.scale[j] = static_cast<float>(q3_k_scale(block + 96, j) - 32);
    const int shift = j % 8 / 2;
    const uint8_t* q = block + 32 + 32 * (j / 8) + 16 * (j % 2);
    const uint8_t* mask = block + 16 * (j % 2);
    for (int l = 0; l < 16; ++l) {
      const int high = mask[l] >> (4 * (j / 8) + shift) & 1;
      row.code[16 * j + l] = static_cast<int16_t>(((q[l] >> (2 * shift) & 3) | high << 2) - 4);
    }
  }
}

void codes_of_iq4_xs(const uint8_t* block, RowCodes& row) {
  row.d = load_f16(block);
  for (int j = 0; j < 8; ++j) {
    const int low = block[4 + j / 2] >> (4 * (j % 2)) & 15;
    const int high = load_u16(block + 2) >> (2 * j) & 3;
    row.scale[j] = static_cast<float>((low | high << 4) - 32);
    look_up(block + 8 + 16 * j, iq4_values, row.code + 32 * j);
  }
}

void codes_of_book(DecodeCodes decode, const uint8_t* block, RowCodes& row) {
  uint8_t lines[64 * code_line_bytes];
  float scale[16 * half_rows];
  row.d = decode(block, lines, scale);
  for (int j = 0; j < 16; ++j) row.scale[j] = scale[half_rows * j];
  for (int k = 0; k < 256; ++k) {
    row.code[k] = static_cast<int8_t>(lines[k / 4 * code_line_bytes + k % 4]);
  }
}

void codes_of_superblock(Dtype dtype, const uint8_t* block, RowCodes& row) {
  switch (dtype) {
    case Dtype::q2_k:
      return codes_of_q2_k(block, row);
    case Dtype::q3_k:
      return codes_of_q3_k(block, row);
    case Dtype::q6_k:
      return codes_of_q6_k(block, row);
    case Dtype::iq4_xs:
      return codes_of_iq4_xs(block, row);
    case Dtype::q4_k:
    case Dtype::q5_k:
      return codes_of_k(dtype, block, row);
    default:
      return codes_of_book(codes_decoder(dtype), block, row);
  }
}

void codes_of_row(const PackedMatrix& w, int64_t row_index, int64_t g, RowCodes& row) {
  uint8_t block[block_bytes_max];
  const int block_elements = info(w.dtype).block_elements;
  const bool short_blocks = w.dtype == Dtype::q2_k || w.dtype == Dtype::q3_k ||
                            w.dtype == Dtype::q6_k || codes_decoder(w.dtype) != nullptr;
  row.block_k = short_blocks ? 16 : 32;
  if (block_elements == superblock_k) {
    row.blocks = superblock_k / row.block_k;
    unpack_block(w, row_index, g, block);
    codes_of_superblock(w.dtype, block, row);
    return;
  }
  const int64_t first = g * 8;
  row.blocks = static_cast<int>(std::min<int64_t>(8, w.cols / 32 - first));
  for (int b = 0; b < row.blocks; ++b) {
    unpack_block(w, row_index, first + b, block);
    codes_of_block32(w.dtype, block, b, row);
  }
}

int dot(const int16_t* code, const int8_t* q, int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += code[i] * q[i];
  return sum;
}

// acc + the superblock's part, group of 32: t = fma(s, d * scale, t) block by block; acc + t.
float add_group32(const RowCodes& row, const QuantRows& x, int64_t at, float acc) {
  const int8_t* q = x.group32.q + at * superblock_k;
  float t = 0.0f;
  for (int b = 0; b < row.blocks; ++b) {
    const auto s = static_cast<float>(dot(row.code + 32 * b, q + 32 * b, 32));
    t = std::fma(s, row.scale[b] * x.group32.scale[at * 8 + b], t);
    if (x.has.scaled_sums) t = std::fma(row.minimum[b], x.group32.scaled_sum[at * 8 + b], t);
  }
  return acc + t;
}

// Group of 256: t = fma(s, scale, t) block by block, exact in practice; then once d and the scale.
float add_group256(const RowCodes& row, bool minima, const QuantRows& x, int64_t at, float acc) {
  const int8_t* q = x.group256.q + at * superblock_k;
  float t = 0.0f;
  int u = 0;
  for (int b = 0; b < row.blocks; ++b) {
    const int8_t* part = q + row.block_k * b;
    t = std::fma(static_cast<float>(dot(row.code + row.block_k * b, part, row.block_k)),
                 row.scale[b], t);
    if (!minima) continue;
    int sum = 0;
    for (int i = 0; i < row.block_k; ++i) sum += part[i];
    u += static_cast<int>(row.minimum[b]) * sum;
  }
  float v = t * row.d;
  if (minima) v = std::fma(-row.dmin, static_cast<float>(u), v);
  return std::fma(v, x.group256.scale[at], acc);
}

WITH_FMA void quantized_panel(const PanelJob& job) {
  const PackedMatrix& w = *job.w;
  const QuantRows& x = *job.x;
  const bool wide_group = info(w.dtype).block_elements == superblock_k;
  const bool minima = w.dtype == Dtype::q2_k || w.dtype == Dtype::q4_k || w.dtype == Dtype::q5_k;
  QuantRows view = x;
  view.has.scaled_sums = w.dtype == Dtype::q4_1 || w.dtype == Dtype::q5_1;
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  RowCodes row;
  for (int r = 0; r < panel_rows && job.panel * panel_rows + r < w.rows; ++r) {
    for (int64_t g = 0; g * superblock_k < w.cols; ++g) {
      codes_of_row(w, job.panel * panel_rows + r, g, row);
      for (int c = 0; c < job.columns; ++c) {
        float& acc = job.acc[c * panel_rows + r];
        const int64_t at = g * x.n + job.first_column + c;
        acc =
            wide_group ? add_group256(row, minima, view, at, acc) : add_group32(row, view, at, acc);
      }
    }
  }
}

// f32: t = fma(w, x, t) over a superblock in order of k, then acc + t.
WITH_FMA void floating_panel(const PanelJob& job) {
  alignas(64) float weights[superblock_k * half_rows];
  const int64_t cols = job.w->cols;
  std::memset(job.acc, 0, sizeof(float) * static_cast<size_t>(job.columns * panel_rows));
  for (int64_t g = 0; g * superblock_k < cols; ++g) {
    for (int h = 0; h < 2 && job.panel * 2 + h < half_count(*job.w); ++h) {
      const int count = decode_half_superblock(*job.w, job.panel * 2 + h, g, weights);
      for (int c = 0; c < job.columns; ++c) {
        const float* x = job.x->x + (job.first_column + c) * cols + g * superblock_k;
        float t[half_rows] = {};
        for (int k = 0; k < count; ++k) {
          for (int r = 0; r < half_rows; ++r)
            t[r] = std::fma(weights[k * half_rows + r], x[k], t[r]);
        }
        for (int r = 0; r < half_rows; ++r) job.acc[c * panel_rows + h * half_rows + r] += t[r];
      }
    }
  }
}

WITH_FMA void exact_panel(const PanelJob& job) { exact_panel_lanes(job); }
void silu_product(float* gate, const float* up, int64_t count) {
  silu_product_lanes(gate, up, count);
}

PanelKernel quantized(Dtype dtype) {
  const QuantNeeds needs = needs_of(dtype);
  return needs.group32 || needs.group256 ? quantized_panel : nullptr;
}
PanelKernel floating(Dtype) { return floating_panel; }

}  // namespace

const KernelSet& scalar_kernels() {
  static constexpr KernelSet set{
      quantized, floating, exact_panel, silu_product, quantize_superblock_scalar, 256 << 10};
  return set;
}

}  // namespace tensor
