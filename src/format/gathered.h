// Tensors that do not lie in a file as they are delivered: made of parts (the experts of a layer,
// one half of a fused matrix), or F8_E4M3 with a scale for each block: delivered as tensor's
// f8_scaled where a scale serves whole runs of 128 in a row, as in every model of DeepSeek, and as
// F32 otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/byte_source.h"
#include "tensor/dtype.h"

namespace format {

// A run of bytes of an opened file, in the bounds that the container's reader has checked.
struct StoredPart {
  int file = 0;
  uint64_t offset = 0;
};

// The scales of one part: row-major, one for each block of the part's matrix, partial ones at its
// right and lower edge included.
struct StoredScales {
  int file = 0;
  uint64_t offset = 0;
  tensor::Dtype dtype = tensor::Dtype::f32;  // f32, f16, bf16 or f8_e8m0
};

struct ScaleBlock {
  uint64_t rows = 128, columns = 128;
};

struct GatheredTensor {
  std::vector<StoredPart> parts;     // at least one
  uint64_t part_bytes = 0;           // that each of them delivers
  std::vector<StoredScales> scales;  // empty, or one for each part: the parts are F8_E4M3
  uint64_t rows = 0, columns = 0;    // of each part, with scales only
  ScaleBlock block;                  // with scales only
  bool as_f32 = false;               // with scales only: delivered as F32, not as f8_scaled
};

// Whether such a matrix must be delivered as F32, four times its size.
bool needs_f32(uint64_t columns, const ScaleBlock& block);

// Reads bytes [from, from + out.size()) of what is delivered; the range is inside. With scales,
// every weight is its F8_E4M3 value times its block's scale, rounded once to f32; a scale that is
// not a finite number is an error, and so is a weight that is no number. Any thread. `name` stands
// in errors.
base::Result<void> read_gathered(const GatheredTensor& tensor,
                                 std::span<const std::unique_ptr<ByteSource>> files,
                                 std::string_view name, uint64_t from, std::span<uint8_t> out);

}  // namespace format
