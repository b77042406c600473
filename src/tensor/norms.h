// Layer norm of a row and group norm of a picture (height, width, channels). As in ops.h the order
// of every sum is fixed by the shape alone.
#pragma once

#include <cstdint>

#include "base/pool.h"
#include "tensor/linear.h"

namespace tensor {

// out = (x - mean) / sqrt(variance + eps) * weight + bias, all (dim). out may be x.
void layer_norm(Isa isa, const float* x, const float* weight, const float* bias, float* out,
                int dim, float eps);

// What a group norm needs to know of a picture: for each of its rows the channels' sums and sums of
// squares, (height, 2, channels). Whoever writes rows may call it for them alone.
// channels % 16 == 0.
struct PictureRows {
  int first, count;
};
void picture_sums(const float* x, PictureRows rows, int width, int channels, double* sums, Isa isa,
                  base::Pool& pool);

struct GroupNorm {
  const float* weight;  // (channels)
  const float* bias;    // (channels)
  int groups;           // divides channels
  double eps;
};
// The norm as one multiplication and addition a channel: scale, shift (channels).
void group_norm(const GroupNorm& norm, const double* sums, int height, int width, int channels,
                float* scale, float* shift);

// out = x * scale + shift of each channel, and then y * sigmoid(y) if `swish`.
void scale_channels(const float* x, const float* scale, const float* shift, int64_t positions,
                    int channels, bool swish, float* out, Isa isa);

}  // namespace tensor
