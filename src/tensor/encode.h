// Encoders: f32 weights to the block types of GGUF files, with a search for the scales that lose
// least. They know nothing of files; format/quantizer.h drives them.
//
// The error that is made small is the sum over a block of w (x - y)², where w grows slowly with
// |x|: large weights matter more to a sum than their number says, but not so much that the many
// small ones may be forgotten. Every machine writes the same bytes: no step depends on the ISA.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace tensor {

// Weights must be finite and no larger: a block's scale is an f16.
inline constexpr float encodable_abs_max = 65504.0f;

// F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q5_1, IQ4_NL, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.
bool is_encodable(Dtype dtype);

// `elements` is a multiple of the dtype's block; `blocks` has row_bytes(dtype, elements) bytes.
void encode_row(Dtype dtype, const float* in /* (elements) */, int64_t elements, uint8_t* blocks);

}  // namespace tensor
