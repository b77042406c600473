// What the DeepSeek families have beside the numbers of every decoder: latent attention (MLA),
// experts (MoE) and layers that predict one token more (MTP). All numbers are resolved here: no
// reader of these structs needs to know which file said what, or which generation it was.
//
// Tensors that `ModelFiles` offers for them, the same from every container. Names are those of
// Hugging Face, shapes row-major [out, in]; H = heads, N = qk_nope_dim, R = qk_rope_dim,
// V = v_dim, C = kv_lora_rank, Q = q_lora_rank, E = experts, F = expert_ffn, D = hidden.
// `i` is a layer, 0 to layers - 1, or an MTP layer, layers to layers + mtp_layers - 1.
//
//   model.layers.{i}.input_layernorm.weight                    [D]
//   model.layers.{i}.post_attention_layernorm.weight           [D]
//
//   attention with config.mla (otherwise q_proj, k_proj, v_proj, o_proj as in dense decoders):
//   model.layers.{i}.self_attn.q_proj.weight                   [H (N + R), D]    Q == 0
//   model.layers.{i}.self_attn.q_a_proj.weight                 [Q, D]            Q > 0
//   model.layers.{i}.self_attn.q_a_layernorm.weight            [Q]               Q > 0
//   model.layers.{i}.self_attn.q_b_proj.weight                 [H (N + R), Q]    Q > 0
//       of each head the first N rows are nope, the last R rope (adjacent pairs)
//   model.layers.{i}.self_attn.kv_a_proj_with_mqa.weight       [C + R, D]
//   model.layers.{i}.self_attn.kv_a_layernorm.weight           [C]
//   model.layers.{i}.self_attn.kv_b_proj.weight                [H (N + V), C]    !kv_b_split
//       of each head the first N rows are k_nope, the last V are v
//   model.layers.{i}.self_attn.k_b_proj.weight                 [H, C, N]         kv_b_split
//       TRANSPOSED against kv_b: qa[h] = k_b[h] q_nope[h] is a plain product
//   model.layers.{i}.self_attn.v_b_proj.weight                 [H, V, C]         kv_b_split
//   model.layers.{i}.self_attn.o_proj.weight                   [D, H V]
//
//   layers where is_moe(i) is false: mlp.{gate,up,down}_proj with config.ffn, as in dense decoders
//   layers where it is true:
//   model.layers.{i}.mlp.gate.weight                           [E, D]            f32, f16 or bf16
//   model.layers.{i}.mlp.gate.e_score_correction_bias          [E]               correction_bias
//   model.layers.{i}.mlp.experts.gate_proj.weight              [E, F, D]
//   model.layers.{i}.mlp.experts.up_proj.weight                [E, F, D]
//   model.layers.{i}.mlp.experts.down_proj.weight              [E, D, F]
//       ONE tensor for all experts, expert slowest, whatever the file has: single tensors for each
//       expert and the fused gate_up of newer GGUF files are gathered by read()
//   model.layers.{i}.mlp.shared_experts.{gate,up}_proj.weight  [shared_ffn, D]   shared_ffn > 0
//   model.layers.{i}.mlp.shared_experts.down_proj.weight       [D, shared_ffn]   shared_ffn > 0
//
//   only for MTP layers (models.md: u = eh_proj concat(enorm(embed), hnorm(H)), embedding first):
//   model.layers.{i}.enorm.weight, .hnorm.weight               [D]
//   model.layers.{i}.eh_proj.weight                            [D, 2 D]
//   model.layers.{i}.shared_head.norm.weight                   [D]
//   model.layers.{i}.embed_tokens.weight                       [vocab, D]        may be absent
//   model.layers.{i}.shared_head.head.weight                   [vocab, D]        may be absent
//       absent: model.embed_tokens.weight and the head of the main model serve
//
// A matrix that a file keeps as F8_E4M3 with block scales is offered as f8_scaled, or as F32 where
// its rows are no whole blocks of that: weight * scale, each rounded once to f32 (exact where the
// scales are powers of two). Its TensorInfo::stored says F8_E4M3, for people. Norms, biases and
// e_score_correction_bias are f32, f16 or bf16. A file that has kv_b and the pair as well is
// offered with both, and kv_b_split is true.
#pragma once

#include <cstdint>

namespace format {

struct MlaConfig {
  int q_lora_rank = 0;  // 0: q comes directly from q_proj
  int kv_lora_rank = 0;
  int qk_nope_dim = 0, qk_rope_dim = 0, v_dim = 0;  // of one head; qk_rope_dim is even
  double latent_norm_eps = 1e-6;                    // of q_a_layernorm and kv_a_layernorm
  // Multiplier on q k: (nope + rope)^-0.5, times mscale² where YaRN states it.
  double softmax_scale = 0;
  bool kv_b_split = false;  // which tensors there are, the same in every layer
};

struct MoeConfig {
  enum class Scoring : uint8_t { softmax, sigmoid };
  // How a group is judged: by its best score, or by the sum of its best two (of the scores that
  // choose, so with the correction bias).
  enum class GroupScore : uint8_t { best, best_two };

  int experts = 0, experts_used = 0;
  int expert_ffn = 0;
  int shared_experts = 0, shared_ffn = 0;      // shared_ffn = shared_experts * expert_ffn, or 0
  int dense_layers_first = 0, layer_freq = 1;  // see is_moe
  int groups = 1, groups_used = 1;             // groups divides experts; 1: no groups
  GroupScore group_score = GroupScore::best;
  Scoring scoring = Scoring::softmax;
  bool normalise = false;        // chosen weights /= their sum (+ 1e-20)
  double routed_scale = 1;       // then *= this
  bool correction_bias = false;  // added to the scores for choosing only

  bool is_moe(int layer) const { return layer >= dense_layers_first && layer % layer_freq == 0; }
};

}  // namespace format
