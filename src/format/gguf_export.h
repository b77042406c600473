// What a GGUF file of a model holds, whatever container the model comes from: the keys, and the
// tensors with their GGUF names, shapes and the order of their rows. Types are not decided here.
//
// From a GGUF file everything is taken over: keys that this program does not know, names, shapes.
// From Hugging Face and DeepSeek's own layout keys and tensors are made as llama.cpp's converter
// makes them, so that every reader of GGUF finds what it expects:
//  - llama and deepseek (v1): the rows of q and k, and their biases, are put into adjacent pairs;
//  - deepseek2: kv_b becomes k_b, transposed, and v_b; heads and widths are those of the latent
//    form, the sizes of a head stand in the …_mla keys;
//  - llama3's scaling becomes the divisors rope_freqs.weight;
//  - janus: docs/janus-gguf.md;
//  - the vocabulary is padded to the rows of the embedding with tokens that are never used.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "format/gguf_writer.h"
#include "format/model_files.h"

namespace format {

enum class RowOrder : uint8_t {
  as_stored,
  adjacent_pairs,  // of each head row 2 i is i, row 2 i + 1 is i + head / 2
  kv_b_keys,       // of each head of kv_b the first `keys` rows, transposed
  kv_b_values      // of each head of kv_b the other rows
};

struct ExportTensor {
  std::string name;
  std::vector<uint64_t> ne;            // contiguous axis first
  const TensorInfo* source = nullptr;  // of the ModelFiles; nullptr: `values`
  std::vector<float> values;           // (ne[0])
  RowOrder order = RowOrder::as_stored;
  uint64_t heads = 1, keys = 0;

  uint64_t columns() const { return ne[0]; }
  uint64_t rows() const;
};

struct GgufExport {
  GgufWriter keys;  // without general.file_type
  std::vector<ExportTensor> tensors;
  std::vector<std::string> left_out;  // tensors of the source that are no part of the decoder
  ModelConfig config;
};

// Names the pre-tokenizer whose steps a tokenizer.json states, or "" if none is known.
using NamePreTokenizer = std::function<std::string(const text::TokenizerSpec&)>;

// `files` lives longer than what is returned.
base::Result<GgufExport> export_gguf(const ModelFiles& files, const NamePreTokenizer& name);

// Rows [first, first + count) decoded. Any thread; for kv_b_keys whole heads are fastest.
base::Result<void> read_export_rows(const ModelFiles& files, const ExportTensor& tensor,
                                    uint64_t first, uint64_t count,
                                    float* out /* (count, columns) */);

// Keys of a model that does not come from GGUF (gguf_export_keys.cc).
base::Result<void> add_model_keys(const ModelConfig& config, GgufWriter& keys);
base::Result<void> add_tokenizer_keys(const text::TokenizerSpec& spec, int vocab,
                                      const NamePreTokenizer& name, GgufWriter& keys);
// llama3's scaling as what the frequencies are divided by; (head_dim / 2).
std::vector<float> rope_divisors_of(const ModelConfig& config);

}  // namespace format
