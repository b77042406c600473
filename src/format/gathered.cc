#include "format/gathered.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr uint64_t piece_bytes = 256 << 10;  // of F8_E4M3 that are read at a time

const std::array<float, 256>& e4m3_values() {
  static const std::array<float, 256> values = [] {
    std::array<float, 256> all{};
    std::array<uint8_t, 256> codes{};
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i);
    tensor::decode_row(tensor::Dtype::f8_e4m3, codes.data(), all.data(), 256);
    return all;
  }();
  return values;
}

constexpr uint64_t block_k = tensor::f8_scaled_k, block_bytes = tensor::f8_scaled_bytes;
static_assert(piece_bytes % block_k == 0);

// The least that is delivered as a whole.
struct Step {
  uint64_t weights, bytes;
};
Step step_of(const GatheredTensor& tensor) {
  return tensor.as_f32 ? Step{1, sizeof(float)} : Step{block_k, block_bytes};
}
uint64_t delivered_bytes(const GatheredTensor& tensor, uint64_t weights) {
  const Step step = step_of(tensor);
  return weights / step.weights * step.bytes;
}

// Delivers the weights of one part.
class ScaledReader {
 public:
  ScaledReader(const GatheredTensor& tensor, std::span<const std::unique_ptr<ByteSource>> files,
               std::string_view name, size_t part)
      : tensor_(tensor),
        files_(files),
        name_(name),
        part_(tensor.parts[part]),
        scales_(tensor.scales[part]),
        scale_columns_((tensor.columns + tensor.block.columns - 1) / tensor.block.columns) {}

  // Weights [first, first + count) of the part, in row-major order, as what is delivered; with
  // f8_scaled first and count are whole blocks.
  base::Result<void> read(uint64_t first, uint64_t count, uint8_t* out) {
    while (count > 0) {
      const uint64_t piece = std::min(count, piece_bytes);
      codes_.resize(piece);
      TRY(files_[static_cast<size_t>(part_.file)]->read(part_.offset + first, codes_));
      TRY(check_codes(first));
      if (tensor_.as_f32) {
        TRY(deliver_f32(first, out));
      } else {
        TRY(deliver_blocks(first, out));
      }
      first += piece;
      count -= piece;
      out += delivered_bytes(tensor_, piece);
    }
    return {};
  }

 private:
  base::Result<void> check_codes(uint64_t first) const {
    uint8_t worst = 0;  // in one pass without branches: almost no file has such a code
    for (const uint8_t code : codes_) worst |= static_cast<uint8_t>((code & 0x7f) == 0x7f);
    if (worst == 0) return {};
    const auto found = std::find_if(codes_.begin(), codes_.end(),
                                    [](uint8_t code) { return (code & 0x7f) == 0x7f; });
    const uint64_t at = first + static_cast<uint64_t>(found - codes_.begin());
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: tensor {}: the weight [{}, {}] is not a number",
                            files_[static_cast<size_t>(part_.file)]->shown(), name_,
                            at / tensor_.columns, at % tensor_.columns),
                "no answer could be computed with it", "download the file again");
  }

  // Row by row, and in each row block by block.
  base::Result<void> deliver_f32(uint64_t first, uint8_t* out) {
    const std::array<float, 256>& values = e4m3_values();
    for (size_t i = 0; i < codes_.size();) {
      const uint64_t row = (first + i) / tensor_.columns, column = (first + i) % tensor_.columns;
      TRY(find_scales(row / tensor_.block.rows));
      const uint64_t block = column / tensor_.block.columns;
      const uint64_t end = std::min((block + 1) * tensor_.block.columns, tensor_.columns);
      const size_t run = std::min<size_t>(codes_.size() - i, end - column);
      const float scale = row_scales_[block];
      for (const size_t stop = i + run; i < stop; ++i) {
        const float value = values[codes_[i]] * scale;
        std::memcpy(out + i * sizeof(float), &value, sizeof(float));
      }
    }
    return {};
  }

  base::Result<void> deliver_blocks(uint64_t first, uint8_t* out) {
    for (size_t i = 0; i < codes_.size(); i += block_k, out += block_bytes) {
      TRY(find_scales((first + i) / tensor_.columns / tensor_.block.rows));
      const float scale = row_scales_[(first + i) % tensor_.columns / tensor_.block.columns];
      std::memcpy(out, &scale, sizeof(float));
      std::memcpy(out + sizeof(float), codes_.data() + i, block_k);
    }
    return {};
  }

  // The scales of one row of blocks, kept until another row of them is asked for.
  base::Result<void> find_scales(uint64_t block_row) {
    if (block_row == found_row_ && !row_scales_.empty()) return {};
    const uint64_t bytes = tensor::row_bytes(scales_.dtype, scale_columns_);
    std::vector<uint8_t> stored(bytes);
    TRY(files_[static_cast<size_t>(scales_.file)]->read(scales_.offset + block_row * bytes,
                                                        stored));
    row_scales_.resize(scale_columns_);
    tensor::decode_row(scales_.dtype, stored.data(), row_scales_.data(),
                       static_cast<int64_t>(scale_columns_));
    found_row_ = block_row;
    for (uint64_t i = 0; i < scale_columns_; ++i) {
      if (std::isfinite(row_scales_[i])) continue;
      row_scales_.clear();
      return fail(
          ErrorKind::invalid_input,
          fmt::format("{}: tensor {}: the scale of block [{}, {}] is not a finite number",
                      files_[static_cast<size_t>(scales_.file)]->shown(), name_, block_row, i),
          "its weights would all be infinite or not numbers", "download the file again");
    }
    return {};
  }

  const GatheredTensor& tensor_;
  std::span<const std::unique_ptr<ByteSource>> files_;
  std::string_view name_;
  StoredPart part_;
  StoredScales scales_;
  uint64_t scale_columns_;
  std::vector<uint8_t> codes_;
  std::vector<float> row_scales_;
  uint64_t found_row_ = 0;
};

// Bytes [from, from + out.size()) of what part `index` delivers.
base::Result<void> read_part(const GatheredTensor& tensor,
                             std::span<const std::unique_ptr<ByteSource>> files,
                             std::string_view name, size_t index, uint64_t from,
                             std::span<uint8_t> out) {
  const StoredPart& part = tensor.parts[index];
  if (tensor.scales.empty()) {
    return files[static_cast<size_t>(part.file)]->read(part.offset + from, out);
  }
  ScaledReader reader(tensor, files, name, index);
  const Step step = step_of(tensor);
  const uint64_t first = from / step.bytes;
  const uint64_t end = (from + out.size() + step.bytes - 1) / step.bytes;
  if (from % step.bytes == 0 && out.size() % step.bytes == 0) {
    return reader.read(first * step.weights, (end - first) * step.weights, out.data());
  }
  // A range that cuts a number or a block: rare, but it must be right.
  std::vector<uint8_t> whole((end - first) * step.bytes);
  TRY(reader.read(first * step.weights, (end - first) * step.weights, whole.data()));
  std::memcpy(out.data(), whole.data() + from % step.bytes, out.size());
  return {};
}

}  // namespace

bool needs_f32(uint64_t columns, const ScaleBlock& block) {
  return columns % block_k != 0 || block.columns % block_k != 0;
}

base::Result<void> read_gathered(const GatheredTensor& tensor,
                                 std::span<const std::unique_ptr<ByteSource>> files,
                                 std::string_view name, uint64_t from, std::span<uint8_t> out) {
  while (!out.empty()) {
    const uint64_t index = from / tensor.part_bytes, inside = from % tensor.part_bytes;
    const auto count =
        static_cast<size_t>(std::min<uint64_t>(out.size(), tensor.part_bytes - inside));
    TRY(read_part(tensor, files, name, index, inside, out.first(count)));
    from += count;
    out = out.subspan(count);
  }
  return {};
}

}  // namespace format
