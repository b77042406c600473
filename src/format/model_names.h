// GGUF's tensor names, and those of DeepSeek's own checkpoints, as those of Hugging Face, which are
// the normal ones here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace format {

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight". A name outside of the
// vocabulary of our decoders comes back as it is.
std::string normal_name(std::string_view gguf_name);

// The way back: "" for a name that GGUF has no word for.
std::string gguf_name(std::string_view normal);

// Names that DeepSeek's convert script writes: "layers.3.attn.wq_a.weight" ->
// "model.layers.3.self_attn.q_a_proj.weight", "….scale" -> "….weight_scale_inv". Others come back
// as they are.
std::string name_of_deepseek(std::string_view name);

// "model.layers.3.mlp.experts.17.up_proj.weight" as the name of the stack and the expert's place in
// it.
struct ExpertName {
  std::string stacked;  // "model.layers.3.mlp.experts.up_proj.weight"
  uint64_t expert = 0;
};
std::optional<ExpertName> expert_name(std::string_view name);

}  // namespace format
