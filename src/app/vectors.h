// Reference vectors: what a trusted implementation answers for a model, at chosen positions of
// given ids; of a model that sees and draws also what it makes of pictures, which codes it draws
// and which pixels codes become. `nautile verify` holds a model against them, `--write` makes them.
// The format stands at the head of vectors.cc. Plain data; reading is bounded, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
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
inline constexpr uint64_t picture_bytes_max = 20 << 20;  // of one file
inline constexpr size_t pictures_max = 64;
inline constexpr size_t drawings_max = 64;
inline constexpr size_t grids_max = 64;
inline constexpr size_t codes_max = 1 << 16;  // of one picture
}  // namespace vector_limits

// The logits after one id: all of them, or those of the likeliest ids and the sum of all.
struct VectorRow {
  int position = 0;            // in the prompt
  double log_sum = 0;          // log of the sum of exp(logit) over the whole vocabulary
  std::vector<int32_t> ids;    // distinct, the likeliest first; the id that follows may be the last
  std::vector<double> logits;  // of these ids
};

// A picture's place in a prompt: its rows stand at positions `at`, `at` + 1 …, as many as the model
// makes of a picture.
struct VectorShown {
  int at = 0;
  int picture = 0;  // of Vectors::pictures
};

struct VectorPrompt {
  std::vector<int32_t> ids;
  std::vector<VectorRow> rows;     // by position
  std::vector<VectorShown> shown;  // by position
};

// What a picture becomes before the language model reads it: chosen rows of all.
struct VectorEmbed {
  int row = 0;
  std::vector<double> values;  // (model.hidden)
};
struct VectorPicture {
  std::string file;                 // PNG, JPEG or WebP, whole
  std::vector<VectorEmbed> embeds;  // by row
};

// A picture that is drawn, each code the likeliest one.
struct VectorDrawing {
  std::vector<int32_t> with_text, without_text;  // the two prompts, equally long
  double guidance = 0;
  std::vector<int32_t> codes;   // the first of the picture, or all
  std::vector<VectorRow> rows;  // of logits after guidance; position: which code they are for
};

// What a whole picture's codes are decoded to: every step-th pixel of every step-th row.
struct VectorGrid {
  std::vector<int32_t> codes;  // row after row
  int step = 1;
  std::string levels;  // (rows, pixels of a row, RGB)
};

// What a model must have for the vectors to be its own.
struct VectorModel {
  std::string name;  // "ds-v3": part of a model's name or path, in any case
  std::string architecture;
  int layers = 0, hidden = 0, vocab = 0;
  int codes = 0;  // different codes of pictures; 0: it draws none
};

struct Vectors {
  std::string origin;   // who computed them, with what
  std::string weights;  // the type of the weights that were computed with: "F32", "Q4_1"
  VectorModel model;
  // Largest differences in exact mode: of a logit, of a number of a picture's rows, of a logit
  // after guidance. 0: none is stated.
  double tolerance = 0, tolerance_embeds = 0, tolerance_codes = 0;
  std::vector<VectorPrompt> prompts;
  std::vector<VectorPicture> pictures;
  std::vector<VectorDrawing> drawings;
  std::vector<VectorGrid> grids;

  bool of_pictures() const { return !pictures.empty() || !drawings.empty() || !grids.empty(); }
};

base::Result<Vectors> parse_vectors(std::string_view json, std::string_view file);
std::string dump_vectors(const Vectors& vectors);

// The logarithm of the sum of exponentials.
double log_sum_of(std::span<const float> logits);

// The row of these logits that is kept: all of a small vocabulary, of a large one the likeliest ids
// and `next`, the one that follows (-1: none).
VectorRow kept_row(int position, std::span<const float> logits, int32_t next);

// A folder as reference scripts write it: expected.json, which names tensors in expected.bin, and
// pictures beside them. Has no VectorModel; `ids` of every prompt are checked, rows are whole.
base::Result<Vectors> read_vector_folder(const std::string& folder);
// The parts of such a folder (tests and fuzz targets). `read_picture` is given a plain file name.
using PictureFile = std::function<base::Result<std::string>(const std::string& name)>;
base::Result<Vectors> parse_vector_folder(std::string_view json, std::string_view binary,
                                          const PictureFile& read_picture);

}  // namespace app
