// The half of `nautile verify` that sees and draws: the model's own parts held against the pictures
// and grids of reference vectors, and made into such vectors. Codes are logits: verb_verify.cc
// compares them as it compares those of text. One thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/row_runner.h"
#include "app/vectors.h"
#include "media/pictures.h"
#include "model/pictures.h"

namespace app {

// Whether a difference is the worst so far. NaN is, and stays.
inline bool is_worse(double off, double worst) { return !(off <= worst) && !std::isnan(worst); }

// How far numbers are from those of the reference.
struct Closeness {
  int64_t count = 0;
  double worst = 0, sum = 0;               // of the differences, without their sign
  double squares_off = 0, squares_of = 0;  // of the differences, of the reference

  void add(double here, double wanted) {
    const double off = std::fabs(here - wanted);
    ++count;
    if (is_worse(off, worst)) worst = off;
    sum += off;
    squares_off += off * off;
    squares_of += wanted * wanted;
  }
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  // Root mean square of the differences over that of the reference.
  double share() const {
    if (squares_of > 0) return std::sqrt(squares_off / squares_of);
    return squares_off > 0 ? 1 : 0;
  }
};

// Tower, aligner and picture decoder of the model that `opened` has, on its pool, which they must
// not outlive.
class Eyes {
 public:
  static base::Result<Eyes> open(const Session& session, const OneShot& opened, bool exact);

  const model::PictureInfo& info() const { return parts_->info(); }
  // The rows of a picture's file: (info.tokens, info.hidden).
  base::Result<std::vector<float>> look(media::PictureReader& reader, std::string_view file);
  // The pixels of a grid: (drawn_side, drawn_side, 3).
  base::Result<std::vector<uint8_t>> paint(const std::vector<int32_t>& codes);

 private:
  media::Fit fit_;
  std::unique_ptr<model::PictureModel> parts_;
};

// What the model makes of each of the vectors' pictures; their differences go to `closeness`.
base::Result<std::vector<std::vector<float>>> compare_pictures(Eyes& eyes,
                                                               media::PictureReader& reader,
                                                               const Vectors& vectors,
                                                               Closeness& closeness);
// Levels of pixels, 0 to 255.
base::Result<void> compare_grids(Eyes& eyes, const Vectors& vectors, Closeness& closeness);
// invalid_input for codes that the model does not have.
base::Result<void> check_codes(const std::vector<int32_t>& codes, int count);
// The places of a prompt's pictures; invalid_input where they do not fit into it.
base::Result<std::vector<ShownRows>> places_of(const VectorPrompt& prompt, int tokens,
                                               const std::vector<std::vector<float>>& pictures);

// Adds to `vectors`, whose `model` is set, what this model makes of `picture` (a file), of a
// question about it, of the description `text` and of one grid of codes: chosen rows and pixels of
// them. `opened` is exact and has pages for two sequences of tokens_to_write.
base::Result<void> write_pictures(OneShot& opened, Eyes& eyes, media::PictureReader& reader,
                                  const std::string& picture, const std::string& text,
                                  Vectors& vectors);
inline constexpr int tokens_to_write = 2048;  // of a prompt with a picture, or of a description
// Where nobody gives one: smooth colours and a mark in every corner, a PNG.
base::Result<std::string> own_picture();

}  // namespace app
