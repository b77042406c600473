#include "format/quantize_mix.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

namespace format {
namespace {

using tensor::Dtype;

constexpr std::array<FileTypeInfo, 7> types = {
    FileTypeInfo{FileType::q8_0, "Q8_0", 7, Dtype::q8_0},
    FileTypeInfo{FileType::q6_k, "Q6_K", 18, Dtype::q6_k},
    FileTypeInfo{FileType::q5_k_m, "Q5_K_M", 17, Dtype::q5_k},
    FileTypeInfo{FileType::q4_k_m, "Q4_K_M", 15, Dtype::q4_k},
    FileTypeInfo{FileType::q4_0, "Q4_0", 2, Dtype::q4_0},
    FileTypeInfo{FileType::q3_k_m, "Q3_K_M", 12, Dtype::q3_k},
    FileTypeInfo{FileType::q2_k, "Q2_K", 10, Dtype::q2_k}};

// The layers at both ends, and every third between.
bool uses_more_bits(int layer, int layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

int layer_of(std::string_view name) {
  return name.starts_with("blk.") ? std::atoi(name.data() + 4) : 0;
}

Dtype type_of_values(FileType file, const MixModel& model, int layer, Dtype base) {
  Dtype type = base;
  if (file == FileType::q2_k) {
    type = model.heads / std::max(model.kv_heads, 1) >= 4 ? Dtype::q4_k : Dtype::q3_k;
  } else if (file == FileType::q3_k_m) {
    type = layer < 2 ? Dtype::q5_k : Dtype::q4_k;
  } else if ((file == FileType::q4_k_m || file == FileType::q5_k_m) &&
             uses_more_bits(layer, model.blocks)) {
    type = Dtype::q6_k;
  }
  // The models of 70B share a value among 8 heads: better ones cost nearly nothing.
  constexpr int blocks_of_70b = 80;
  const bool large = model.blocks == blocks_of_70b &&
                     (model.architecture == "llama" || model.architecture == "qwen2");
  if (large && (type == Dtype::q3_k || type == Dtype::q4_k)) type = Dtype::q5_k;
  return model.experts == 8 ? Dtype::q8_0 : type;
}

Dtype type_of_attention_output(FileType file, const MixModel& model, Dtype base) {
  const bool small = file == FileType::q2_k || file == FileType::q3_k_m;
  if (model.experts == 8) return small || file == FileType::q4_k_m ? Dtype::q5_k : base;
  return file == FileType::q2_k ? Dtype::q3_k : file == FileType::q3_k_m ? Dtype::q4_k : base;
}

Dtype type_of_down(FileType file, const MixModel& model, int layer, Dtype base) {
  switch (file) {
    case FileType::q2_k:
      return Dtype::q3_k;
    case FileType::q3_k_m:
      return layer < model.blocks / 16 ? Dtype::q5_k : Dtype::q4_k;
    case FileType::q4_k_m:
    case FileType::q5_k_m:
      return uses_more_bits(layer, model.blocks) ? Dtype::q6_k : base;
    default:
      return base;
  }
}

// What fits into rows of `columns`.
Dtype fitting(Dtype type, uint64_t columns) {
  const auto fits = [&](Dtype dtype) {
    return columns % static_cast<uint64_t>(tensor::info(dtype).block_elements) == 0;
  };
  if (fits(type)) return type;
  switch (type) {
    case Dtype::q2_k:
    case Dtype::q3_k:
      type = Dtype::q4_0;
      break;
    case Dtype::q4_k:
      type = Dtype::q5_0;
      break;
    case Dtype::q5_k:
      type = Dtype::q5_1;
      break;
    default:
      type = Dtype::q8_0;
      break;
  }
  return fits(type) ? type : Dtype::f16;
}

}  // namespace

std::span<const FileTypeInfo> file_types() { return types; }

std::optional<FileTypeInfo> find_file_type(std::string_view name) {
  const auto same = [](char a, char b) { return std::toupper(static_cast<unsigned char>(a)) == b; };
  for (const FileTypeInfo& type : types) {
    if (std::equal(name.begin(), name.end(), type.name.begin(), type.name.end(), same)) {
      return type;
    }
  }
  return std::nullopt;
}

bool is_quantised(std::string_view name, std::span<const uint64_t> ne) {
  const auto dimensions = std::count_if(ne.begin() + 1, ne.end(), [](uint64_t n) { return n > 1; });
  return dimensions > 0 && name.ends_with("weight") && !name.ends_with("_norm.weight") &&
         !name.ends_with("ffn_gate_inp.weight");
}

Dtype type_of_pictures(std::string_view name, std::span<const uint64_t> ne, Dtype from) {
  if (ne.size() == 1) return tensor::info(from).block_elements == 1 ? Dtype::f32 : from;
  const bool adapter = name.starts_with("codes_aligner.") || name.starts_with("codes_head.");
  const auto block = static_cast<uint64_t>(tensor::info(Dtype::q8_0).block_elements);
  if (adapter && ne[0] % block == 0) return Dtype::q8_0;
  return from == Dtype::f32 || from == Dtype::f8_scaled ? Dtype::f16 : from;
}

Dtype choose_type(FileType file, const MixModel& model, std::string_view name,
                  std::span<const uint64_t> ne) {
  const auto found = std::find_if(types.begin(), types.end(),
                                  [&](const FileTypeInfo& info) { return info.type == file; });
  const Dtype base = found->base;
  const int layer = layer_of(name);
  const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  Dtype type = base;
  if (name == "output.weight" || (name == "token_embd.weight" && !model.has_output)) {
    const auto block = static_cast<uint64_t>(tensor::info(base).block_elements);
    type = ne[0] % block != 0 || base == Dtype::q8_0 ? Dtype::q8_0 : Dtype::q6_k;
  } else if (has("attn_v.weight")) {
    type = type_of_values(file, model, layer, base);
  } else if (has("attn_k.weight") && model.experts == 8) {
    type = Dtype::q8_0;
  } else if (has("attn_output.weight")) {
    type = type_of_attention_output(file, model, base);
  } else if (has("ffn_down")) {
    type = type_of_down(file, model, layer, base);
  }
  return fitting(type, ne[0]);
}

}  // namespace format
