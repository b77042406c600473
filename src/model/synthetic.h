// Synthetic GGUF files: the shape and types of a real model, random blocks instead of trained
// weights. They are for speed and for tests of arithmetic; their text is noise. Random weights
// cost the same time as real ones, and need no download.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "format/janus_config.h"

namespace model {

struct SynthShape {
  // "llama", "qwen2" (biases), "qwen3" (q and k norm), "deepseek2" (latent attention and experts),
  // "janus" (a Llama that sees and draws: docs/janus-gguf.md)
  std::string architecture = "qwen2";
  int hidden = 1536, ffn = 8960, layers = 28, heads = 12, kv_heads = 2, head_dim = 128;
  int vocab = 151936, context = 131072;
  double rope_base = 10000, rms_eps = 1e-6;
  bool tied_head = false;

  // deepseek2 only; head_dim and kv_heads are not read.
  struct Latent {
    int q_rank = 0, kv_rank = 512, nope = 128, rope = 64, value = 128;
  } latent;
  struct Experts {
    int dense_first = 1, count = 64, used = 6, shared = 2, ffn = 1408;
  } experts;

  std::optional<format::JanusConfig> janus = std::nullopt;  // of "janus"
};

// "r1-distill-qwen-1.5b", "r1-distill-qwen-7b", "r1-distill-llama-8b", "smollm2-135m",
// "deepseek-v2-lite", "janus-pro-1b", "tiny", "tiny-deepseek", "tiny-janus".
base::Result<SynthShape> named_shape(std::string_view name);

// `quantization`: Q4_0, Q4_1, Q8_0, Q3_K_M, Q4_K_M, Q5_K_M, IQ4_XS, F16, MIXED (every common type
// in turn), or a single type (Q2_K, IQ2_XXS, MXFP4 ...). Where a row is no multiple of 256 the
// K-quants fall back to 32-blocks, as converters do. What Janus has besides its language model is
// BF16, or Q8_0 where `nautile quantize` makes that of it.
base::Result<void> write_synthetic_gguf(const std::string& path, const SynthShape& shape,
                                        std::string_view quantization, uint64_t seed);

}  // namespace model
