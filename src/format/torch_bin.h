// PyTorch checkpoints (pytorch_model.bin): the tensors of one file, parsed and checked without
// running anything: the pickle in it is read by a reader that knows tensors and refuses all else.
// The format and its rules are written down at the head of torch_bin.cc.
#pragma once

#include <vector>

#include "base/result.h"
#include "format/byte_source.h"
#include "format/safetensors.h"

namespace format {

// In the order of the file. Two names may have the same bytes.
base::Result<std::vector<SafetensorsEntry>> parse_torch_bin(const ByteSource& source);

}  // namespace format
