#include "model/pictures.h"

#include "base/check.h"
#include "model/pictures_parts.h"

namespace model {

using base::Result;

std::unique_ptr<tensor::Workspace> SpareMemory::take() {
  if (spare_) return std::move(spare_);
  auto fresh = tensor::Workspace::create(bytes_);
  if (!fresh) return nullptr;
  return std::make_unique<tensor::Workspace>(std::move(*fresh));
}

namespace {

PictureInfo info_of(const PictureWeights& weights) {
  const format::JanusVision& v = weights.config.vision;
  const format::JanusDrawing& d = weights.config.drawing;
  PictureInfo info;
  info.side = v.side, info.min_side = v.min_side, info.background = v.background;
  info.tokens = v.tokens(), info.hidden = weights.hidden, info.vision_width = v.width;
  info.codes = d.codes, info.grid = d.grid, info.drawn_side = d.side();
  return info;
}

}  // namespace

Result<uint64_t> PictureModel::memory_bytes(const format::ModelFiles& files,
                                            const PictureOptions& options) {
  ASSIGN(const PictureShapes shapes, picture_shapes(files, options));
  const int threads = options.pool ? options.pool->threads() : 1;
  return shapes.bytes + SeePlan(shapes.weights, threads).sizes.bytes() +
         DrawPlan(shapes.weights, threads).sizes.bytes();
}

Result<std::unique_ptr<PictureModel>> PictureModel::load(const format::ModelFiles& files,
                                                         const PictureOptions& options) {
  ASSIGN(std::unique_ptr<PictureModel> loaded, JanusPictures::load(files, options));
  return loaded;
}

Result<std::unique_ptr<JanusPictures>> JanusPictures::load(const format::ModelFiles& files,
                                                           const PictureOptions& options) {
  CHECK(options.pool, "somebody must do the work");
  ASSIGN(PictureWeights weights, load_pictures(files, options));
  std::unique_ptr<JanusPictures> model(new JanusPictures(std::move(weights), options));
  // The memory of one job of each kind is had now, so that the first one cannot be refused it.
  for (SpareMemory* spare : {&model->see_memory_, &model->draw_memory_}) {
    ASSIGN(tensor::Workspace workspace, tensor::Workspace::create(spare->bytes()));
    spare->give_back(std::make_unique<tensor::Workspace>(std::move(workspace)));
  }
  return model;
}

JanusPictures::JanusPictures(PictureWeights&& weights, const PictureOptions& options)
    : weights_(std::move(weights)),
      info_(info_of(weights_)),
      machine_{options.pool, options.isa, &weights_, {}},
      see_plan_(weights_, options.pool->threads()),
      draw_plan_(weights_, options.pool->threads()),
      see_memory_(see_plan_.sizes.bytes()),
      draw_memory_(draw_plan_.sizes.bytes()) {}

std::unique_ptr<PictureJob> JanusPictures::see(std::span<const uint8_t> canvas,
                                               std::vector<float>* embeds,
                                               std::vector<float>* features) {
  CHECK(canvas.size() == size_t(info_.side) * info_.side * 3, "a canvas of the model's size");
  auto memory = see_memory_.take();
  if (!memory) return nullptr;
  auto state =
      std::make_unique<SeeState>(machine_, see_memory_, std::move(memory), see_plan_.sizes);
  state->canvas.assign(canvas.begin(), canvas.end());
  state->embeds = embeds, state->features = features;
  return std::make_unique<UnitJob<SeeState>>(see_plan_.plan, std::move(state));
}

std::unique_ptr<PictureJob> JanusPictures::draw(std::span<const int32_t> codes,
                                                std::vector<uint8_t>* pixels,
                                                std::vector<float>* floats) {
  CHECK(codes.size() == size_t(info_.grid) * info_.grid, "a grid of the model's size");
  for (const int32_t code : codes) CHECK(code >= 0 && code < info_.codes, "codes of the model");
  auto memory = draw_memory_.take();
  if (!memory) return nullptr;
  auto state =
      std::make_unique<DrawState>(machine_, draw_memory_, std::move(memory), draw_plan_.sizes);
  state->codes.assign(codes.begin(), codes.end());
  state->pixels = pixels, state->floats = floats;
  return std::make_unique<UnitJob<DrawState>>(draw_plan_.plan, std::move(state));
}

std::unique_ptr<PictureJob> JanusPictures::palette(std::vector<uint8_t>* colours) {
  return make_palette_job(*this, weights_, colours);
}

}  // namespace model
