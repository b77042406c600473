// Layout of the file (GGUF v3, little-endian): magic, version, counts, metadata, one record a
// tensor, padding to 32, then the tensors, each padded to 32.
#include "model/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <vector>

#include "tensor/dtype.h"

namespace model {
namespace {

using base::ErrorKind;
using base::Result;
using tensor::Dtype;

constexpr uint64_t alignment = 32;
constexpr uint32_t type_u32 = 4, type_i32 = 5, type_f32 = 6, type_bool = 7, type_string = 8,
                   type_array = 9;

struct Random {  // xorshift: fast, repeats itself for a seed
  uint64_t state;
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  float uniform() { return static_cast<float>(next() >> 40) / (1 << 24); }
  float normal() {  // near enough: the sum of four uniforms, unit variance
    return (uniform() + uniform() + uniform() + uniform() - 2) * 1.7320508f;
  }
};

class Bytes {
 public:
  template <class T>
  void put(T value) {
    const auto* p = reinterpret_cast<const char*>(&value);
    data.insert(data.end(), p, p + sizeof(T));
  }
  void text(std::string_view s) {
    put<uint64_t>(s.size());
    data.insert(data.end(), s.begin(), s.end());
  }
  void pad() { data.resize((data.size() + alignment - 1) / alignment * alignment); }
  std::vector<char> data;
};

struct Tensor {
  std::string name;
  Dtype dtype;
  int64_t rows, cols;  // rows 0: a vector
  float around = 0;    // vectors: mean of the values
  int64_t count = 1;   // matrices of this shape, one after another

  int64_t all_rows() const { return std::max<int64_t>(rows, 1) * count; }
};

struct Half {
  uint16_t bits;
  explicit Half(float x) : bits(tensor::f32_to_f16(x)) {}
};

void set_half(uint8_t* place, float x) {
  const Half half(x);
  std::memcpy(place, &half.bits, 2);
}

// The types of few bits: `sigma` over the deviation of code times inner scale, both random.
void scale_small_block(Dtype dtype, uint8_t* block, float sigma) {
  switch (dtype) {
    case Dtype::q2_k:
      set_half(block + 80, sigma / 12.0f);
      return set_half(block + 82, 1.5f * sigma / 12.0f);
    case Dtype::q3_k:
      return set_half(block + 108, sigma / (18.5f * 2.3f));
    case Dtype::iq4_nl:
      return set_half(block, sigma / 72.0f);
    case Dtype::iq4_xs:
      return set_half(block, sigma / (18.5f * 72.0f));
    case Dtype::mxfp4:
      block[0] = static_cast<uint8_t>(std::clamp(128 + std::ilogb(sigma / 5.7f), 0, 254));
      return;
    case Dtype::iq2_xxs:
    case Dtype::iq2_xs:
    case Dtype::iq2_s:
      return set_half(block, sigma / (2.3f * 25.0f));
    case Dtype::iq3_xxs:
      return set_half(block, sigma / (4.5f * 30.0f));
    case Dtype::iq3_s:
      return set_half(block, sigma / (18.5f * 8.0f));
    case Dtype::iq1_s:
      return set_half(block, sigma / (9.0f * 0.8f));
    case Dtype::iq1_m: {  // a half in the highest bits of four words
      const Half half(sigma / (9.0f * 0.8f));
      for (int i = 0; i < 4; ++i) {
        uint8_t& top = block[49 + 2 * i];
        top = static_cast<uint8_t>((top & 15) | (half.bits >> (4 * i) & 15) << 4);
      }
      return;
    }
    case Dtype::tq1_0:
      return set_half(block + 52, sigma / 0.8f);
    case Dtype::tq2_0:
      return set_half(block + 64, sigma / 1.1f);
    default:
      return;
  }
}

// Random blocks whose decoded weights have about the deviation `sigma`: all bits are random, only
// the scales are set.
void scale_block(Dtype dtype, uint8_t* block, float sigma, Random& random) {
  const auto set = [&](int offset, float x) { set_half(block + offset, x); };
  const float jitter = 0.75f + 0.5f * random.uniform();
  switch (dtype) {
    case Dtype::q4_0:
      return set(0, sigma * jitter / 4.6f);
    case Dtype::q4_1:
      set(2, -7.5f * sigma * jitter / 4.6f);
      return set(0, sigma * jitter / 4.6f);
    case Dtype::q5_0:
      return set(0, sigma * jitter / 9.2f);
    case Dtype::q5_1:
      set(2, -15.5f * sigma * jitter / 9.2f);
      return set(0, sigma * jitter / 9.2f);
    case Dtype::q8_0:
      return set(0, sigma * jitter / 74.0f);
    case Dtype::q4_k:
    case Dtype::q5_k: {
      const float codes = dtype == Dtype::q4_k ? 15.0f : 31.0f;
      set(0, sigma * jitter / (31.5f * 0.45f * codes));
      return set(2, sigma * jitter / (31.5f * 0.9f));
    }
    case Dtype::q6_k:
      return set(208, sigma * jitter / (74.0f * 18.5f));
    default:
      return scale_small_block(dtype, block, sigma * jitter);
  }
}

void fill_blocks(const Tensor& t, float sigma, Random& random, std::vector<uint8_t>& out) {
  const tensor::DtypeInfo& type = tensor::info(t.dtype);
  if (t.dtype == Dtype::f32 || t.dtype == Dtype::f16) {
    const int64_t count = t.all_rows() * t.cols;
    out.resize(count * type.block_bytes);
    for (int64_t i = 0; i < count; ++i) {
      const float x = t.around + sigma * random.normal();
      const Half half(x);
      if (t.dtype == Dtype::f32) {
        std::memcpy(&out[i * 4], &x, 4);
      } else {
        std::memcpy(&out[i * 2], &half.bits, 2);
      }
    }
    return;
  }
  const int64_t blocks = t.all_rows() * t.cols / type.block_elements;
  out.resize((blocks * type.block_bytes + 7) / 8 * 8);
  for (size_t i = 0; i < out.size(); i += 8) {
    const uint64_t bits = random.next();
    std::memcpy(&out[i], &bits, 8);
  }
  out.resize(blocks * type.block_bytes);
  for (int64_t b = 0; b < blocks; ++b) {
    scale_block(t.dtype, &out[b * type.block_bytes], sigma, random);
  }
}

Dtype fallback(Dtype wanted, int64_t cols) {
  if (cols % tensor::info(wanted).block_elements == 0) return wanted;
  switch (wanted) {
    case Dtype::q4_k:
      return Dtype::q5_0;
    case Dtype::q5_k:
      return Dtype::q5_1;
    case Dtype::q6_k:
      return Dtype::q8_0;
    default:
      return Dtype::iq4_nl;
  }
}

// A type that files are named after alone: "IQ2_XXS", "MXFP4".
std::optional<Dtype> pure_type(std::string_view name) {
  for (uint32_t id = 0; id < 64; ++id) {
    const auto info = tensor::dtype_info(id);
    if (!info || info->name != name) continue;
    const bool scaled = info->block_elements > 1 && info->dtype != Dtype::nvfp4;
    return info->dequantizable && scaled ? std::optional(info->dtype) : std::nullopt;
  }
  return std::nullopt;
}

// The type of matrix `name` of layer `layer` (-1: outside the layers).
struct Types {
  std::string_view quantization;
  int layers;
  int counter = 0;

  // As converters choose: what a name like Q4_K_M means for one matrix.
  Result<Dtype> of(std::string_view name, int layer) {
    const std::string_view q = quantization;
    if (q == "Q4_0") return name == "output" ? Dtype::q6_k : Dtype::q4_0;
    if (q == "Q4_1") return name == "token_embd" ? Dtype::q8_0 : Dtype::q4_1;
    if (q == "Q8_0") return Dtype::q8_0;
    if (q == "F16") return Dtype::f16;
    if (q == "Q4_K_M") return name == "output" ? Dtype::q6_k : medium(name, layer, Dtype::q4_k);
    if (q == "Q5_K_M") return name == "output" ? Dtype::q6_k : medium(name, layer, Dtype::q5_k);
    if (q == "Q3_K_M") return q3_k_m(name, layer);
    if (q == "IQ4_XS") return iq4_xs(name, layer);
    if (q == "MIXED") {
      constexpr Dtype all[] = {Dtype::q4_k, Dtype::q6_k, Dtype::q4_0, Dtype::q8_0,
                               Dtype::q5_k, Dtype::q4_1, Dtype::q5_0, Dtype::f16};
      return all[counter++ % std::size(all)];
    }
    if (const auto pure = pure_type(q)) return name == "output" ? Dtype::q6_k : *pure;
    return base::fail(ErrorKind::wrong_usage, "unknown quantisation " + std::string(q),
                      "known are Q4_0, Q4_1, Q8_0, Q3_K_M, Q4_K_M, Q5_K_M, IQ4_XS, F16, MIXED and "
                      "the names of single types");
  }

 private:
  static bool heavy(std::string_view name) {
    return name == "attn_v" || name.starts_with("ffn_down");
  }

  // The first and the last eighth of the layers and every third between them get more bits.
  Dtype medium(std::string_view name, int layer, Dtype type) const {
    const bool finer = layer >= 0 && (layer < layers / 8 || layer >= 7 * layers / 8 ||
                                      (layer - layers / 8) % 3 == 2);
    return finer && heavy(name) ? Dtype::q6_k : type;
  }
  Dtype q3_k_m(std::string_view name, int layer) const {
    if (name == "output") return Dtype::q6_k;
    if (name == "attn_v") return layer < 2 ? Dtype::q5_k : Dtype::q4_k;
    if (name.starts_with("ffn_down")) return layer < layers / 16 ? Dtype::q5_k : Dtype::q4_k;
    return name == "attn_output" ? Dtype::q4_k : Dtype::q3_k;
  }
  Dtype iq4_xs(std::string_view name, int layer) const {
    if (name == "output") return Dtype::q6_k;
    const bool finer = name == "attn_v" || (name.starts_with("ffn_down") && layer < layers / 8);
    return finer ? Dtype::q5_k : Dtype::iq4_xs;
  }
};

// The tensors of a file, in their order.
class TensorList {
 public:
  TensorList(const SynthShape& shape, std::string_view quantization)
      : s_(shape), types_{quantization, shape.layers} {}

  Result<std::vector<Tensor>> make() {
    TRY(matrix(-1, "", {"token_embd", s_.vocab, s_.hidden}));
    for (int i = 0; i < s_.layers; ++i) {
      const std::string at = "blk." + std::to_string(i) + ".";
      vector(at + "attn_norm.weight", s_.hidden, 1);
      vector(at + "ffn_norm.weight", s_.hidden, 1);
      const bool latent = s_.architecture == "deepseek2";
      TRY(latent ? latent_attention(i, at) : dense_attention(i, at));
      TRY(latent && i >= s_.experts.dense_first ? experts(i, at) : feed_forward(i, at, s_.ffn, ""));
    }
    vector("output_norm.weight", s_.hidden, 1);
    if (!s_.tied_head) TRY(matrix(-1, "", {"output", s_.vocab, s_.hidden}));
    return std::move(all_);
  }

 private:
  struct Matrix {
    std::string name;
    int64_t rows, cols;
    int64_t count = 1;
  };
  void vector(const std::string& name, int64_t size, float around) {
    all_.push_back({name, Dtype::f32, 0, size, around});
  }
  Result<void> matrix(int layer, const std::string& at, const Matrix& m) {
    ASSIGN(const Dtype type, types_.of(m.name, layer));
    all_.push_back({at + m.name + ".weight", fallback(type, m.cols), m.rows, m.cols, 0, m.count});
    return {};
  }

  Result<void> dense_attention(int layer, const std::string& at) {
    const int64_t q = int64_t{s_.heads} * s_.head_dim, kv = int64_t{s_.kv_heads} * s_.head_dim;
    TRY(matrix(layer, at, {"attn_q", q, s_.hidden}));
    TRY(matrix(layer, at, {"attn_k", kv, s_.hidden}));
    TRY(matrix(layer, at, {"attn_v", kv, s_.hidden}));
    TRY(matrix(layer, at, {"attn_output", s_.hidden, q}));
    if (s_.architecture == "qwen2") {
      vector(at + "attn_q.bias", q, 0);
      vector(at + "attn_k.bias", kv, 0);
      vector(at + "attn_v.bias", kv, 0);
    }
    if (s_.architecture == "qwen3") {
      vector(at + "attn_q_norm.weight", s_.head_dim, 1);
      vector(at + "attn_k_norm.weight", s_.head_dim, 1);
    }
    return {};
  }

  Result<void> latent_attention(int layer, const std::string& at) {
    const SynthShape::Latent& l = s_.latent;
    const int64_t heads = s_.heads, q = heads * (l.nope + l.rope);
    if (l.q_rank > 0) {
      TRY(matrix(layer, at, {"attn_q_a", l.q_rank, s_.hidden}));
      vector(at + "attn_q_a_norm.weight", l.q_rank, 1);
      TRY(matrix(layer, at, {"attn_q_b", q, l.q_rank}));
    } else {
      TRY(matrix(layer, at, {"attn_q", q, s_.hidden}));
    }
    TRY(matrix(layer, at, {"attn_kv_a_mqa", l.kv_rank + l.rope, s_.hidden}));
    vector(at + "attn_kv_a_norm.weight", l.kv_rank, 1);
    TRY(matrix(layer, at, {"attn_k_b", l.kv_rank, l.nope, heads}));
    TRY(matrix(layer, at, {"attn_v_b", l.value, l.kv_rank, heads}));
    return matrix(layer, at, {"attn_output", s_.hidden, heads * l.value});
  }

  Result<void> feed_forward(int layer, const std::string& at, int64_t width,
                            const std::string& suffix) {
    TRY(matrix(layer, at, {"ffn_gate" + suffix, width, s_.hidden}));
    TRY(matrix(layer, at, {"ffn_up" + suffix, width, s_.hidden}));
    return matrix(layer, at, {"ffn_down" + suffix, s_.hidden, width});
  }

  Result<void> experts(int layer, const std::string& at) {
    const SynthShape::Experts& e = s_.experts;
    all_.push_back({at + "ffn_gate_inp.weight", Dtype::f32, e.count, s_.hidden});
    TRY(matrix(layer, at, {"ffn_gate_exps", e.ffn, s_.hidden, e.count}));
    TRY(matrix(layer, at, {"ffn_up_exps", e.ffn, s_.hidden, e.count}));
    TRY(matrix(layer, at, {"ffn_down_exps", s_.hidden, e.ffn, e.count}));
    return feed_forward(layer, at, int64_t{e.shared} * e.ffn, "_shexp");
  }

  const SynthShape& s_;
  Types types_;
  std::vector<Tensor> all_;
};

Result<std::vector<Tensor>> tensors_of(const SynthShape& s, std::string_view quantization) {
  return TensorList(s, quantization).make();
}

// A byte-level vocabulary without merges: 256 bytes, then filler that no text produces.
void put_tokenizer(Bytes& out, const SynthShape& s, int& entries) {
  const auto array = [&](const char* key, uint32_t type, uint64_t count) {
    out.text(key), out.put(type_array), out.put(type), out.put(count), ++entries;
  };
  const auto utf8 = [](int code) {
    if (code < 128) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
  };
  const auto printable = [](int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
  };
  out.text("tokenizer.ggml.model"), out.put(type_string), out.text("gpt2"), ++entries;
  out.text("tokenizer.ggml.pre"), out.put(type_string), out.text("qwen2"), ++entries;
  array("tokenizer.ggml.tokens", type_string, s.vocab);
  int next_code = 256;
  for (int i = 0; i < s.vocab; ++i) {
    if (i < 256) {
      out.text(utf8(printable(i) ? i : next_code++));
    } else if (i == 256) {
      out.text("th");
    } else {
      out.text("<|filler_" + std::to_string(i) + "|>");
    }
  }
  array("tokenizer.ggml.token_type", type_i32, s.vocab);
  for (int i = 0; i < s.vocab; ++i) out.put<int32_t>(i < 257 ? 1 : i == s.vocab - 1 ? 3 : 5);
  array("tokenizer.ggml.merges", type_string, 1);
  out.text("t h");
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"}) {
    out.text(key), out.put(type_u32), out.put<uint32_t>(s.vocab - 1), ++entries;
  }
  out.text("tokenizer.ggml.add_bos_token"), out.put(type_bool), out.put<uint8_t>(0), ++entries;
}

// The form of today's converters: keys and values as the cache has them, and beside them what a
// head's would be.
void put_deepseek(Bytes& out, const SynthShape& s, int& entries) {
  const auto number = [&](const std::string& key, int value) {
    out.text(s.architecture + "." + key), out.put(type_u32), ++entries;
    out.put(static_cast<uint32_t>(value));
  };
  const auto real = [&](const std::string& key, double value) {
    out.text(s.architecture + "." + key), out.put(type_f32), ++entries;
    out.put(static_cast<float>(value));
  };
  const SynthShape::Latent& l = s.latent;
  const SynthShape::Experts& e = s.experts;
  number("attention.head_count_kv", 1);
  number("attention.key_length", l.kv_rank + l.rope);
  number("attention.value_length", l.kv_rank);
  number("attention.key_length_mla", l.nope + l.rope);
  number("attention.value_length_mla", l.value);
  number("attention.kv_lora_rank", l.kv_rank);
  if (l.q_rank > 0) number("attention.q_lora_rank", l.q_rank);
  number("rope.dimension_count", l.rope);
  number("leading_dense_block_count", e.dense_first);
  number("expert_count", e.count);
  number("expert_used_count", e.used);
  number("expert_shared_count", e.shared);
  number("expert_feed_forward_length", e.ffn);
  number("expert_gating_func", 1);
  real("expert_weights_scale", 1);
  out.text(s.architecture + ".rope.scaling.type"), out.put(type_string), out.text("yarn");
  ++entries;
  real("rope.scaling.factor", 40);
  number("rope.scaling.original_context_length", 4096);
  real("rope.scaling.yarn_log_multiplier", 0.0707);
}

Bytes metadata(const SynthShape& s, int& entries) {
  Bytes out;
  const auto number = [&](const std::string& key, uint32_t value) {
    out.text(s.architecture + "." + key), out.put(type_u32), out.put(value), ++entries;
  };
  const auto real = [&](const std::string& key, double value) {
    out.text(s.architecture + "." + key), out.put(type_f32), out.put(static_cast<float>(value));
    ++entries;
  };
  out.text("general.architecture"), out.put(type_string), out.text(s.architecture), ++entries;
  out.text("general.name"), out.put(type_string), out.text("synthetic"), ++entries;
  number("context_length", s.context);
  number("embedding_length", s.hidden);
  number("block_count", s.layers);
  number("feed_forward_length", s.ffn);
  number("attention.head_count", s.heads);
  if (s.architecture == "deepseek2") {
    put_deepseek(out, s, entries);
  } else {
    number("attention.head_count_kv", s.kv_heads);
    number("attention.key_length", s.head_dim);
    number("attention.value_length", s.head_dim);
    number("rope.dimension_count", s.head_dim);
  }
  number("vocab_size", s.vocab);
  real("rope.freq_base", s.rope_base);
  real("attention.layer_norm_rms_epsilon", s.rms_eps);
  put_tokenizer(out, s, entries);
  return out;
}

uint64_t bytes_of(const Tensor& t) { return t.all_rows() * tensor::row_bytes(t.dtype, t.cols); }

}  // namespace

Result<SynthShape> named_shape(std::string_view name) {
  if (name == "r1-distill-qwen-1.5b") return SynthShape{};
  if (name == "r1-distill-qwen-7b") {
    return SynthShape{"qwen2", 3584, 18944, 28, 28, 4, 128, 152064, 131072, 10000, 1e-6, false};
  }
  if (name == "r1-distill-llama-8b") {
    return SynthShape{"llama", 4096, 14336, 32, 32, 8, 128, 128256, 131072, 500000, 1e-5, false};
  }
  if (name == "smollm2-135m") {
    return SynthShape{"llama", 576, 1536, 30, 9, 3, 64, 49152, 8192, 100000, 1e-5, true};
  }
  if (name == "tiny") {
    return SynthShape{"qwen2", 512, 768, 2, 6, 2, 64, 512, 4096, 10000, 1e-6, false};
  }
  if (name == "deepseek-v2-lite") {
    return SynthShape{"deepseek2", 2048,   10944,  27,    16,   16,
                      192,         102400, 163840, 10000, 1e-6, false};
  }
  if (name == "tiny-deepseek") {
    return SynthShape{"deepseek2",
                      512,
                      768,
                      3,
                      4,
                      4,
                      96,
                      512,
                      4096,
                      10000,
                      1e-6,
                      false,
                      {0, 128, 64, 32, 64},
                      {1, 8, 3, 1, 256}};
  }
  return base::fail(ErrorKind::wrong_usage, "unknown shape " + std::string(name),
                    "known are r1-distill-qwen-1.5b, r1-distill-qwen-7b, r1-distill-llama-8b, "
                    "smollm2-135m, deepseek-v2-lite, tiny and tiny-deepseek");
}

Result<void> write_synthetic_gguf(const std::string& path, const SynthShape& shape,
                                  std::string_view quantization, uint64_t seed) {
  ASSIGN(const std::vector<Tensor> tensors, tensors_of(shape, quantization));
  int entries = 0;
  const Bytes pairs = metadata(shape, entries);
  Bytes header;
  header.put<uint32_t>(0x46554747);  // "GGUF"
  header.put<uint32_t>(3);
  header.put<uint64_t>(tensors.size());
  header.put<uint64_t>(entries);
  header.data.insert(header.data.end(), pairs.data.begin(), pairs.data.end());
  uint64_t offset = 0;
  for (const Tensor& t : tensors) {
    header.text(t.name);
    header.put<uint32_t>(t.count > 1 ? 3 : t.rows ? 2 : 1);
    header.put<uint64_t>(t.cols);
    if (t.rows) header.put<uint64_t>(t.rows);
    if (t.count > 1) header.put<uint64_t>(t.count);
    header.put<uint32_t>(static_cast<uint32_t>(t.dtype));
    header.put<uint64_t>(offset);
    offset += (bytes_of(t) + alignment - 1) / alignment * alignment;
  }
  header.pad();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(header.data.data(), static_cast<std::streamsize>(header.data.size()));
  Random random{seed * 0x9E3779B97F4A7C15 + 1};
  std::vector<uint8_t> data;
  for (const Tensor& t : tensors) {
    const float sigma = t.rows ? 1.0f / std::sqrt(static_cast<float>(t.cols)) : 0.1f;
    fill_blocks(t, sigma, random, data);
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    file.write(reinterpret_cast<const char*>(data.data()),
               static_cast<std::streamsize>(data.size()));
  }
  file.flush();
  if (!file) return base::fail(ErrorKind::io, path + ": writing failed", "is the disk full?");
  return {};
}

}  // namespace model
