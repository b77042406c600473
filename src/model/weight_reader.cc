#include "model/weight_reader.h"

#include <algorithm>

namespace model {
namespace {

struct Chunk {
  int64_t first, count;
};
Chunk chunk_of(const WeightItem& item, int64_t i) {
  const int64_t rows = chunk_rows(item);
  return {i * rows, std::min(rows, item.rows - i * rows)};
}
tensor::PackedMatrix packed(const WeightItem& item, const uint8_t* memory) {
  return {item.dtype, item.rows, item.cols, memory};
}

}  // namespace

int64_t chunk_rows(const WeightItem& item) {
  const int64_t row = tensor::row_bytes(item.dtype, item.cols);
  return std::max<int64_t>(1, chunk_bytes / row / tensor::panel_rows) * tensor::panel_rows;
}

int64_t chunk_count(const WeightItem& item) {
  return (item.rows + chunk_rows(item) - 1) / chunk_rows(item);
}

base::Result<const uint8_t*> read_rows(const format::ModelFiles& files, const WeightItem& item,
                                       int64_t m, int64_t first, int64_t count,
                                       std::vector<uint8_t>& buffer) {
  const int64_t row = tensor::row_bytes(item.tensor->dtype, item.source_cols());
  if (static_cast<int64_t>(buffer.size()) < count * row) buffer.resize(count * row);
  const int64_t from = item.first_row + m * item.row_step + first;
  TRY(files.read(*item.tensor, from * row, {buffer.data(), size_t(count * row)}));
  return buffer.data();
}

base::Result<void> read_chunk(const format::ModelFiles& files, const WeightItem& item, int64_t m,
                              int64_t i, uint8_t* memory, std::vector<uint8_t>& buffer) {
  const Chunk chunk = chunk_of(item, i);
  ASSIGN(const uint8_t* rows, read_rows(files, item, m, chunk.first, chunk.count, buffer));
  tensor::pack_rows(packed(item, memory), memory, chunk.first, rows, chunk.count);
  return {};
}

base::Result<void> replace_chunk(const format::ModelFiles& files, const WeightItem& item, int64_t m,
                                 int64_t i, uint8_t* memory, std::vector<uint8_t>& buffer) {
  const Chunk chunk = chunk_of(item, i);
  tensor::clear_rows(packed(item, memory), memory, chunk.first, chunk.count);
  return read_chunk(files, item, m, i, memory, buffer);
}

}  // namespace model
