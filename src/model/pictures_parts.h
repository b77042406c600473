// The two halves of a PictureModel, each a plan of units and the state that they work on. For
// pictures*.cc and their tests.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/pictures_plan.h"
#include "model/pictures_weights.h"
#include "tensor/full_attention.h"
#include "tensor/workspace.h"

namespace model {

// For tests: what stands between two parts, (positions, channels).
using PictureTap =
    std::function<void(const std::string& stage, const float* x, int positions, int channels)>;

// What every unit needs besides its job's own memory.
struct PictureMachine {
  base::Pool* pool = nullptr;
  tensor::Isa isa = tensor::Isa::scalar;
  const PictureWeights* weights = nullptr;
  PictureTap tap;
};

// One workspace that lies ready for the next job of a kind: fresh memory costs a tenth of a job's
// time. A job that finds it taken gets memory of the machine. (One thread: see pictures.h.)
class SpareMemory {
 public:
  explicit SpareMemory(uint64_t bytes) : bytes_(bytes) {}
  // Null if the machine has none.
  std::unique_ptr<tensor::Workspace> take();
  void give_back(std::unique_ptr<tensor::Workspace> workspace) { spare_ = std::move(workspace); }
  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_;
  std::unique_ptr<tensor::Workspace> spare_;
};

// A job's memory; goes back when the job ends.
class JobMemory {
 public:
  JobMemory(SpareMemory& home, std::unique_ptr<tensor::Workspace> workspace)
      : home_(home), workspace_(std::move(workspace)) {
    mark_.emplace(*workspace_);
  }
  ~JobMemory() {
    mark_.reset();
    home_.give_back(std::move(workspace_));
  }
  tensor::Workspace& operator*() const { return *workspace_; }

 private:
  SpareMemory& home_;
  std::unique_ptr<tensor::Workspace> workspace_;
  std::optional<tensor::Workspace::Mark> mark_;
};

// ---- seeing (pictures_vision.cc)

struct SeeSizes {  // floats, if not said otherwise
  uint64_t x = 0, wide = 0, temporary = 0;
  uint64_t rows_bytes[2] = {}, attention_bytes = 0;
  uint64_t bytes() const;  // of the workspace
};

struct SeeState {
  PictureMachine* machine = nullptr;
  JobMemory memory;
  std::vector<uint8_t> canvas;  // (side, side, 3)
  std::vector<float>* embeds = nullptr;
  std::vector<float>* features = nullptr;

  float* x = nullptr;          // (tokens, width): the residual stream
  float* wide = nullptr;       // (tokens, the widest of 3 width, ffn, hidden that stands there)
  float* temporary = nullptr;  // (threads, the longest row)
  // Of the matrix that is multiplied with; the second: of the next one, where products make them.
  uint8_t* rows[2] = {};
  uint8_t* attention = nullptr;

  SeeState(PictureMachine& m, SpareMemory& home, std::unique_ptr<tensor::Workspace> workspace,
           const SeeSizes& sizes);
};

struct SeePlan {
  UnitPlan<SeeState> plan;
  SeeSizes sizes;
  SeePlan(const PictureWeights& weights, int threads);
};

// ---- drawing (pictures_vq.cc)

struct DrawSizes {
  uint64_t buffers[3] = {};
  uint64_t sums = 0;  // doubles
  uint64_t channels = 0, temporary = 0, attention_rows = 0;
  tensor::ConvSizes conv{};
  uint64_t rows_bytes = 0, attention_bytes = 0;
  uint64_t bytes() const;
};

struct DrawState {
  PictureMachine* machine = nullptr;
  JobMemory memory;
  std::vector<int32_t> codes;  // (grid, grid)
  std::vector<uint8_t>* pixels = nullptr;
  std::vector<float>* floats = nullptr;

  float* buffers[3] = {};  // pictures, (height, width, channels)
  double* sums = nullptr;  // of the picture that a norm follows, (height, 2, channels)
  float* scale = nullptr;  // that norm as a scale and a shift, (channels)
  float* shift = nullptr;
  float* temporary = nullptr;       // (threads, channels)
  float* attention_rows = nullptr;  // (positions, 3 channels): q, k, v; then the result in q
  tensor::ConvMemory conv{};
  uint8_t* rows = nullptr;
  uint8_t* attention = nullptr;

  DrawState(PictureMachine& m, SpareMemory& home, std::unique_ptr<tensor::Workspace> workspace,
            const DrawSizes& sizes);
};

struct DrawPlan {
  UnitPlan<DrawState> plan;
  DrawSizes sizes;
  DrawPlan(const PictureWeights& weights, int threads);
};

// ---- both (pictures.cc)

class JanusPictures final : public PictureModel {
 public:
  static base::Result<std::unique_ptr<JanusPictures>> load(const format::ModelFiles& files,
                                                           const PictureOptions& options);
  const PictureInfo& info() const override { return info_; }
  std::unique_ptr<PictureJob> see(std::span<const uint8_t> canvas, std::vector<float>* embeds,
                                  std::vector<float>* features) override;
  std::unique_ptr<PictureJob> draw(std::span<const int32_t> codes, std::vector<uint8_t>* pixels,
                                   std::vector<float>* floats) override;
  std::unique_ptr<PictureJob> palette(std::vector<uint8_t>* colours) override;
  void set_tap(PictureTap tap) { machine_.tap = std::move(tap); }

 private:
  JanusPictures(PictureWeights&& weights, const PictureOptions& options);

  PictureWeights weights_;
  PictureInfo info_;
  PictureMachine machine_;
  SeePlan see_plan_;
  DrawPlan draw_plan_;
  SpareMemory see_memory_, draw_memory_;
};

// A job that draws a grid made for it and fits a linear map from codes to colours (palette.cc).
std::unique_ptr<PictureJob> make_palette_job(PictureModel& model, const PictureWeights& weights,
                                             std::vector<uint8_t>* colours);

}  // namespace model
