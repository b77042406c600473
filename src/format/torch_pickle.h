// A restricted reader of the pickle inside of a PyTorch checkpoint. It builds names and numbers
// only: no callable is looked up, none is called. The opcodes and globals that it knows stand at
// the head of torch_pickle.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace format {

// What to do about a file of torch.save that is not read.
inline constexpr const char* instead_of_torch = "get the model as safetensors or GGUF";

struct PickledTensor {
  std::string name;
  std::string storage;  // its key: letters, digits and '_'
  tensor::Dtype dtype = tensor::Dtype::f32;
  uint64_t storage_elements = 0;
  uint64_t first = 0;             // element of the storage
  std::vector<uint64_t> shape;    // at most 4 dimensions, none 0; {1} for a scalar
  std::vector<uint64_t> strides;  // in elements; empty for a scalar
};

inline constexpr uint64_t pickle_bytes_max = 16 << 20;

// `file` names the errors.
base::Result<std::vector<PickledTensor>> read_torch_pickle(std::string_view bytes,
                                                           std::string_view file);

}  // namespace format
