#include "format/janus_names.h"

#include <array>
#include <charconv>
#include <fmt/format.h>
#include <vector>

namespace format {
namespace {

// Patterns match part by part. "#" is an index, "%" an even one that is halved, "+" one that grows
// by one, "*" is weight or bias, and ">" is all that follows. The first match counts; "" drops the
// tensor.
struct Rule {
  std::string_view own, normal;
};

constexpr Rule original_rules[] = {
    {"language_model.model.>", "model.>"},
    {"language_model.lm_head.weight", "lm_head.weight"},
    {"vision_model.vision_tower.patch_embed.proj.*", "vision.patch.*"},
    {"vision_model.vision_tower.pos_embed", "vision.positions"},
    {"vision_model.vision_tower.blocks.#.attn.>", "vision.layers.#.>"},
    {"vision_model.vision_tower.blocks.#.mlp.>", "vision.layers.#.>"},
    {"vision_model.vision_tower.blocks.#.>", "vision.layers.#.>"},
    {"vision_model.vision_tower.attn_pool.>", ""},
    {"vision_model.vision_tower.>", "vision.>"},
    {"aligner.layers.%.*", "aligner.%.*"},
    {"gen_aligner.layers.%.*", "codes_aligner.%.*"},
    {"gen_embed.weight", "codes.weight"},
    {"gen_head.output_mlp_projector.*", "codes_head.0.*"},
    {"gen_head.vision_head.*", "codes_head.1.*"},
    {"gen_vision_model.quantize.embedding.weight", "vq.codebook.weight"},
    {"gen_vision_model.quantize.>", ""},
    {"gen_vision_model.quant_conv.>", ""},
    {"gen_vision_model.encoder.>", ""},
    {"gen_vision_model.post_quant_conv.*", "vq.post_quant.*"},
    {"gen_vision_model.decoder.conv_blocks.#.upsample.conv.*", "vq.up.#.upsample.*"},
    {"gen_vision_model.decoder.conv_blocks.#.>", "vq.up.#.>"},
    {"gen_vision_model.decoder.>", "vq.>"},
    {"gen_vision_model.>", "vq.>"}};

constexpr Rule port_rules[] = {
    {"model.language_model.>", "model.>"},
    {"model.vision_model.embeddings.patch_embedding.*", "vision.patch.*"},
    {"model.vision_model.embeddings.position_embedding.weight", "vision.positions"},
    {"model.vision_model.embeddings.position_ids", ""},
    {"model.vision_model.encoder.layers.#.layer_norm1.*", "vision.layers.#.norm1.*"},
    {"model.vision_model.encoder.layers.#.layer_norm2.*", "vision.layers.#.norm2.*"},
    {"model.vision_model.encoder.layers.#.self_attn.projection_layer.*", "vision.layers.#.proj.*"},
    {"model.vision_model.encoder.layers.#.mlp.>", "vision.layers.#.>"},
    {"model.vision_model.encoder.layers.#.>", "vision.layers.#.>"},
    {"model.vision_model.post_layernorm.*", "vision.norm.*"},
    {"model.vision_model.>", "vision.>"},
    {"model.aligner.fc1.*", "aligner.0.*"},
    {"model.aligner.hidden_layers.+.*", "aligner.+.*"},
    {"model.generation_aligner.fc1.*", "codes_aligner.0.*"},
    {"model.generation_aligner.hidden_layers.+.*", "codes_aligner.+.*"},
    {"model.generation_embeddings.weight", "codes.weight"},
    {"model.generation_head.proj_out.*", "codes_head.0.*"},
    {"model.generation_head.vision_head.*", "codes_head.1.*"},
    {"model.vqmodel.quantize.embedding.weight", "vq.codebook.weight"},
    {"model.vqmodel.quantize.>", ""},
    {"model.vqmodel.quant_conv.>", ""},
    {"model.vqmodel.encoder.>", ""},
    {"model.vqmodel.post_quant_conv.*", "vq.post_quant.*"},
    {"model.vqmodel.decoder.mid.block_1.>", "vq.mid.0.>"},
    {"model.vqmodel.decoder.mid.attn_1.>", "vq.mid.1.>"},
    {"model.vqmodel.decoder.mid.block_2.>", "vq.mid.2.>"},
    {"model.vqmodel.decoder.up.#.block.>", "vq.up.#.res.>"},
    {"model.vqmodel.decoder.up.#.upsample.conv.*", "vq.up.#.upsample.*"},
    {"model.vqmodel.decoder.>", "vq.>"},
    {"model.vqmodel.>", "vq.>"}};

constexpr int index_max = 999'999;

// Only the one spelling of a number, so that two names never become one; -1 for anything else.
int index_of(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || value < 0 || value > index_max || (text.size() > 1 && text[0] == '0')) return -1;
  return value;
}

// Takes the part before the first dot off `rest`.
std::string_view take_part(std::string_view& rest) {
  const size_t dot = rest.find('.');
  const std::string_view part = rest.substr(0, dot);
  rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  return part;
}

// What the wildcards of a pattern stand for, in order.
bool matches(std::string_view pattern, std::string_view name, std::vector<std::string>& values) {
  values.clear();
  while (!pattern.empty()) {
    const std::string_view wanted = take_part(pattern);
    if (name.empty()) return false;
    if (wanted == ">") {
      values.emplace_back(name);
      return true;
    }
    const std::string_view part = take_part(name);
    if (wanted == "*") {
      if (part != "weight" && part != "bias") return false;
      values.emplace_back(part);
    } else if (wanted == "#" || wanted == "%" || wanted == "+") {
      const int index = index_of(part);
      if (index < 0 || (wanted == "%" && index % 2 != 0)) return false;
      values.push_back(fmt::format("{}", wanted == "%"   ? index / 2
                                         : wanted == "+" ? index + 1
                                                         : index));
    } else if (part != wanted) {
      return false;
    }
  }
  return name.empty();
}

std::string filled(std::string_view pattern, const std::vector<std::string>& values) {
  std::string out;
  size_t next = 0;
  while (!pattern.empty()) {
    const std::string_view part = take_part(pattern);
    const bool wild = part.size() == 1 && std::string_view("#%+*>").find(part[0]) != part.npos;
    if (!out.empty()) out += '.';
    out += wild && next < values.size() ? values[next++] : std::string(part);
  }
  return out;
}

void replace_part(std::string& name, std::string_view from, std::string_view to) {
  const size_t at = name.find(from);
  if (at != std::string::npos) name.replace(at, from.size(), to);
}

JanusName finished(std::string name) {
  if (name.starts_with("vq.")) {
    replace_part(name, ".nin_shortcut.", ".shortcut.");
    replace_part(name, ".proj_out.", ".out.");
    return {std::move(name)};
  }
  if (!name.starts_with("vision.layers.")) return {std::move(name)};
  constexpr std::array<std::string_view, 3> parts = {".self_attn.q_proj.", ".self_attn.k_proj.",
                                                     ".self_attn.v_proj."};
  for (size_t i = 0; i < parts.size(); ++i) {
    if (name.find(parts[i]) == std::string::npos) continue;
    replace_part(name, parts[i], ".qkv.");
    return {std::move(name), static_cast<int>(i)};
  }
  return {std::move(name)};
}

}  // namespace

std::optional<JanusName> janus_name(std::string_view own) {
  std::vector<std::string> values;
  const auto first_match = [&](const auto& rules) -> std::optional<JanusName> {
    for (const Rule& rule : rules) {
      if (!matches(rule.own, own, values)) continue;
      return rule.normal.empty() ? JanusName() : finished(filled(rule.normal, values));
    }
    return std::nullopt;
  };
  if (own.starts_with("model.")) return first_match(port_rules);
  return first_match(original_rules);
}

bool is_of_pictures(std::string_view normal) {
  for (const std::string_view prefix :
       {"vision.", "aligner.", "codes.", "codes_aligner.", "codes_head.", "vq."}) {
    if (normal.starts_with(prefix)) return true;
  }
  return false;
}

}  // namespace format
