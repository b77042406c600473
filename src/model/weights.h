// The weights of a decoder as they lie in memory after loading: matrices packed for tensor::linear,
// vectors as f32, all in one arena. Matrices are [out, in]. Letters: D hidden, H heads, N, R and V
// the nope, rope and value dimensions of a head, C the latent's, Q the query latent's, E experts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "format/model_files.h"
#include "tensor/arena.h"
#include "tensor/packed.h"

namespace model {

class ExpertCache;

using Config = format::ModelConfig;

// One matrix for each head or expert, all of one shape and type.
using MatrixStack = std::vector<tensor::PackedMatrix>;

// Attention with keys and values for each KV head (Llama, Qwen, DeepSeek v1).
struct DenseAttentionWeights {
  tensor::PackedMatrix q;         // (H * head_dim, D)
  tensor::PackedMatrix k, v;      // (kv_heads * head_dim, D)
  const float* q_bias = nullptr;  // (H * head_dim)?
  const float* k_bias = nullptr;  // (kv_heads * head_dim)?
  const float* v_bias = nullptr;  // (kv_heads * head_dim)?
  const float* q_norm = nullptr;  // (head_dim)?
  const float* k_norm = nullptr;  // (head_dim)?
};

// Latent attention (DeepSeek V2, V3). A head's keys are k_up latent, its values v_up latent;
// k_absorb is k_up transposed, so that a query can be turned into one for the latent itself. The
// file has one of the two; the other is made when loading.
struct LatentAttentionWeights {
  tensor::PackedMatrix q_a;          // (Q, D)?
  const float* q_a_norm = nullptr;   // (Q)?
  tensor::PackedMatrix q;            // (H * (N + R), Q or D)
  tensor::PackedMatrix kv_a;         // (C + R, D)
  const float* kv_a_norm = nullptr;  // (C)
  MatrixStack k_up;                  // H of (N, C)
  MatrixStack k_absorb;              // H of (C, N)
  MatrixStack v_up;                  // H of (V, C)
};

struct FeedForwardWeights {
  tensor::PackedMatrix gate, up;  // (ffn, D)
  tensor::PackedMatrix down;      // (D, ffn)
};

struct ExpertWeights {
  tensor::PackedMatrix router;  // (E, D)
  const float* bias = nullptr;  // (E)? added to the scores for choosing
  MatrixStack gate, up;         // E of (expert_ffn, D)
  MatrixStack down;             // E of (D, expert_ffn)
};

struct LayerWeights {
  const float* attention_norm = nullptr;  // (D)
  DenseAttentionWeights dense;            // unless config.mla
  LatentAttentionWeights latent;          // if config.mla
  tensor::PackedMatrix o;                 // (D, H * value dim)
  const float* ffn_norm = nullptr;        // (D)
  FeedForwardWeights ffn;                 // of a dense layer, or the shared experts
  bool has_ffn = true;                    // false: experts, and none of them shared
  std::optional<ExpertWeights> experts;
};

// The embedding's rows are decoded one at a time. With a tied head they are those of `head`;
// otherwise they stay as the file has them.
struct Embedding {
  const uint8_t* rows = nullptr;  // (ids, row_bytes)?
  tensor::Dtype dtype = tensor::Dtype::f32;
};

// The layer that predicts the token after next.
struct MtpWeights {
  Embedding embedding;           // without rows: the main model's
  const float* enorm = nullptr;  // (D) on the embedding
  const float* hnorm = nullptr;  // (D) on the main model's last state
  tensor::PackedMatrix eh_proj;  // (D, 2 D) the embedding's half first
  LayerWeights layer;
  const float* head_norm = nullptr;  // (D)
  tensor::PackedMatrix head;         // (vocab, D)? without data: the main model's
};

// y = W x + b.
struct AffineWeights {
  tensor::PackedMatrix w;
  const float* bias = nullptr;
};

// Janus: image codes as what the decoder reads, and its state as logits of the next code. GELU (by
// the error function) stands between two maps.
struct CodesWeights {
  Embedding embedding;                 // (codes, code_width)
  std::vector<AffineWeights> aligner;  // (D, code_width), then (D, D)
  AffineWeights head_in;               // (head_width, D)
  AffineWeights head_out;              // (codes, head_width)
};

struct Weights {
  tensor::WeightArena arena;
  std::unique_ptr<ExpertCache> expert_cache;  // set: experts are in memory only while it says so
  Embedding embedding;
  std::vector<LayerWeights> layers;   // (layers)
  const float* final_norm = nullptr;  // (D)
  tensor::PackedMatrix head;          // (vocab, D)
  std::optional<MtpWeights> mtp;
  std::optional<CodesWeights> codes;
};

}  // namespace model
