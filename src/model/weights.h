// The weights of a decoder (Llama, Qwen2, Qwen3), as they lie in memory after loading: matrices
// packed for tensor::linear, vectors as f32, all in one arena. Matrices are [out, in].
#pragma once

#include <cstdint>
#include <vector>

#include "format/model_files.h"
#include "tensor/arena.h"
#include "tensor/packed.h"

namespace model {

using Config = format::ModelConfig;

struct LayerWeights {
  const float* attention_norm = nullptr;  // (hidden)
  tensor::PackedMatrix q;                 // (heads * head_dim, hidden)
  tensor::PackedMatrix k, v;              // (kv_heads * head_dim, hidden)
  const float* q_bias = nullptr;          // (heads * head_dim)?
  const float* k_bias = nullptr;          // (kv_heads * head_dim)?
  const float* v_bias = nullptr;          // (kv_heads * head_dim)?
  const float* q_norm = nullptr;          // (head_dim)?
  const float* k_norm = nullptr;          // (head_dim)?
  tensor::PackedMatrix o;                 // (hidden, heads * head_dim)
  const float* ffn_norm = nullptr;        // (hidden)
  tensor::PackedMatrix gate, up;          // (ffn, hidden)
  tensor::PackedMatrix down;              // (hidden, ffn)
};

struct Weights {
  tensor::WeightArena arena;
  // The embedding's rows are decoded one at a time. With a tied head they are those of `head`;
  // otherwise they stay as the file has them.
  const uint8_t* embedding_rows = nullptr;  // (vocab, row_bytes)?
  tensor::Dtype embedding_dtype = tensor::Dtype::f32;
  std::vector<LayerWeights> layers;   // (layers)
  const float* final_norm = nullptr;  // (hidden)
  tensor::PackedMatrix head;          // (vocab, hidden)
};

}  // namespace model
