// Rows of a weight from the file into the packed memory of its matrix, a chunk at a time; for the
// loader and for experts that are read while the model runs.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "model/weight_plan.h"

namespace model {

inline constexpr int64_t chunk_bytes = 1 << 20;  // read at a time and thread

// Rows of a chunk: whole panels of about chunk_bytes.
int64_t chunk_rows(const WeightItem& item);
// Chunks of one matrix of the item.
int64_t chunk_count(const WeightItem& item);

// `count` source rows of matrix m, from its row `first` on, as the file has them; in `buffer`.
base::Result<const uint8_t*> read_rows(const format::ModelFiles& files, const WeightItem& item,
                                       int64_t m, int64_t first, int64_t count,
                                       std::vector<uint8_t>& buffer);

// Reads chunk i of matrix m and packs it into `memory`, which is the whole matrix's and holds zeros
// where the chunk goes. Not for transposed items. Threads may read different chunks at once.
base::Result<void> read_chunk(const format::ModelFiles& files, const WeightItem& item, int64_t m,
                              int64_t i, uint8_t* memory, std::vector<uint8_t>& buffer);

// The same over an older matrix of the same item.
base::Result<void> replace_chunk(const format::ModelFiles& files, const WeightItem& item, int64_t m,
                                 int64_t i, uint8_t* memory, std::vector<uint8_t>& buffer);

}  // namespace model
