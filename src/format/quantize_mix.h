// Which type every tensor of a quantised file has. The mixes (…_M) and what gives way where a type
// does not fit are llama.cpp's, so that a file made here has the size and the quality that people
// expect of its name:
//
//   one dimension, norms, routers, biases: F32
//   output (or the embedding that serves as output): Q6_K; Q8_0 where the file is Q8_0
//   attn_v, attn_output and ffn_down: in mixes one or two types better, in some layers or all
//   rows that are no multiple of 256: Q2_K and Q3_K give way to Q4_0, Q4_K to Q5_0, Q5_K to Q5_1,
//     Q6_K to Q8_0; rows that are no multiple of 32 stay F16
//
// What Janus has besides its language model does not follow the file's type (type_of_pictures):
// pictures show what a decoder's noise would hide in text, and it is a sixth of the weights.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "format/model_files.h"

namespace format {

enum class FileType : uint8_t { q8_0, q4_0, q2_k, q3_k_m, q4_k_m, q5_k_m, q6_k };

struct FileTypeInfo {
  FileType type;
  std::string_view name;  // "Q4_K_M"
  uint32_t id;            // general.file_type
  tensor::Dtype base;     // of most tensors
};
std::span<const FileTypeInfo> file_types();
std::optional<FileTypeInfo> find_file_type(std::string_view name);  // in any case

// What of a model the choice depends on.
struct MixModel {
  std::string_view architecture;
  int blocks = 0;  // MTP layers included
  int heads = 1, kv_heads = 1;
  int experts = 0;
  bool has_output = false;  // false: the embedding serves
};

// Whether the tensor is quantised at all.
bool is_quantised(std::string_view gguf_name, std::span<const uint64_t> ne);
// `from` is what the source has: BF16 and F16 are kept.
tensor::Dtype type_of_pictures(std::string_view name, std::span<const uint64_t> ne,
                               tensor::Dtype from);
tensor::Dtype choose_type(FileType file, const MixModel& model, std::string_view gguf_name,
                          std::span<const uint64_t> ne);

}  // namespace format
