// The quantiser: a model from any container as one GGUF file of a given type. plan_quantized()
// decides everything and writes nothing; write_quantized() goes through the tensors in order, reads
// a few rows of one at a time on all threads, encodes them and writes them to their place: memory
// is bounded by threads times `piece_weights`, whatever the model's size.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/pool.h"
#include "format/gguf_export.h"
#include "format/output_file.h"
#include "format/quantize_mix.h"

namespace format {

struct PlannedTensor {
  ExportTensor tensor;
  tensor::Dtype from = tensor::Dtype::f32, to = tensor::Dtype::f32;
  bool copied = false;  // the file's own bytes
  uint64_t offset = 0;  // in the data
  uint64_t bytes = 0;
};

struct QuantizePlan {
  std::vector<uint8_t> header;
  std::vector<PlannedTensor> tensors;
  std::vector<std::string> left_out;  // tensors of the source that are no part of the decoder
  uint64_t bytes = 0;                 // of the whole file
  bool lossy_source = false;  // most weights were quantised before: what was lost stays lost
};

// What one tensor lost: sums over its weights x and what the file now says, y.
struct TensorCost {
  double error_squares = 0;   // (x - y)²
  double weight_squares = 0;  // x²
};

// `files` lives as long as the plan is used.
base::Result<QuantizePlan> plan_quantized(const ModelFiles& files, FileType type,
                                          const NamePreTokenizer& name);

// Called between pieces, on the caller's thread; false stops with `interrupted`.
using QuantizeProgress = std::function<bool(uint64_t bytes_done, uint64_t bytes_total)>;

// One cost for each planned tensor. The file is not finished: that is the caller's.
base::Result<std::vector<TensorCost>> write_quantized(const ModelFiles& files,
                                                      const QuantizePlan& plan,
                                                      const OutputFile& out, base::Pool& pool,
                                                      const QuantizeProgress& progress);

}  // namespace format
