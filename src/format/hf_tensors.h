// The tensors of a Hugging Face directory as the normal ones: DeepSeek's own names become those of
// Hugging Face, FP8 weights are joined with their scales, the experts of a layer become one tensor.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "format/byte_source.h"
#include "format/gathered.h"
#include "format/model_files.h"

namespace format {

struct NormalTensors {
  std::vector<TensorInfo> tensors;  // in the order of the files; a stack where its first expert was
  std::vector<GatheredTensor> gathered;  // TensorInfo::source is an index of it
};

// `raw` as the files have them; `files` name the errors. Without `block`, FP8 stays as it is.
//
// Rules: every .weight_scale_inv has its .weight, of two dimensions and type F8_E4M3, and is itself
// F32, F16, BF16 or F8_E8M0 with one number for each block, partial ones included. The experts of a
// layer are 0, 1, 2 … without a gap and of one shape and type.
base::Result<NormalTensors> normal_hf_tensors(std::vector<TensorInfo> raw,
                                              std::optional<ScaleBlock> block,
                                              std::span<const std::unique_ptr<ByteSource>> files);

// What quantization_config says about FP8: the size of blocks, nothing if the checkpoint is
// quantised otherwise. 128 by 128 if config.json says nothing at all.
base::Result<std::optional<ScaleBlock>> fp8_block(const base::Json& config);

}  // namespace format
