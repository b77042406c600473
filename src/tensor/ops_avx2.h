// AVX2 forms of ops.h, called through ops.cc only.
#pragma once

namespace tensor {

void rms_norm_avx2(const float* x, const float* weight, float* out, int dim, float eps);
void rope_half_split_avx2(float* head, const float* cosine, const float* sine, int dims);
void rope_adjacent_avx2(float* head, const float* cosine, const float* sine, int dims);

}  // namespace tensor
