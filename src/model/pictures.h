// PictureModel: what Janus has besides its language model. Seeing: the vision tower and the
// aligner, from a square canvas to the embeddings that stand in the place of a prompt's
// placeholders. Drawing: the VQ decoder, from a grid of codes to pixels. (The embedding of codes
// and their head belong to the decoder of ids: runner.h.)
//
// Both take as long as many steps of the language model, so they are jobs that the owner advances
// in slices between steps. A job's result depends on its input alone: not on the slices, not on
// the number of threads.
//
// One thread owns a PictureModel, its jobs and the pool's workers while a slice runs; jobs end
// before their model. Several jobs may be under way; each has its own memory. That of one job of
// each kind is had when the model is loaded; a job beyond is null if the machine has no memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/pool.h"
#include "base/result.h"
#include "format/model_files.h"
#include "model/loader.h"
#include "tensor/linear.h"

namespace model {

struct PictureInfo {
  int side = 0;      // pixels of the canvas that is looked at, each way
  int min_side = 0;  // how it is filled: see format::JanusVision
  int background = 0;
  int tokens = 0;        // rows of embeddings of one picture
  int hidden = 0;        // width of a row
  int vision_width = 0;  // of the tower's own features
  int codes = 0;         // different codes
  int grid = 0;          // codes of a drawn picture, each way
  int drawn_side = 0;    // its pixels, each way
};

class PictureJob {
 public:
  virtual ~PictureJob() = default;
  // One slice of at most about this many multiplications (at least one unit of work, which is never
  // more than operations_unit_max). True: the result is there.
  virtual bool advance(uint64_t operations_max) = 0;
  virtual uint64_t operations_left() const = 0;
};
inline constexpr uint64_t operations_unit_max = 1'000'000'000;

struct PictureOptions {
  base::Pool* pool = nullptr;  // outlives the model
  tensor::Isa isa = tensor::Isa::scalar;
  bool exact = false;  // weights and activations in f32
  // Products on tiles in bf16, not with `exact`. Nothing said: where the processor has them. Plain
  // C++ has them too, for tests.
  std::optional<bool> tiles;
  LoadOptions load;
};

class PictureModel {
 public:
  virtual ~PictureModel() = default;
  // What weights and one job of each kind take, from the headers alone.
  static base::Result<uint64_t> memory_bytes(const format::ModelFiles& files,
                                             const PictureOptions& options);
  static base::Result<std::unique_ptr<PictureModel>> load(const format::ModelFiles& files,
                                                          const PictureOptions& options);

  virtual const PictureInfo& info() const = 0;
  // `canvas`: (side, side, 3) RGB, copied. At the end: `embeds` (tokens, hidden); `features`, if
  // not null, (tokens, vision_width), after the tower's last norm. Both outlive the job.
  virtual std::unique_ptr<PictureJob> see(std::span<const uint8_t> canvas,
                                          std::vector<float>* embeds,
                                          std::vector<float>* features) = 0;
  // `codes`: (grid, grid), each below info().codes, copied. At the end `pixels` (drawn_side,
  // drawn_side, 3) RGB; it outlives the job. `floats`, if not null: (3, side, side) before
  // rounding.
  virtual std::unique_ptr<PictureJob> draw(std::span<const int32_t> codes,
                                           std::vector<uint8_t>* pixels,
                                           std::vector<float>* floats) = 0;
  // The mean colour of each code's square, approximately (a linear map of the codebook fitted to
  // one decoded grid): (codes, 3). For the sketch of a picture that is not finished.
  virtual std::unique_ptr<PictureJob> palette(std::vector<uint8_t>* colours) = 0;
};

}  // namespace model
