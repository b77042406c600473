// Reference vectors: what a trusted implementation answers for a model, at chosen positions of
// given ids. `nautile verify` holds a model against them, `--write` makes them. The format stands
// at the head of vectors.cc. Plain data; reading is bounded, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace app {

namespace vector_limits {
inline constexpr uint64_t file_bytes_max = 64 << 20;
inline constexpr size_t prompts_max = 4096;
inline constexpr size_t prompt_ids_max = 1 << 20;
}  // namespace vector_limits

// The logits after one id: all of them, or those of the likeliest ids and the sum of all.
struct VectorRow {
  int position = 0;            // in the prompt
  double log_sum = 0;          // log of the sum of exp(logit) over the whole vocabulary
  std::vector<int32_t> ids;    // distinct, the likeliest first; the id that follows may be the last
  std::vector<double> logits;  // of these ids
};

struct VectorPrompt {
  std::vector<int32_t> ids;
  std::vector<VectorRow> rows;  // by position
};

// What a model must have for the vectors to be its own.
struct VectorModel {
  std::string name;  // "ds-v3": part of a model's name or path, in any case
  std::string architecture;
  int layers = 0, hidden = 0, vocab = 0;
};

struct Vectors {
  std::string origin;   // who computed them, with what
  std::string weights;  // the type of the weights that were computed with: "F32", "Q4_1"
  VectorModel model;
  double tolerance = 0;  // largest difference of a logit in exact mode; 0: none is stated
  std::vector<VectorPrompt> prompts;
};

base::Result<Vectors> parse_vectors(std::string_view json, std::string_view file);
std::string dump_vectors(const Vectors& vectors);

// A folder as reference scripts write it: expected.json, which names tensors in expected.bin. Has
// no VectorModel; `ids` of every prompt are checked, rows are whole.
base::Result<Vectors> read_vector_folder(const std::string& folder);
// The parts of such a folder (tests and fuzz targets).
base::Result<Vectors> parse_vector_folder(std::string_view json, std::string_view binary);

}  // namespace app
