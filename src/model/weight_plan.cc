#include "model/weight_plan.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace model {
namespace {

using base::ErrorKind;
using base::Result;
using format::TensorInfo;
using tensor::Dtype;

using Shape = std::vector<int64_t>;  // row-major, as TensorInfo::shape

std::string shape_text(const auto& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string layer_prefix(int index) { return fmt::format("model.layers.{}.", index); }

Result<void> check_shape(const TensorInfo& tensor, const Shape& shape) {
  if (std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end(),
                 [](int64_t a, uint64_t b) { return static_cast<uint64_t>(a) == b; })) {
    return {};
  }
  return base::fail(
      ErrorKind::invalid_input,
      fmt::format("tensor {} has the shape {}", base::shown_name(tensor.file_name_of_tensor),
                  shape_text(tensor.shape)),
      fmt::format("the configuration asks for {}", shape_text(shape)));
}

Result<void> check_type(const TensorInfo& tensor, int64_t rows, int64_t cols) {
  const tensor::DtypeInfo& type = tensor::info(tensor.dtype);
  if (!type.dequantizable || cols % type.block_elements != 0) {
    return base::fail(ErrorKind::unsupported,
                      fmt::format("tensor {} has the type {}, {} numbers a row",
                                  base::shown_name(tensor.file_name_of_tensor), type.name, cols),
                      "this program cannot compute with that", "use another quantisation");
  }
  if (tensor.bytes != rows * tensor::row_bytes(tensor.dtype, cols)) {
    return base::fail(ErrorKind::invalid_input,
                      fmt::format("tensor {} has {} bytes",
                                  base::shown_name(tensor.file_name_of_tensor), tensor.bytes),
                      "its type and shape need another number");
  }
  return {};
}

class Planner {
 public:
  Planner(const format::ModelFiles& files, const Config& config, const WeightOptions& options,
          Weights& weights)
      : files_(files), config_(config), options_(options), weights_(weights) {}

  Result<std::vector<WeightItem>> plan() {
    const Config& c = config_;
    weights_.layers.resize(c.layers);
    for (int i = 0; i < c.layers; ++i) TRY(layer(i, weights_.layers[i]));
    TRY(vector("model.norm.weight", c.hidden, weights_.final_norm));
    if (c.tied_head) {
      TRY(matrix("model.embed_tokens.weight", c.vocab, c.hidden, weights_.head));
    } else {
      TRY(matrix("lm_head.weight", c.vocab, c.hidden, weights_.head));
      TRY(table("model.embed_tokens.weight", c.vocab, c.hidden, weights_.embedding));
    }
    if (c.janus) TRY(codes(c.janus->drawing, weights_.codes.emplace()));
    if (options_.mtp && c.mtp_layers > 0) TRY(mtp(c.layers, weights_.mtp.emplace()));
    return std::move(items_);
  }

 private:
  Result<void> layer(int index, LayerWeights& w) {
    const Config& c = config_;
    const std::string at = layer_prefix(index);
    TRY(vector(at + "input_layernorm.weight", c.hidden, w.attention_norm));
    if (c.mla) {
      TRY(latent_attention(at + "self_attn.", w));
    } else {
      TRY(dense_attention(at + "self_attn.", w));
    }
    TRY(vector(at + "post_attention_layernorm.weight", c.hidden, w.ffn_norm));
    if (!c.moe || !c.moe->is_moe(index)) return feed_forward(at + "mlp.", c.ffn, w.ffn);
    TRY(experts(at + "mlp.", index, w.experts.emplace()));
    w.has_ffn = c.moe->shared_ffn > 0;
    if (w.has_ffn) TRY(feed_forward(at + "mlp.shared_experts.", c.moe->shared_ffn, w.ffn));
    return {};
  }

  Result<void> dense_attention(const std::string& at, LayerWeights& layer) {
    const Config& c = config_;
    DenseAttentionWeights& w = layer.dense;
    const int64_t q_rows = int64_t{c.heads} * c.head_dim,
                  kv_rows = int64_t{c.kv_heads} * c.head_dim;
    TRY(matrix(at + "q_proj.weight", q_rows, c.hidden, w.q));
    TRY(matrix(at + "k_proj.weight", kv_rows, c.hidden, w.k));
    TRY(matrix(at + "v_proj.weight", kv_rows, c.hidden, w.v));
    if (c.qkv_bias) {
      TRY(vector(at + "q_proj.bias", q_rows, w.q_bias));
      TRY(vector(at + "k_proj.bias", kv_rows, w.k_bias));
      TRY(vector(at + "v_proj.bias", kv_rows, w.v_bias));
    }
    if (c.qk_norm) {
      TRY(vector(at + "q_norm.weight", c.head_dim, w.q_norm));
      TRY(vector(at + "k_norm.weight", c.head_dim, w.k_norm));
    }
    return matrix(at + "o_proj.weight", c.hidden, q_rows, layer.o);
  }

  Result<void> latent_attention(const std::string& at, LayerWeights& layer) {
    const Config& c = config_;
    const format::MlaConfig& m = *c.mla;
    LatentAttentionWeights& w = layer.latent;
    const int64_t q_rows = int64_t{c.heads} * (m.qk_nope_dim + m.qk_rope_dim);
    if (m.q_lora_rank > 0) {
      TRY(matrix(at + "q_a_proj.weight", m.q_lora_rank, c.hidden, w.q_a));
      TRY(vector(at + "q_a_layernorm.weight", m.q_lora_rank, w.q_a_norm));
      TRY(matrix(at + "q_b_proj.weight", q_rows, m.q_lora_rank, w.q));
    } else {
      TRY(matrix(at + "q_proj.weight", q_rows, c.hidden, w.q));
    }
    TRY(matrix(at + "kv_a_proj_with_mqa.weight", m.kv_lora_rank + m.qk_rope_dim, c.hidden, w.kv_a));
    TRY(vector(at + "kv_a_layernorm.weight", m.kv_lora_rank, w.kv_a_norm));
    TRY(m.kv_b_split ? split_up_projections(at, w) : whole_up_projection(at, w));
    return matrix(at + "o_proj.weight", c.hidden, int64_t{c.heads} * m.v_dim, layer.o);
  }

  Result<void> whole_up_projection(const std::string& at, LatentAttentionWeights& w) {
    const format::MlaConfig& m = *config_.mla;
    const int64_t head_rows = m.qk_nope_dim + m.v_dim;
    ASSIGN(const TensorInfo* tensor,
           find(at + "kv_b_proj.weight", {config_.heads * head_rows, m.kv_lora_rank}));
    stack(tensor, m.qk_nope_dim, m.kv_lora_rank, {0, head_rows}, w.k_up);
    turned_stack(tensor, m.kv_lora_rank, m.qk_nope_dim, {0, head_rows}, w.k_absorb);
    stack(tensor, m.v_dim, m.kv_lora_rank, {m.qk_nope_dim, head_rows}, w.v_up);
    return {};
  }

  Result<void> split_up_projections(const std::string& at, LatentAttentionWeights& w) {
    const format::MlaConfig& m = *config_.mla;
    const int64_t latent = m.kv_lora_rank;
    ASSIGN(const TensorInfo* k,
           find(at + "k_b_proj.weight", {config_.heads, latent, m.qk_nope_dim}));
    ASSIGN(const TensorInfo* v, find(at + "v_b_proj.weight", {config_.heads, m.v_dim, latent}));
    stack(k, latent, m.qk_nope_dim, {0, latent}, w.k_absorb);
    turned_stack(k, m.qk_nope_dim, latent, {0, latent}, w.k_up);
    stack(v, m.v_dim, latent, {0, m.v_dim}, w.v_up);
    return {};
  }

  Result<void> feed_forward(const std::string& at, int64_t width, FeedForwardWeights& w) {
    const int64_t hidden = config_.hidden;
    TRY(matrix(at + "gate_proj.weight", width, hidden, w.gate));
    TRY(matrix(at + "up_proj.weight", width, hidden, w.up));
    return matrix(at + "down_proj.weight", hidden, width, w.down);
  }

  Result<void> experts(const std::string& at, int index, ExpertWeights& w) {
    const format::MoeConfig& m = *config_.moe;
    const int64_t hidden = config_.hidden, width = m.expert_ffn;
    TRY(matrix(at + "gate.weight", m.experts, hidden, w.router));
    if (m.correction_bias) {
      TRY(vector(at + "gate.e_score_correction_bias", m.experts, w.bias));
    }
    struct Projection {
      const char* name;
      int64_t rows, cols;
      MatrixStack* to;
    };
    for (const Projection& p : {Projection{"gate_proj", width, hidden, &w.gate},
                                Projection{"up_proj", width, hidden, &w.up},
                                Projection{"down_proj", hidden, width, &w.down}}) {
      ASSIGN(const TensorInfo* tensor,
             find(at + "experts." + p.name + ".weight", {m.experts, p.rows, p.cols}));
      p.to->resize(m.experts);
      stack(tensor, p.rows, p.cols, {0, p.rows}, *p.to);
      items_.back().expert_layer = index;
    }
    return {};
  }

  Result<void> mtp(int index, MtpWeights& w) {
    const Config& c = config_;
    const std::string at = layer_prefix(index);
    TRY(vector(at + "enorm.weight", c.hidden, w.enorm));
    TRY(vector(at + "hnorm.weight", c.hidden, w.hnorm));
    TRY(matrix(at + "eh_proj.weight", c.hidden, int64_t{2} * c.hidden, w.eh_proj));
    TRY(layer(index, w.layer));
    TRY(vector(at + "shared_head.norm.weight", c.hidden, w.head_norm));
    if (files_.find(at + "shared_head.head.weight")) {
      TRY(matrix(at + "shared_head.head.weight", c.vocab, c.hidden, w.head));
    }
    if (files_.find(at + "embed_tokens.weight")) {
      TRY(table(at + "embed_tokens.weight", c.vocab, c.hidden, w.embedding));
    }
    return {};
  }

  Result<void> codes(const format::JanusDrawing& d, CodesWeights& w) {
    const int64_t hidden = config_.hidden;
    TRY(table("codes.weight", d.codes, d.code_width, w.embedding));
    w.aligner.resize(d.aligner_layers);
    for (int i = 0; i < d.aligner_layers; ++i) {
      TRY(affine(fmt::format("codes_aligner.{}", i), hidden, i == 0 ? d.code_width : hidden,
                 w.aligner[i]));
    }
    TRY(affine("codes_head.0", d.head_width, hidden, w.head_in));
    return affine("codes_head.1", d.codes, d.head_width, w.head_out);
  }

  Result<void> affine(const std::string& name, int64_t rows, int64_t cols, AffineWeights& to) {
    TRY(matrix(name + ".weight", rows, cols, to.w));
    return vector(name + ".bias", rows, to.bias);
  }

  // The tensor of that name, checked: its shape, and that rows of it can be computed with.
  Result<const TensorInfo*> find(const std::string& name, const Shape& shape) {
    const TensorInfo* tensor = files_.find(name);
    if (!tensor) {
      return base::fail(ErrorKind::invalid_input, fmt::format("the model has no tensor {}", name),
                        "its configuration says that it must have one",
                        "download the file again; it may be cut short or of another family");
    }
    TRY(check_shape(*tensor, shape));
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    TRY(check_type(*tensor, rows, shape.back()));
    return tensor;
  }

  struct Place {
    int64_t first_row, row_step;
  };
  WeightItem item(const TensorInfo* tensor, int64_t rows, int64_t cols, Place place, int count) {
    WeightItem item;
    item.tensor = tensor;
    item.dtype = tensor->dtype;
    item.count = count;
    item.rows = rows;
    item.cols = cols;
    item.first_row = place.first_row;
    item.row_step = place.row_step;
    return item;
  }
  void add_matrices(WeightItem item, tensor::PackedMatrix* to) {
    item.matrices = to;
    item.matrix_bytes = tensor::packed_bytes(item.dtype, item.rows, item.cols);
    item.bytes = item.matrix_bytes * item.count;
    items_.push_back(item);
  }

  Result<void> matrix(const std::string& name, int64_t rows, int64_t cols,
                      tensor::PackedMatrix& to) {
    ASSIGN(const TensorInfo* tensor, find(name, {rows, cols}));
    add_matrices(item(tensor, rows, cols, {0, rows}, 1), &to);
    return {};
  }

  void stack(const TensorInfo* tensor, int64_t rows, int64_t cols, Place place, MatrixStack& to) {
    if (to.empty()) to.resize(config_.heads);
    add_matrices(item(tensor, rows, cols, place, static_cast<int>(to.size())), to.data());
  }

  // The transposed copy of matrices that the file has as (cols, rows). Blocks cannot be turned:
  // quantised weights become f16 (2^-11 of each weight, far below what their own type left), or
  // f32 where every bit counts.
  void turned_stack(const TensorInfo* tensor, int64_t rows, int64_t cols, Place place,
                    MatrixStack& to) {
    to.resize(config_.heads);
    WeightItem turned = item(tensor, rows, cols, place, config_.heads);
    turned.transposed = true;
    if (tensor->dtype == Dtype::f8_scaled) {
      turned.dtype = Dtype::f32;  // its own numbers
    } else if (tensor::info(tensor->dtype).block_elements > 1) {
      turned.dtype = options_.exact ? Dtype::f32 : Dtype::f16;
    }
    add_matrices(turned, to.data());
  }

  Result<void> vector(const std::string& name, int64_t size, const float*& to) {
    ASSIGN(const TensorInfo* tensor, find(name, {size}));
    WeightItem vector = item(tensor, 1, size, {0, 1}, 1);
    vector.vector = &to;
    vector.bytes = size * sizeof(float);
    items_.push_back(vector);
    return {};
  }

  Result<void> table(const std::string& name, int64_t rows, int64_t cols, Embedding& to) {
    ASSIGN(const TensorInfo* tensor, find(name, {rows, cols}));
    to.dtype = tensor->dtype;
    WeightItem table = item(tensor, rows, cols, {0, rows}, 1);
    table.table = &to.rows;
    table.bytes = tensor->bytes;
    items_.push_back(table);
    return {};
  }

  const format::ModelFiles& files_;
  const Config& config_;
  const WeightOptions& options_;
  Weights& weights_;
  std::vector<WeightItem> items_;
};

}  // namespace

Result<std::vector<WeightItem>> plan_weights(const format::ModelFiles& files, const Config& config,
                                             const WeightOptions& options, Weights& weights) {
  return Planner(files, config, options, weights).plan();
}

}  // namespace model
