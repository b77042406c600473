// The rounded forms of activation rows. q = rint(x * 127 / amax) over a group of 32 or 256 values,
// as ggml rounds them: 32 for the types of 32-wide blocks, 256 for the K-quants and IQ4_XS. Beside
// q stand the sums of q that cancel the offset of unsigned weight codes, one form an offset.
//
// Every array is [superblock g][column][...], a superblock being 256 k; the last one of a row may
// be partly filled. Memory is a Workspace's; read-only once made, from any thread.
#pragma once

#include <cstdint>

#include "tensor/layout.h"
#include "tensor/linear.h"

namespace tensor {

// Columns that one tile of AMX takes. It reads that many, however many are wanted: behind the q of
// the last column stands memory for the rest.
inline constexpr int tile_columns = 16;

// Which of the optional arrays a set of matrices needs.
struct QuantNeeds {
  bool group32 = false;
  bool group256 = false;
  bool offset_8 = false, offset_12 = false, offset_16 = false;  // Q4_0, MXFP4, Q5_0
  bool offset_128 = false;                                      // Q8_0, IQ4_NL
  bool scaled_sums = false;                                     // Q4_1, Q5_1
  bool pair_sums = false;                                       // Q4_K, Q5_K
  bool pair_sums_16 = false;                                    // Q2_K
  bool offset_4 = false, offset_32 = false;                     // Q3_K, Q6_K
  bool super_offset_128 = false;                                // IQ4_XS
  bool book = false;                                            // IQ1, IQ2, IQ3, TQ
};
QuantNeeds needs_of(Dtype dtype);

struct QuantRows {
  const float* x = nullptr;  // (n, k), the caller's
  int n = 0;
  int k = 0;
  Precision precision = Precision::int8;
  Isa isa = Isa::scalar;
  QuantNeeds has;

  // A "start" is -offset * sum over the block, what an accumulator begins with. AVX2 sums in
  // 16-bit lanes, two k each: there a start of the 4- to 6-bit types is a pair of int16, for
  // k % 4 in {0, 1} and in {2, 3}.
  struct Group32 {
    int8_t* q = nullptr;           // [256]
    float* scale = nullptr;        // [8]
    float* scaled_sum = nullptr;   // [8]? scale * sum of q
    int32_t* start_8 = nullptr;    // [8]?
    int32_t* start_12 = nullptr;   // [8]?
    int32_t* start_16 = nullptr;   // [8]?
    int32_t* start_128 = nullptr;  // [8]? always one int32
    int16_t* wide = nullptr;       // [256]? AVX2 and start_128: per 4 k: q0 q2 q1 q3
  } group32;
  struct Group256 {
    int8_t* q = nullptr;           // [256]
    float* scale = nullptr;        // [1]
    int32_t* start_4 = nullptr;    // [16]? one per 16 k
    int32_t* start_32 = nullptr;   // [16]? one per 16 k
    int32_t* start_64 = nullptr;   // [16]? one per 16 k, always one int32; not AVX2
    int32_t* start_128 = nullptr;  // [8]? one per 32 k, always one int32
    int16_t* wide = nullptr;       // [256]? AVX2 and start_128 or books, as above
    int32_t* pair_sums = nullptr;  // [4]? two int16: the sums of q over blocks 2p and 2p + 1 of 32
    int32_t* pair_sums_16 = nullptr;  // [8]? the same over blocks of 16
  } group256;
};

// Rounds superblock g of column c into every form that `rows` has. One for each ISA, same results.
using QuantizeSuperblock = void (*)(const QuantRows& rows, int g, int c);
void quantize_superblock_scalar(const QuantRows& rows, int g, int c);
void quantize_superblock_avx2(const QuantRows& rows, int g, int c);

// amax below this rounds to a group of zeros: its inverse would not be finite.
inline constexpr float amax_min = 1e-30f;

}  // namespace tensor
