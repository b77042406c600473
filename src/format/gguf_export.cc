#include "format/gguf_export.h"

#include <algorithm>
#include <cstdlib>

#include "format/janus_names.h"
#include "format/model_names.h"
#include "format/opened.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

// Keys that speak of the container, not of the model.
bool is_of_container(std::string_view key) {
  return key == "general.alignment" || key == "general.file_type" ||
         key == "general.quantization_version" || key.starts_with("split.");
}

void take_over(const ModelFiles& files, const GgufHeader& header, GgufExport& out) {
  for (size_t i = 0; i < header.key_count(); ++i) {
    if (!is_of_container(header.key_name(i))) out.keys.copy(header, i);
  }
  for (const TensorInfo& from : files.tensors()) {
    ExportTensor tensor;
    // A half of a fused matrix has no place of its own, and the name of the whole.
    tensor.name = from.file < 0 ? gguf_name(from.name) : from.file_name_of_tensor;
    tensor.ne.assign(from.shape.rbegin(), from.shape.rend());
    tensor.source = &from;
    out.tensors.push_back(std::move(tensor));
  }
}

// -1 for tensors outside of layers.
int layer_of(std::string_view gguf) {
  return gguf.starts_with("blk.") ? std::atoi(gguf.data() + 4) : -1;
}

bool is_rotated(std::string_view name) {
  return name.find(".self_attn.q_proj.") != std::string_view::npos ||
         name.find(".self_attn.k_proj.") != std::string_view::npos;
}

ExportTensor tensor_of(const TensorInfo& from, std::string name) {
  ExportTensor tensor;
  tensor.name = std::move(name);
  tensor.ne.assign(from.shape.rbegin(), from.shape.rend());
  tensor.source = &from;
  return tensor;
}

void add_kv_b(const ModelConfig& config, const TensorInfo& from, const std::string& name,
              std::vector<ExportTensor>& out) {
  const auto nope = static_cast<uint64_t>(config.mla->qk_nope_dim);
  const auto value = static_cast<uint64_t>(config.mla->v_dim);
  const auto rank = static_cast<uint64_t>(config.mla->kv_lora_rank);
  const auto heads = static_cast<uint64_t>(config.heads);
  const std::string layer = name.substr(0, name.find("attn_kv_b"));
  ExportTensor keys = tensor_of(from, layer + "attn_k_b.weight");
  keys.ne = {nope, rank, heads};
  keys.order = RowOrder::kv_b_keys;
  keys.heads = heads;
  keys.keys = nope;
  ExportTensor values = tensor_of(from, layer + "attn_v_b.weight");
  values.ne = {rank, value, heads};
  values.order = RowOrder::kv_b_values;
  values.heads = heads;
  values.keys = nope;
  out.push_back(std::move(keys));
  out.push_back(std::move(values));
}

void add_tensor(const ModelConfig& config, const TensorInfo& from, GgufExport& out) {
  const bool of_pictures = config.janus && is_of_pictures(from.name);
  std::string name = of_pictures ? from.name : gguf_name(from.name);
  if (name.empty() || layer_of(name) >= config.layers + config.mtp_layers ||
      (config.tied_head && name == "output.weight")) {
    out.left_out.push_back(from.file_name_of_tensor);
    return;
  }
  if (config.mla && !config.mla->kv_b_split && name.ends_with(".attn_kv_b.weight")) {
    return add_kv_b(config, from, name, out.tensors);
  }
  ExportTensor tensor = tensor_of(from, std::move(name));
  const bool paired = config.architecture == "llama" || config.architecture == "deepseek";
  if (paired && config.rope_layout == RopeLayout::half_split && is_rotated(from.name)) {
    const bool is_query = from.name.find(".q_proj.") != std::string::npos;
    tensor.order = RowOrder::adjacent_pairs;
    tensor.heads = static_cast<uint64_t>(is_query ? config.heads : config.kv_heads);
  }
  out.tensors.push_back(std::move(tensor));
}

base::Result<void> convert(const ModelFiles& files, const NamePreTokenizer& name, GgufExport& out) {
  TRY(add_model_keys(out.config, out.keys));
  ASSIGN(const text::TokenizerSpec spec, files.tokenizer());
  TRY(add_tokenizer_keys(spec, out.config.vocab, name, out.keys));
  for (const TensorInfo& from : files.tensors()) add_tensor(out.config, from, out);
  if (out.config.rope_scaling.kind == RopeScaling::Kind::llama3) {
    ExportTensor divisors;
    divisors.name = "rope_freqs.weight";
    divisors.values = rope_divisors_of(out.config);
    divisors.ne = {divisors.values.size()};
    out.tensors.push_back(std::move(divisors));
  }
  std::stable_sort(out.tensors.begin(), out.tensors.end(),
                   [](const ExportTensor& a, const ExportTensor& b) {
                     return layer_of(a.name) < layer_of(b.name);
                   });
  return {};
}

// Reads and decodes whole rows of the source.
class SourceRows {
 public:
  SourceRows(const ModelFiles& files, const TensorInfo& tensor, uint64_t columns)
      : files_(files),
        tensor_(tensor),
        columns_(columns),
        row_bytes_(tensor::row_bytes(tensor.dtype, columns)) {}

  base::Result<void> read(uint64_t first, uint64_t count, float* out) {
    bytes_.resize(count * row_bytes_);
    TRY(files_.read(tensor_, first * row_bytes_, bytes_));
    for (uint64_t i = 0; i < count; ++i) {
      tensor::decode_row(tensor_.dtype, bytes_.data() + i * row_bytes_, out + i * columns_,
                         static_cast<int64_t>(columns_));
    }
    return {};
  }

 private:
  const ModelFiles& files_;
  const TensorInfo& tensor_;
  uint64_t columns_, row_bytes_;
  std::vector<uint8_t> bytes_;
};

base::Result<void> read_pairs(const ModelFiles& files, const ExportTensor& tensor, uint64_t first,
                              uint64_t count, float* out) {
  // The rows of a bias are its single elements.
  const bool vector = tensor.ne.size() == 1;
  const uint64_t rows = vector ? tensor.ne[0] : tensor.rows();
  const uint64_t columns = vector ? 1 : tensor.columns();
  const uint64_t head = rows / tensor.heads;
  SourceRows source(files, *tensor.source, columns);
  if (vector) {
    first = 0;
    count = rows;
  }
  for (uint64_t row = first; row < first + count; ++row) {
    const uint64_t inside = row % head;
    const uint64_t from = row - inside + inside / 2 + (inside % 2) * (head / 2);
    TRY(source.read(from, 1, out + (row - first) * columns));
  }
  return {};
}

// Row c of head h, element n, is element c of kv_b's row n of this head.
base::Result<void> read_keys(const ModelFiles& files, const ExportTensor& tensor, uint64_t first,
                             uint64_t count, float* out) {
  const uint64_t keys = tensor.keys, rank = tensor.ne[1];
  const uint64_t head_rows = tensor.source->shape[0] / tensor.heads;
  SourceRows source(files, *tensor.source, rank);
  std::vector<float> head(keys * rank);
  for (uint64_t row = first; row < first + count;) {
    const uint64_t h = row / rank;
    TRY(source.read(h * head_rows, keys, head.data()));
    for (; row < first + count && row / rank == h; ++row) {
      float* to = out + (row - first) * keys;
      for (uint64_t n = 0; n < keys; ++n) to[n] = head[n * rank + row % rank];
    }
  }
  return {};
}

base::Result<void> read_values(const ModelFiles& files, const ExportTensor& tensor, uint64_t first,
                               uint64_t count, float* out) {
  const uint64_t values = tensor.ne[1], rank = tensor.ne[0];
  const uint64_t head_rows = tensor.source->shape[0] / tensor.heads;
  SourceRows source(files, *tensor.source, rank);
  for (uint64_t row = first; row < first + count;) {
    const uint64_t inside = row % values;
    const uint64_t run = std::min(values - inside, first + count - row);
    TRY(source.read(row / values * head_rows + tensor.keys + inside, run,
                    out + (row - first) * rank));
    row += run;
  }
  return {};
}

}  // namespace

uint64_t ExportTensor::rows() const {
  uint64_t rows = 1;
  for (size_t i = 1; i < ne.size(); ++i) rows *= ne[i];
  return rows;
}

base::Result<GgufExport> export_gguf(const ModelFiles& files, const NamePreTokenizer& name) {
  GgufExport out;
  ASSIGN(out.config, files.config());
  const auto* opened = dynamic_cast<const OpenedModel*>(&files);
  const GgufHeader* header = opened == nullptr ? nullptr : opened->gguf_header();
  if (header != nullptr) {
    take_over(files, *header, out);
    return out;
  }
  TRY(convert(files, name, out));
  return out;
}

base::Result<void> read_export_rows(const ModelFiles& files, const ExportTensor& tensor,
                                    uint64_t first, uint64_t count, float* out) {
  if (tensor.source == nullptr) {
    std::copy(tensor.values.begin(), tensor.values.end(), out);
    return {};
  }
  switch (tensor.order) {
    case RowOrder::as_stored:
      return SourceRows(files, *tensor.source, tensor.columns()).read(first, count, out);
    case RowOrder::adjacent_pairs:
      return read_pairs(files, tensor, first, count, out);
    case RowOrder::kv_b_keys:
      return read_keys(files, tensor, first, count, out);
    case RowOrder::kv_b_values:
      return read_values(files, tensor, first, count, out);
  }
  return fail(ErrorKind::internal, "a tensor's rows have no order");
}

}  // namespace format
