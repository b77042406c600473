// The small row operations of a decoder: RMS norm, rotary embedding, exp. One call works on one
// row, on the caller's thread. Within one Isa the order of every sum is fixed by the row's length
// alone, so a row's result does not depend on the batch that it came in.
#pragma once

#include <cstdint>

#include "tensor/linear.h"

namespace tensor {

// out = weight * x / sqrt(mean(x^2) + eps), all (dim). out may be x.
void rms_norm(Isa isa, const float* x, const float* weight, float* out, int dim, float eps);

// Rotates `head` (dims) in place; pair i turns by (cosine[i], sine[i]), both (dims / 2).
// half_split pairs x[i] with x[i + dims / 2] (Hugging Face), adjacent x[2i] with x[2i + 1].
void rope_half_split(Isa isa, float* head, const float* cosine, const float* sine, int dims);
void rope_adjacent(Isa isa, float* head, const float* cosine, const float* sine, int dims);

// e^x for x <= 0 to 2 units in the last place; below -87 it stays at e^-87 (1.6e-38), so that
// -infinity is fine. Plain arithmetic, hence the same on every machine.
float exp_nonpositive(float x);

}  // namespace tensor
