#include "format/model_names.h"

#include <algorithm>
#include <fmt/format.h>
#include <span>
#include <utility>

namespace format {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr Pair whole_names[] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                {"output_norm.weight", "model.norm.weight"},
                                {"output.weight", "lm_head.weight"}};
constexpr Pair layer_parts[] = {{"attn_norm", "input_layernorm"},
                                {"attn_q", "self_attn.q_proj"},
                                {"attn_k", "self_attn.k_proj"},
                                {"attn_v", "self_attn.v_proj"},
                                {"attn_output", "self_attn.o_proj"},
                                {"attn_q_norm", "self_attn.q_norm"},
                                {"attn_k_norm", "self_attn.k_norm"},
                                {"ffn_norm", "post_attention_layernorm"},
                                {"ffn_gate", "mlp.gate_proj"},
                                {"ffn_up", "mlp.up_proj"},
                                {"ffn_down", "mlp.down_proj"},
                                {"attn_q_a", "self_attn.q_a_proj"},
                                {"attn_q_a_norm", "self_attn.q_a_layernorm"},
                                {"attn_q_b", "self_attn.q_b_proj"},
                                {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"},
                                {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
                                {"attn_kv_b", "self_attn.kv_b_proj"},
                                {"attn_k_b", "self_attn.k_b_proj"},
                                {"attn_v_b", "self_attn.v_b_proj"},
                                {"ffn_gate_inp", "mlp.gate"},
                                {"ffn_gate_exps", "mlp.experts.gate_proj"},
                                {"ffn_up_exps", "mlp.experts.up_proj"},
                                {"ffn_down_exps", "mlp.experts.down_proj"},
                                {"ffn_gate_up_exps", "mlp.experts.gate_up_proj"},
                                {"ffn_gate_shexp", "mlp.shared_experts.gate_proj"},
                                {"ffn_up_shexp", "mlp.shared_experts.up_proj"},
                                {"ffn_down_shexp", "mlp.shared_experts.down_proj"},
                                {"nextn.eh_proj", "eh_proj"},
                                {"nextn.enorm", "enorm"},
                                {"nextn.hnorm", "hnorm"},
                                {"nextn.embed_tokens", "embed_tokens"},
                                {"nextn.shared_head_head", "shared_head.head"},
                                {"nextn.shared_head_norm", "shared_head.norm"}};

// Of DeepSeek's own checkpoints; the parts of attention and of every MLP.
constexpr Pair deepseek_whole_names[] = {{"embed.weight", "model.embed_tokens.weight"},
                                         {"norm.weight", "model.norm.weight"},
                                         {"head.weight", "lm_head.weight"}};
constexpr Pair deepseek_parts[] = {{"attn_norm", "input_layernorm"},
                                   {"ffn_norm", "post_attention_layernorm"},
                                   {"attn.wq", "self_attn.q_proj"},
                                   {"attn.wq_a", "self_attn.q_a_proj"},
                                   {"attn.q_norm", "self_attn.q_a_layernorm"},
                                   {"attn.wq_b", "self_attn.q_b_proj"},
                                   {"attn.wkv_a", "self_attn.kv_a_proj_with_mqa"},
                                   {"attn.kv_norm", "self_attn.kv_a_layernorm"},
                                   {"attn.wkv_b", "self_attn.kv_b_proj"},
                                   {"attn.wo", "self_attn.o_proj"},
                                   {"ffn.gate", "mlp.gate"},
                                   {"ffn.w1", "mlp.gate_proj"},
                                   {"ffn.w2", "mlp.down_proj"},
                                   {"ffn.w3", "mlp.up_proj"},
                                   {"ffn.shared_experts.w1", "mlp.shared_experts.gate_proj"},
                                   {"ffn.shared_experts.w2", "mlp.shared_experts.down_proj"},
                                   {"ffn.shared_experts.w3", "mlp.shared_experts.up_proj"}};
constexpr Pair deepseek_expert_parts[] = {
    {"w1", "gate_proj"}, {"w2", "down_proj"}, {"w3", "up_proj"}};

// Only the one spelling of a number: "3", not "03", so that two names never become one.
bool is_index(std::string_view digits) {
  return !digits.empty() && digits.size() <= 6 && (digits[0] != '0' || digits.size() == 1) &&
         std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view find_in(std::span<const Pair> table, std::string_view key) {
  for (const auto& [from, to] : table) {
    if (key == from) return to;
  }
  return {};
}

// "PREFIX3.PART.KIND", taken apart.
struct LayerName {
  std::string_view index, part, kind;
};
std::optional<LayerName> layer_name(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const size_t dot = name.find('.');
  const size_t last = name.rfind('.');
  if (dot == std::string_view::npos || !is_index(name.substr(0, dot))) return std::nullopt;
  if (last == dot) return LayerName{name.substr(0, dot), name.substr(dot + 1), ""};
  return LayerName{name.substr(0, dot), name.substr(dot + 1, last - dot - 1),
                   name.substr(last + 1)};
}

std::string layer_tensor(std::string_view index, std::string_view part, std::string_view kind) {
  return fmt::format("model.layers.{}.{}{}{}", index, part, kind.empty() ? "" : ".", kind);
}

constexpr std::string_view correction_bias = "mlp.gate.e_score_correction_bias";

}  // namespace

std::string normal_name(std::string_view gguf_name) {
  if (const auto whole = find_in(whole_names, gguf_name); !whole.empty()) return std::string(whole);
  const auto name = layer_name(gguf_name, "blk.");
  if (!name) return std::string(gguf_name);
  // Written with and without a suffix.
  if (name->part == "exp_probs_b" && (name->kind.empty() || name->kind == "bias")) {
    return layer_tensor(name->index, correction_bias, "");
  }
  const auto part = find_in(layer_parts, name->part);
  if (part.empty() || (name->kind != "weight" && name->kind != "bias")) {
    return std::string(gguf_name);
  }
  return layer_tensor(name->index, part, name->kind);
}

std::string gguf_name(std::string_view normal) {
  const auto find_back = [](std::span<const Pair> table, std::string_view key) {
    for (const auto& [from, to] : table) {
      if (key == to) return from;
    }
    return std::string_view();
  };
  if (const auto whole = find_back(whole_names, normal); !whole.empty()) return std::string(whole);
  const auto name = layer_name(normal, "model.layers.");
  if (!name) return "";
  if (name->part == "mlp.gate" && name->kind == "e_score_correction_bias") {
    return fmt::format("blk.{}.exp_probs_b.bias", name->index);
  }
  const auto part = find_back(layer_parts, name->part);
  if (part.empty() || (name->kind != "weight" && name->kind != "bias")) return "";
  return fmt::format("blk.{}.{}.{}", name->index, part, name->kind);
}

std::string name_of_deepseek(std::string_view own) {
  const auto whole = find_in(deepseek_whole_names, own);
  if (!whole.empty()) return std::string(whole);
  const auto name = layer_name(own, "layers.");
  if (!name) return std::string(own);
  if (name->part == "ffn.gate" && name->kind == "bias") {
    return layer_tensor(name->index, correction_bias, "");
  }
  const std::string_view kind = name->kind == "scale" ? "weight_scale_inv" : name->kind;
  if (kind != "weight" && kind != "weight_scale_inv") return std::string(own);
  const auto part = find_in(deepseek_parts, name->part);
  if (!part.empty()) return layer_tensor(name->index, part, kind);
  constexpr std::string_view experts = "ffn.experts.";
  if (!name->part.starts_with(experts)) return std::string(own);
  const std::string_view expert = name->part.substr(experts.size());
  const size_t dot = expert.find('.');
  if (dot == std::string_view::npos || !is_index(expert.substr(0, dot))) return std::string(own);
  const auto projection = find_in(deepseek_expert_parts, expert.substr(dot + 1));
  if (projection.empty()) return std::string(own);
  return layer_tensor(name->index,
                      fmt::format("mlp.experts.{}.{}", expert.substr(0, dot), projection), kind);
}

std::optional<ExpertName> expert_name(std::string_view name) {
  constexpr std::string_view marker = ".mlp.experts.";
  const size_t place = name.find(marker);
  if (!name.starts_with("model.layers.") || place == std::string_view::npos) return std::nullopt;
  const std::string_view rest = name.substr(place + marker.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos || !is_index(rest.substr(0, dot))) return std::nullopt;
  const std::string_view projection = rest.substr(dot + 1);
  if (projection != "gate_proj.weight" && projection != "up_proj.weight" &&
      projection != "down_proj.weight") {
    return std::nullopt;
  }
  ExpertName out;
  out.stacked = fmt::format("{}{}{}", name.substr(0, place), marker, projection);
  for (const char c : rest.substr(0, dot)) {
    out.expert = out.expert * 10 + static_cast<uint64_t>(c - '0');
  }
  return out;
}

}  // namespace format
