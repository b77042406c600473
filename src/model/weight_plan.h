// WeightPlan: every tensor that a decoder loads, where its view goes and what it takes of the
// arena, from the headers alone. For loader.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/model_files.h"
#include "model/loader.h"
#include "model/weights.h"

namespace model {

// One piece of a tensor to load. Exactly one of the three destinations is set.
struct WeightItem {
  const format::TensorInfo* tensor = nullptr;
  tensor::PackedMatrix* matrices = nullptr;  // (count) packed
  const float** vector = nullptr;            // decoded to f32
  const uint8_t** table = nullptr;           // file rows as they are

  tensor::Dtype dtype = tensor::Dtype::f32;  // of the packed matrices
  int count = 1;                             // matrices of (rows, cols)
  int64_t rows = 0, cols = 0;
  // Matrix m is made of the tensor's rows first_row + m * row_step and on, counted over all its
  // outer dimensions. Transposed: of `cols` rows of `rows` numbers, turned when they are packed.
  int64_t first_row = 0, row_step = 0;
  bool transposed = false;
  int expert_layer = -1;  // of experts' matrices (one an expert): their layer

  uint64_t matrix_bytes = 0;  // of one
  uint64_t bytes = 0;         // of all, in the arena
  int64_t source_cols() const { return transposed ? rows : cols; }
  int64_t source_rows() const { return transposed ? cols : rows; }
};

// In the order in which a step reads them. The destinations point into `weights`, whose vectors
// are sized here. Fails if a tensor is absent or has another shape than the configuration asks
// for, or a type that cannot be computed with.
base::Result<std::vector<WeightItem>> plan_weights(const format::ModelFiles& files,
                                                   const Config& config,
                                                   const WeightOptions& options, Weights& weights);

}  // namespace model
