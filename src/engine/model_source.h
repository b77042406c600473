// ModelSource: one configured model. Opening reads its headers, vocabulary and template, which is
// what refusing, measuring and tokenising need; load() reads the weights, later and on another
// thread, as often as the model comes and goes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/options.h"
#include "engine/prompt.h"
#include "media/pictures.h"
#include "model/decoder.h"
#include "model/pictures.h"
#include "model/runner.h"

namespace engine {

struct LoadProgress {
  std::function<void(double fraction)> progress;  // on the loading thread
  const std::atomic<bool>* cancel = nullptr;      // set: load() ends soon as interrupted
};

// A runner and what it borrows.
class LoadedModel {
 public:
  virtual ~LoadedModel() = default;
  virtual model::ModelRunner& runner() = 0;
  virtual model::PictureModel* pictures() { return nullptr; }  // of a model that sees and draws
};

class ModelSource {
 public:
  virtual ~ModelSource() = default;
  // `loaded` is false; the engine knows better.
  virtual const ModelStatus& status() const = 0;
  virtual const PromptBuilder& prompts() const = 0;
  virtual bool exact() const = 0;
  virtual int cache_tokens() const = 0;  // positions of the key/value cache
  // How pictures are put before a model that sees.
  virtual std::optional<media::Fit> fit() const { return std::nullopt; }
  virtual base::Result<std::unique_ptr<LoadedModel>> load(const LoadProgress& progress) const = 0;
};

// What a model that sees and draws takes besides its decoder: weights, a job of each kind, features
// that are kept. 0 for others. `runner` is that of the decoder.
base::Result<uint64_t> picture_memory_bytes(const format::ModelFiles& files,
                                            const model::RunnerOptions& runner);

// A GGUF file or a Hugging Face directory. Context and cache are chosen so that the model fits into
// memory_bytes_max, if it can.
base::Result<std::unique_ptr<ModelSource>> open_model(const ModelEntry& entry,
                                                      const EngineOptions& options,
                                                      uint64_t memory_bytes_max);

}  // namespace engine
