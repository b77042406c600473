#include "engine/model_source.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <optional>
#include <sys/stat.h>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/pool.h"
#include "engine/picture_work.h"
#include "format/janus_names.h"
#include "format/model_files.h"
#include "model/decoder.h"
#include "model/disk_estimate.h"
#include "tensor/linear.h"

namespace engine {
namespace {

constexpr int cache_tokens_least = 16'384;
constexpr int context_tokens_least = 2'048;  // what the search for a fitting context ends at
constexpr int batch_tokens_least = 16;
constexpr int batch_tokens_most = 4096;
constexpr int threads_max = 256;

class FileModel final : public LoadedModel {
 public:
  FileModel(std::unique_ptr<base::Pool> pool, std::unique_ptr<model::ModelRunner> runner,
            std::unique_ptr<model::PictureModel> pictures)
      : pool_(std::move(pool)), runner_(std::move(runner)), pictures_(std::move(pictures)) {}
  model::ModelRunner& runner() override { return *runner_; }
  model::PictureModel* pictures() override { return pictures_.get(); }

 private:
  std::unique_ptr<base::Pool> pool_;  // the others borrow it
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<model::PictureModel> pictures_;
};

// What a model that sees and draws has besides its decoder.
struct PicturePart {
  std::optional<media::Fit> fit;
  uint64_t bytes = 0;         // weights, a job of each kind, features that are kept
  uint64_t weight_bytes = 0;  // of them, as the file has them
};

model::PictureOptions picture_options(const model::RunnerOptions& runner) {
  model::PictureOptions options;
  options.pool = runner.pool;
  options.isa = runner.isa;
  options.exact = runner.precision == tensor::Precision::exact;
  options.load.cancel = runner.load.cancel;
  return options;
}

class FileSource final : public ModelSource {
 public:
  FileSource(ModelStatus status, std::unique_ptr<format::ModelFiles> files,
             std::unique_ptr<const PromptBuilder> prompts, model::RunnerOptions runner, int threads,
             PicturePart pictures)
      : status_(std::move(status)),
        files_(std::move(files)),
        prompts_(std::move(prompts)),
        runner_(std::move(runner)),
        threads_(threads),
        pictures_(pictures) {}

  const ModelStatus& status() const override { return status_; }
  const PromptBuilder& prompts() const override { return *prompts_; }
  bool exact() const override { return runner_.precision == tensor::Precision::exact; }
  int cache_tokens() const override { return runner_.kv_pages * model::page_tokens; }
  std::optional<media::Fit> fit() const override { return pictures_.fit; }

  base::Result<std::unique_ptr<LoadedModel>> load(const LoadProgress& progress) const override {
    // A pool of its own: weights may be packed while another model computes.
    auto pool = std::make_unique<base::Pool>(threads_);
    model::RunnerOptions options = runner_;
    options.pool = pool.get();
    options.load.cancel = progress.cancel;
    const auto weights = static_cast<double>(std::max<uint64_t>(status_.weight_bytes, 1));
    const double share = 1 - static_cast<double>(pictures_.weight_bytes) / weights;
    const auto part = [&progress](double from, double width) {
      return [&progress, from, width](double fraction) {
        if (progress.progress) progress.progress(from + width * fraction);
      };
    };
    options.load.progress = part(0, share);
    ASSIGN(auto runner, model::make_runner(*files_, options));
    std::unique_ptr<model::PictureModel> pictures;
    if (pictures_.fit) {
      model::PictureOptions picture = picture_options(options);
      picture.load.progress = part(share, 1 - share);
      ASSIGN(pictures, model::PictureModel::load(*files_, picture));
    }
    return std::make_unique<FileModel>(std::move(pool), std::move(runner), std::move(pictures));
  }

 private:
  ModelStatus status_;
  std::unique_ptr<format::ModelFiles> files_;
  std::unique_ptr<const PromptBuilder> prompts_;
  model::RunnerOptions runner_;
  int threads_;
  PicturePart pictures_;
};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// What the file states, else what the family's makers advise.
base::Json sampling_defaults(const format::ModelConfig& config, const PromptBuilder& prompts) {
  base::Json defaults = base::Json::object();
  if (prompts.janus()) {
    defaults = base::Json::object({{"temperature", 0.1}, {"top_p", 0.95}});
  } else if (prompts.is_r1_family()) {
    defaults = base::Json::object({{"temperature", 0.6}, {"top_p", 0.95}});
  } else if (lower(config.name).find("smollm2") != std::string::npos) {
    defaults = base::Json::object({{"temperature", 0.2}, {"top_p", 0.9}});
  }
  if (config.sampling_defaults.is_object()) {
    for (const auto& [key, value] : config.sampling_defaults.as_object()) defaults.set(key, value);
  }
  return defaults;
}

int64_t modified_unix(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<int64_t>(info.st_mtime) : 0;
}

base::Result<std::optional<tensor::Dtype>> kv_dtype(const std::string& name) {
  if (name.empty()) return std::optional<tensor::Dtype>();
  if (name == "f16") return std::optional(tensor::Dtype::f16);
  if (name == "bf16") return std::optional(tensor::Dtype::bf16);
  if (name == "f32") return std::optional(tensor::Dtype::f32);
  return base::fail(base::ErrorKind::wrong_usage,
                    "keys and values cannot be stored as " + base::shown_name(name), "",
                    "use f16, bf16 or f32");
}

struct Fit {
  int context_tokens = 0;
  int kv_pages = 0;
  model::MemoryPlan plan;
};

// Two contexts of cache where there is room; else one; else a shorter context, unless a person
// asked for this one. If nothing fits, the last try is returned and load() refuses with numbers.
base::Result<Fit> fit(const format::ModelFiles& files, model::RunnerOptions runner, int declared,
                      const ModelEntry& entry, const EngineOptions& options,
                      uint64_t memory_bytes_max) {
  bool asked = entry.context_tokens > 0;
  int context = std::min(declared, asked ? entry.context_tokens : default_context_max);
  // One request at a time needs no second context beside its own.
  int usual = options.running_max == 1 ? context : std::max(2 * context, cache_tokens_least);
  int cache = options.kv_tokens > 0 ? options.kv_tokens : usual;
  bool fixed = options.kv_tokens > 0 || options.kv_bytes > 0;
  if (options.kv_bytes > 0) {
    runner.kv_pages = 1;
    ASSIGN(model::MemoryPlan one_page, model::Decoder::plan(files, runner));
    uint64_t pages = options.kv_bytes / std::max<uint64_t>(one_page.kv_bytes, 1);
    constexpr uint64_t pages_most = std::numeric_limits<int>::max() / model::page_tokens;
    cache = static_cast<int>(std::clamp<uint64_t>(pages, 1, pages_most)) * model::page_tokens;
  }
  Fit fit;
  for (;;) {
    fit.kv_pages = model::pages_for(cache);
    fit.context_tokens = std::min(context, fit.kv_pages * model::page_tokens);
    runner.kv_pages = fit.kv_pages;
    runner.context_tokens_max = fit.context_tokens;
    // A second context is given up before experts go to disk, a part of the first one is not.
    runner.experts_on_disk = fixed || cache <= context;
    ASSIGN(fit.plan, model::Decoder::plan(files, runner));
    if (memory_bytes_max == 0 || fit.plan.total_bytes() <= memory_bytes_max) return fit;
    if (fixed) return fit;
    if (cache > context) {
      cache = context;
    } else if (!asked && context / 2 >= context_tokens_least) {
      context /= 2;
      cache = context;
    } else {
      return fit;
    }
  }
}

// With guessing by choice, its layer is loaded only where there is room for it in memory.
base::Result<Fit> fit_with_speculation(const format::ModelFiles& files,
                                       model::RunnerOptions& runner, int declared,
                                       const ModelEntry& entry, const EngineOptions& options) {
  const uint64_t most = runner.memory_bytes_max;
  runner.mtp = options.speculation != SpeculationMode::off;
  ASSIGN(Fit fitted, fit(files, runner, declared, entry, options, most));
  bool room = most == 0 || fitted.plan.total_bytes() <= most;
  if (options.speculation == SpeculationMode::automatic &&
      (!room || fitted.plan.expert_places > 0)) {
    runner.mtp = false;
    ASSIGN(fitted, fit(files, runner, declared, entry, options, most));
  }
  runner.expert_places = fitted.plan.expert_places;
  return fitted;
}

double gib(double bytes) { return bytes / (1 << 30); }

// The model's fit, for people; before it is loaded.
void announce(const ModelEntry& entry, const EngineOptions& options,
              const format::ModelFiles& files, const model::RunnerOptions& runner,
              const model::MemoryPlan& plan) {
  if (!options.announce) return;
  const bool larger = plan.expert_places > 0;
  options.announce(fmt::format("{}: {}", entry.id, model::memory_text(plan)), larger);
  if (!larger) return;
  std::string speed;
  auto estimate = model::estimate_from_disk(files, runner, plan, base::SystemClock());
  if (estimate) {
    speed = fmt::format(
        "; about {:.2g} tokens/s once warm ({:.2f} GiB from disk a token, at {:.2f} GiB/s)",
        estimate->tokens_per_s(), gib(estimate->disk_bytes_per_token),
        gib(estimate->disk_bytes_per_s));
  }
  options.announce(
      fmt::format("{} is larger than the memory: {} of the {} experts of each layer stay "
                  "in it, {:.1f} GiB are read from disk as they are chosen{}",
                  entry.id, plan.expert_places, plan.experts,
                  gib(static_cast<double>(plan.disk_bytes())), speed),
      larger);
}

base::Result<std::shared_ptr<const text::ChatTemplate>> compile_template(
    const std::string& source) {
  if (source.empty()) return std::shared_ptr<const text::ChatTemplate>();
  ASSIGN(auto compiled, text::ChatTemplate::compile(source));
  return std::shared_ptr<const text::ChatTemplate>(std::move(compiled));
}

base::Result<std::unique_ptr<const PromptBuilder>> make_prompts(const ModelEntry& entry,
                                                                text::TokenizerSpec spec,
                                                                const format::ModelConfig& config,
                                                                const EngineOptions& options) {
  std::string source = spec.chat_template;
  ASSIGN(auto made, text::Tokenizer::make(std::move(spec)));
  std::shared_ptr<const text::Tokenizer> tokenizer = std::move(made);
  if (config.janus) {
    const format::JanusDrawing& drawing = config.janus->drawing;
    ASSIGN(JanusPrompts janus, JanusPrompts::of(*tokenizer, {config.janus->vision.tokens(),
                                                             drawing.codes, drawing.grid}));
    return PromptBuilder::make(std::move(tokenizer), nullptr, "", config.vocab, std::move(janus));
  }
  auto compiled = compile_template(source);
  if (!compiled && options.log) {
    // The model still completes text; chat requests say that there is no template.
    options.log(fmt::format("model {}: its chat template is left out: {}", entry.id,
                            compiled.error().message()));
  }
  return PromptBuilder::make(std::move(tokenizer), compiled ? *compiled : nullptr, source,
                             config.vocab);
}

base::Result<PicturePart> picture_part(const format::ModelFiles& files,
                                       const format::ModelConfig& config,
                                       const model::RunnerOptions& runner) {
  PicturePart part;
  if (!config.janus) return part;
  const format::JanusVision& vision = config.janus->vision;
  part.fit = {vision.side, vision.min_side, vision.background};
  ASSIGN(part.bytes, picture_memory_bytes(files, runner));
  for (const format::TensorInfo& tensor : files.tensors()) {
    if (format::is_of_pictures(tensor.name)) part.weight_bytes += tensor.bytes;
  }
  return part;
}

ModelStatus status_of(const ModelEntry& entry, const format::ModelConfig& config,
                      const PromptBuilder& prompts, const Fit& fitting,
                      const PicturePart& pictures) {
  ModelStatus status;
  status.id = entry.id;
  status.architecture = config.architecture;
  status.quantization = config.quantization;
  status.license = config.license;
  status.parameters = config.parameters;
  status.weight_bytes = fitting.plan.weight_bytes + pictures.weight_bytes;
  status.memory_bytes = fitting.plan.total_bytes();
  status.context_tokens = fitting.context_tokens;
  status.thinking = prompts.thinking();
  status.has_template = prompts.has_template();
  status.tools = prompts.has_tools();
  status.starter = entry.starter;
  status.defaults = sampling_defaults(config, prompts);
  status.created_unix = modified_unix(entry.path);
  if (config.janus) {
    status.sees = true;
    status.picture_tokens = config.janus->vision.tokens() + 2;  // with the marks around it
    status.drawn_side = config.janus->drawing.side();
  }
  return status;
}

}  // namespace

base::Result<uint64_t> picture_memory_bytes(const format::ModelFiles& files,
                                            const model::RunnerOptions& runner) {
  ASSIGN(const format::ModelConfig config, files.config());
  if (!config.janus) return 0;
  ASSIGN(const uint64_t bytes, model::PictureModel::memory_bytes(files, picture_options(runner)));
  return bytes + features_bytes_max;
}

base::Result<std::unique_ptr<ModelSource>> open_model(const ModelEntry& entry,
                                                      const EngineOptions& options,
                                                      uint64_t memory_bytes_max) {
  ASSIGN(auto files, format::ModelFiles::open(entry.path));
  ASSIGN(format::ModelConfig config, files->config());
  ASSIGN(text::TokenizerSpec spec, files->tokenizer());
  ASSIGN(auto prompts, make_prompts(entry, std::move(spec), config, options));

  model::RunnerOptions runner;
  ASSIGN(runner.isa, tensor::choose_isa(options.isa));
  runner.precision = options.exact ? tensor::Precision::exact : tensor::Precision::int8;
  runner.batch_tokens_max =
      std::clamp(options.batch_tokens_max, batch_tokens_least, batch_tokens_most);
  ASSIGN(runner.kv_dtype, kv_dtype(options.kv_type));
  runner.memory_bytes_max = memory_bytes_max;
  runner.expert_places = options.expert_places;
  runner.program_bytes = model::resident_memory_bytes();
  Fit fitting;
  PicturePart pictures;
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  int threads = std::clamp(options.threads > 0 ? options.threads : cores, 1, threads_max);
  {
    // Work space is counted per thread; the pool that computes is made when the model is loaded.
    base::Pool planned(threads);
    runner.pool = &planned;
    auto part = picture_part(*files, config, runner);
    if (!part) return base::fail(std::move(part).error());
    pictures = *part;
    // Its bytes are the decoder's no more; 0 would be no limit.
    if (memory_bytes_max > 0) {
      runner.memory_bytes_max = memory_bytes_max - std::min(pictures.bytes, memory_bytes_max - 1);
    }
    auto fitted = fit_with_speculation(*files, runner, config.context_tokens_max, entry, options);
    if (!fitted) return base::fail(std::move(fitted).error());
    fitting = *fitted;
    fitting.plan.picture_bytes = pictures.bytes;
    announce(entry, options, *files, runner, fitting.plan);
    runner.pool = nullptr;
  }
  runner.kv_pages = fitting.kv_pages;
  runner.context_tokens_max = fitting.context_tokens;

  ModelStatus status = status_of(entry, config, *prompts, fitting, pictures);
  return std::make_unique<FileSource>(std::move(status), std::move(files), std::move(prompts),
                                      runner, threads, pictures);
}

}  // namespace engine
