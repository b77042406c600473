// PackedMatrix: a weight matrix as the kernels read it: the file's own bits and scales,
// interleaved by rows. packed.cc writes the layouts down.
//
// A half is 16 consecutive rows, row r in lane r. A panel is 32 rows: two halves whose units
// (a fixed number of k) alternate, so that one contiguous stream feeds both. If the number of
// halves is odd the last one stands alone. Types without a packed layout keep the file's rows.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace tensor {

inline constexpr int half_rows = 16;
inline constexpr int panel_rows = 32;

// A view; the memory belongs to a WeightArena (kernels prefetch past the end).
struct PackedMatrix {
  Dtype dtype = Dtype::f32;
  int64_t rows = 0;
  int64_t cols = 0;  // a multiple of the type's block
  const uint8_t* data = nullptr;
};

// Bytes of a packed matrix, a multiple of 64. rows and cols are positive and their product, by the
// caller's check, at most 2^40.
uint64_t packed_bytes(Dtype dtype, int64_t rows, int64_t cols);

// Packs `count` file rows as rows first_row.. of the matrix whose memory is `memory`
// (packed_bytes(), 64-byte aligned, zero before its first row is packed: fresh arena memory is).
// Threads may pack different rows at once if each begins at a multiple of panel_rows.
void pack_rows(const PackedMatrix& matrix, uint8_t* memory, int64_t first_row,
               const uint8_t* file_rows /* (count, row_bytes) */, int64_t count);

// Zeroes what pack_rows() of these rows writes, to pack others over them. The same threads as for
// pack_rows() may clear at once.
void clear_rows(const PackedMatrix& matrix, uint8_t* memory, int64_t first_row, int64_t count);

// The file's bytes again.
void unpack_rows(const PackedMatrix& matrix, int64_t first_row, int64_t count,
                 uint8_t* file_rows /* (count, row_bytes) */);

// One row as f32, exactly decode_row() of the file's row: embeddings.
void decode_packed_row(const PackedMatrix& matrix, int64_t row, float* out /* (cols) */);

}  // namespace tensor
