// A model on disk, whatever its container: a GGUF file (or the first of a split set), or a Hugging
// Face directory (config.json, safetensors, tokenizer.json). Opening parses and validates every
// header and nothing else; tensor bytes are read on demand, by position, from the files that were
// opened (a path is never opened twice). Untrusted input: every rule in the .cc heads is enforced.
//
// Names and shapes are normalised here, so that model/ sees one vocabulary of names: those of
// Hugging Face ("model.layers.3.self_attn.q_proj.weight"), shapes row-major [out, in]. Those of the
// DeepSeek families stand in deepseek_config.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "format/deepseek_config.h"
#include "format/janus_config.h"
#include "tensor/dtype.h"
#include "text/tokenizer_spec.h"

namespace format {

struct TensorInfo {
  std::string name;                           // normalised
  std::string file_name_of_tensor;            // as the file has it, for errors
  tensor::Dtype dtype = tensor::Dtype::f32;   // of what read() delivers
  tensor::Dtype stored = tensor::Dtype::f32;  // of what the file has: another one for FP8 only
  std::vector<uint64_t> shape;                // outermost first; 1 to 4 dimensions, none 0
  // Where it lies, if it lies in one piece and is delivered as it is stored; otherwise file is -1,
  // and only read() knows.
  int file = 0;         // index of the opened file
  uint64_t offset = 0;  // absolute byte offset in that file
  uint64_t bytes = 0;   // of what read() delivers: rows * row_bytes(dtype, columns)
  int source = -1;      // for ModelFiles itself
};

enum class RopeLayout : uint8_t { half_split, adjacent_pairs };
struct RopeScaling {
  enum class Kind : uint8_t { none, linear, llama3, yarn } kind = Kind::none;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4, beta_fast = 32, beta_slow = 1;
  int original_context = 0;
  double attention_factor = 1;  // the multiplier on cos and sin, already resolved (models.md §1.5)
};

// One decoder family, all its numbers checked against each other and against the tensors.
struct ModelConfig {
  // "llama", "qwen2", "qwen3", "deepseek" (v1: experts, plain attention), "deepseek2" (V2, V3, R1,
  // Kimi K2: latent attention), "janus" (a llama that sees and draws). What to compute follows from
  // mla, moe and janus, not from this name.
  std::string architecture;
  std::string name, license, quantization;  // for people; quantization: "Q4_K_M", "BF16"
  // With mla: kv_heads = heads, head_dim = qk_nope_dim + qk_rope_dim (only the rope part rotates).
  // ffn is that of dense layers.
  int hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocab = 0;
  int context_tokens_max = 0;
  double rms_eps = 0, rope_base = 0;
  RopeLayout rope_layout = RopeLayout::half_split;
  RopeScaling rope_scaling;
  bool qkv_bias = false, qk_norm = false, tied_head = false;
  std::vector<float> rope_divisors;  // (head_dim / 2)? GGUF rope_freqs
  std::optional<MlaConfig> mla;
  std::optional<MoeConfig> moe;
  std::optional<JanusConfig> janus;  // architecture "janus": a llama that sees and draws
  int mtp_layers = 0;       // that the file really has; their tensors follow those of `layers`
  uint64_t parameters = 0;  // of the main model, without MTP layers
  uint64_t parameters_active = 0;  // that one token is multiplied with, embeddings included
  base::Json sampling_defaults;    // object: temperature, top_p, top_k if generation_config states
};

class ModelFiles {
 public:
  // `path`: a .gguf file, or a directory. Errors name file and field.
  static base::Result<std::unique_ptr<ModelFiles>> open(const std::string& path);
  virtual ~ModelFiles() = default;

  virtual const std::vector<TensorInfo>& tensors() const = 0;
  virtual const TensorInfo* find(std::string_view name) const = 0;
  // Reads [from, from + out.size()) of the tensor's bytes. Any thread.
  virtual base::Result<void> read(const TensorInfo& tensor, uint64_t from,
                                  std::span<uint8_t> out) const = 0;
  // A wish, for weights that are read again and again: see ByteSource.
  virtual void bypass_page_cache() const {}
  virtual uint64_t bytes_total() const = 0;
  virtual std::string container() const = 0;  // "GGUF v3", "safetensors"
  // Raw metadata for `nautile show`: GGUF keys or config.json, arrays shortened.
  virtual base::Json metadata() const = 0;

  // The decoder's numbers; unsupported for architectures that we do not run.
  virtual base::Result<ModelConfig> config() const = 0;
  virtual base::Result<text::TokenizerSpec> tokenizer() const = 0;
};

}  // namespace format
