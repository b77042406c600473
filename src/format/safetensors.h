// safetensors: the header of one file, parsed and checked; no model knowledge. The format and its
// rules are written down at the head of safetensors.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/byte_source.h"
#include "tensor/dtype.h"

namespace format {

struct SafetensorsEntry {
  std::string name;
  tensor::Dtype dtype = tensor::Dtype::f32;
  std::vector<uint64_t> shape;  // outermost first; 1 to 4 dimensions (a scalar is {1}), none 0
  uint64_t offset = 0;          // absolute, in the file
  uint64_t bytes = 0;
};

base::Result<std::vector<SafetensorsEntry>> parse_safetensors(const ByteSource& source);

}  // namespace format
