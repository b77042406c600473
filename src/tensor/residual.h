// What rounding took from activation rows: x minus what its int8 form stands for. Rounding the
// residual in turn and adding W times it gives a product with about 15 bits of activation, for
// matrices that are small and whose noise is heard far (the value projection).
#pragma once

#include "tensor/activations.h"

namespace tensor {

// Whether a matrix of this type sees rounded activations at all.
bool rounds_activations(Dtype dtype);

// residual = x - rounded x, in the form that a matrix of `dtype` reads. rounds_activations(dtype)
// and Precision::int8 are the caller's to check.
void rounding_residual(const QuantRows& rows, Dtype dtype, float* residual /* (n, k) */,
                       base::Pool& pool);

}  // namespace tensor
