#include "model/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <vector>

#include "format/gguf_janus.h"
#include "format/quantize_mix.h"
#include "model/synthetic_janus.h"
#include "tensor/dtype.h"

namespace model {
namespace {

using base::ErrorKind;
using base::Result;
using format::GgufWriter;
using tensor::Dtype;

constexpr uint64_t alignment = 32;  // of each tensor in the file

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

struct Tensor {
  std::string name;
  Dtype dtype;
  int64_t rows, cols;  // rows 0: a vector
  float around = 0;    // vectors: mean of the values
  int64_t count = 1;   // matrices of this shape, one after another
  // Of what is neither: all dimensions, outermost first (`cols` is the last, `rows` the others).
  std::vector<uint64_t> shape = {};
  float deviation = 0;  // 0: by `cols`

  int64_t all_rows() const { return std::max<int64_t>(rows, 1) * count; }
  float sigma() const {
    if (deviation > 0) return deviation;
    return rows ? 1.0f / std::sqrt(static_cast<float>(cols)) : 0.1f;
  }
  std::vector<uint64_t> ne() const {  // innermost first, as the file has them
    if (!shape.empty()) return {shape.rbegin(), shape.rend()};
    std::vector<uint64_t> ne = {static_cast<uint64_t>(cols)};
    if (rows) ne.push_back(static_cast<uint64_t>(rows));
    if (count > 1) ne.push_back(static_cast<uint64_t>(count));
    return ne;
  }
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

void fill_floats(const Tensor& t, float sigma, Random& random, std::vector<uint8_t>& out) {
  const int64_t count = t.all_rows() * t.cols;
  out.resize(count * tensor::info(t.dtype).block_bytes);
  for (int64_t i = 0; i < count; ++i) {
    const float x = t.around + sigma * random.normal();
    if (t.dtype == Dtype::f32) {
      std::memcpy(&out[i * 4], &x, 4);
      continue;
    }
    const uint16_t bits = t.dtype == Dtype::f16 ? tensor::f32_to_f16(x) : tensor::f32_to_bf16(x);
    std::memcpy(&out[i * 2], &bits, 2);
  }
}

void fill_blocks(const Tensor& t, float sigma, Random& random, std::vector<uint8_t>& out) {
  const tensor::DtypeInfo& type = tensor::info(t.dtype);
  if (type.block_elements == 1) return fill_floats(t, sigma, random, out);
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
    if (s_.janus) pictures();
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

  void pictures() {
    for (ShapedTensor& part : janus_tensors(*s_.janus, s_.hidden)) {
      const std::vector<uint64_t> ne(part.shape.rbegin(), part.shape.rend());
      const Dtype type = format::type_of_pictures(part.name, ne, Dtype::bf16);
      const Spread spread = spread_of(part);
      int64_t rows = 1;
      for (size_t i = 1; i < ne.size(); ++i) rows *= static_cast<int64_t>(ne[i]);
      all_.push_back({part.name, type, rows, static_cast<int64_t>(ne[0]), spread.centre, 1,
                      std::move(part.shape), spread.deviation()});
    }
  }

  const SynthShape& s_;
  Types types_;
  std::vector<Tensor> all_;
};

Result<std::vector<Tensor>> tensors_of(const SynthShape& s, std::string_view quantization) {
  return TensorList(s, quantization).make();
}

// Of the last ids of the vocabulary, from its end: what begins and ends a text, then the marks that
// prompts of Janus are made with.
constexpr std::string_view janus_marks[] = {"<|Assistant|>",       "<|User|>",
                                            "<image_placeholder>", "<begin_of_image>",
                                            "<end_of_image>",      "<｜▁pad▁｜>"};
enum TokenType : int32_t { normal = 1, control = 3, unused = 5 };

// A byte-level vocabulary without merges: 256 bytes, then filler that no text produces. That of
// Janus is text, so that a stream of it shows every token.
void put_tokenizer(GgufWriter& out, const SynthShape& s) {
  const auto utf8 = [](int code) {
    if (code < 128) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
  };
  const auto printable = [](int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
  };
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  int next_code = 256;
  for (int i = 0; i < s.vocab; ++i) {
    if (i < 256) {
      tokens.push_back(utf8(printable(i) ? i : next_code++));
    } else {
      tokens.push_back(i == 256 ? "th" : "<|filler_" + std::to_string(i) + "|>");
    }
    types.push_back(i < 257 || s.janus ? normal : unused);
  }
  types.back() = control;
  if (s.janus) {
    for (size_t i = 0; i < std::size(janus_marks); ++i) {
      tokens[tokens.size() - 2 - i] = janus_marks[i];
      types[types.size() - 2 - i] = control;
    }
  }
  out.text("tokenizer.ggml.model", "gpt2");
  out.text("tokenizer.ggml.pre", "qwen2");
  out.texts("tokenizer.ggml.tokens", tokens);
  out.i32s("tokenizer.ggml.token_type", types);
  out.texts("tokenizer.ggml.merges", std::vector<std::string>{"t h"});
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"}) {
    out.u32(key, static_cast<uint64_t>(s.vocab - 1));
  }
  out.boolean("tokenizer.ggml.add_bos_token", s.janus.has_value());
}

// The form of today's converters: keys and values as the cache has them, and beside them what a
// head's would be.
void put_deepseek(GgufWriter& out, const SynthShape& s) {
  const auto number = [&](const std::string& key, int value) {
    out.u32(s.architecture + "." + key, static_cast<uint64_t>(value));
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
  out.f32(s.architecture + ".expert_weights_scale", 1);
  out.text(s.architecture + ".rope.scaling.type", "yarn");
  out.f32(s.architecture + ".rope.scaling.factor", 40);
  number("rope.scaling.original_context_length", 4096);
  out.f32(s.architecture + ".rope.scaling.yarn_log_multiplier", 0.0707);
}

void put_metadata(GgufWriter& out, const SynthShape& s) {
  const auto number = [&](const std::string& key, int value) {
    out.u32(s.architecture + "." + key, static_cast<uint64_t>(value));
  };
  out.text("general.architecture", s.architecture);
  out.text("general.name", "synthetic");
  number("context_length", s.context);
  number("embedding_length", s.hidden);
  number("block_count", s.layers);
  number("feed_forward_length", s.ffn);
  number("attention.head_count", s.heads);
  if (s.architecture == "deepseek2") {
    put_deepseek(out, s);
  } else {
    number("attention.head_count_kv", s.kv_heads);
    number("attention.key_length", s.head_dim);
    number("attention.value_length", s.head_dim);
    number("rope.dimension_count", s.head_dim);
  }
  number("vocab_size", s.vocab);
  out.f32(s.architecture + ".rope.freq_base", s.rope_base);
  out.f32(s.architecture + ".attention.layer_norm_rms_epsilon", s.rms_eps);
  if (s.janus) format::add_janus_keys(*s.janus, out);
  put_tokenizer(out, s);
}

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
  if (name == "janus-pro-1b") {
    SynthShape shape{"janus", 2048, 5632, 24, 16, 16, 128, 102400, 16384, 10000, 1e-6, false};
    shape.janus = janus_pro_1b();
    return shape;
  }
  if (name == "tiny-janus") {
    SynthShape shape{"janus", 64, 96, 2, 2, 2, 32, 512, 1024, 10000, 1e-6, false};
    shape.janus = tiny_janus();
    return shape;
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
                    "smollm2-135m, deepseek-v2-lite, janus-pro-1b, tiny, tiny-deepseek and "
                    "tiny-janus");
}

Result<void> write_synthetic_gguf(const std::string& path, const SynthShape& shape,
                                  std::string_view quantization, uint64_t seed) {
  ASSIGN(const std::vector<Tensor> tensors, tensors_of(shape, quantization));
  GgufWriter writer;
  put_metadata(writer, shape);
  for (const Tensor& t : tensors) writer.tensor(t.name, t.ne(), t.dtype);
  const std::vector<uint8_t> header = writer.header();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  const auto write = [&file](const std::vector<uint8_t>& bytes) {
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  };
  write(header);
  Random random{seed * 0x9E3779B97F4A7C15 + 1};
  std::vector<uint8_t> data;
  for (const Tensor& t : tensors) {
    fill_blocks(t, t.sigma(), random, data);
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    write(data);
  }
  file.flush();
  if (!file) return base::fail(ErrorKind::io, path + ": writing failed", "is the disk full?");
  return {};
}

}  // namespace model
