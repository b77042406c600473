#include "format/model_names.h"

#include <algorithm>
#include <utility>

namespace format {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr Pair whole_names[] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                {"output_norm.weight", "model.norm.weight"},
                                {"output.weight", "lm_head.weight"}};
constexpr Pair layer_parts[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"}};

// Only the one spelling of a number: "3", not "03", so that two names never become one.
bool is_index(std::string_view digits) {
  return !digits.empty() && digits.size() <= 6 && (digits[0] != '0' || digits.size() == 1) &&
         std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string normal_name(std::string_view gguf_name) {
  for (const auto& [from, to] : whole_names) {
    if (gguf_name == from) return std::string(to);
  }
  std::string_view rest = gguf_name;
  if (!rest.starts_with("blk.")) return std::string(gguf_name);
  rest.remove_prefix(4);
  const size_t dot = rest.find('.');
  const size_t last = rest.rfind('.');
  if (dot == std::string_view::npos || last == dot || !is_index(rest.substr(0, dot))) {
    return std::string(gguf_name);
  }
  const std::string_view part = rest.substr(dot + 1, last - dot - 1);
  const std::string_view kind = rest.substr(last + 1);
  if (kind != "weight" && kind != "bias") return std::string(gguf_name);
  for (const auto& [from, to] : layer_parts) {
    if (part == from) {
      return "model.layers." + std::string(rest.substr(0, dot)) + "." + std::string(to) + "." +
             std::string(kind);
    }
  }
  return std::string(gguf_name);
}

}  // namespace format
