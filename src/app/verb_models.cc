// list, show, rm, ps: the models on disk and the ones that a running server holds.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>
#include <unistd.h>

#include "app/command_line.h"
#include "app/local_http.h"
#include "app/model_store.h"
#include "app/probes.h"
#include "app/verb.h"
#include "base/json.h"
#include "base/pool.h"
#include "engine/model_source.h"
#include "format/model_files.h"
#include "model/decoder.h"
#include "pull/catalogue.h"

namespace app {
namespace {

constexpr double mib = 1024.0 * 1024.0;

struct ListOptions {
  bool json = false, names = false, catalogue = false;
};

// What there is to fetch, held against this machine's memory and its bandwidth as measured now.
base::Result<int> list_catalogue(const Session& session, bool json) {
  const uint64_t memory = machine_memory_bytes();
  ASSIGN(const Config config, session.config());
  int threads = static_cast<int>(config.integer("threads"));
  if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  base::Pool pool(threads);
  const double bandwidth = stream_read_gb_per_s(pool, 3);
  if (!json) print_line(base::say(session.language, base::Message::catalogue_head));
  for (const pull::CatalogueModel& model : pull::catalogue()) {
    const bool fits = model.fits(memory);
    const double speed = model.tokens_per_s(bandwidth);
    if (json) {
      std::printf("%s\n", base::Json::object({{"name", model.name},
                                              {"short_name", model.short_name},
                                              {"reference", model.reference},
                                              {"licence", model.licence},
                                              {"gib", model.gib},
                                              {"parameters_b", model.parameters_b},
                                              {"active_b", model.active_b},
                                              {"memory_gib", model.memory_gib()},
                                              {"tokens_per_s_at_most", speed},
                                              {"bandwidth_gb_per_s", bandwidth},
                                              {"fits", fits},
                                              {"runs", model.runs}})
                              .dump()
                              .c_str());
      continue;
    }
    std::printf(
        "%-30s %-12s %8.1f %9.1f %8s  %s\n", std::string(model.name).c_str(),
        std::string(model.short_name).c_str(), model.gib, model.memory_gib(),
        fits && model.runs ? fmt::format("{:.1f}", speed).c_str() : "-",
        (std::string(model.licence) +
         (model.runs ? "" : "  " + base::say(session.language, base::Message::catalogue_not_yet)))
            .c_str());
  }
  if (!json) {
    print_line(base::say(session.language, base::Message::catalogue_foot,
                         static_cast<double>(memory) / (1024 * mib), bandwidth,
                         distill_suggestion(memory)));
  }
  return exit_done;
}

// What happened and why, without the advice, for a line of a table.
std::string reason_of(const Session& session, const base::Error& error) {
  std::string text = base::translated(session.language, error.what);
  if (!error.why.empty()) text += ", " + base::translated(session.language, error.why);
  return text;
}

// `not_runnable`: why not; empty if it is a model that can be run.
void print_entry(const Session& session, const ListOptions& options, const StoredModel& entry,
                 const std::string& not_runnable) {
  if (options.json) {
    base::Json object = base::Json::object({{"name", entry.name},
                                            {"path", entry.path},
                                            {"bytes", static_cast<int64_t>(entry.bytes)},
                                            {"starter", entry.starter}});
    if (!not_runnable.empty()) object.set("not_runnable", not_runnable);
    return print_line(object.dump());
  }
  std::string note;
  if (entry.starter) note = "  " + base::say(session.language, base::Message::list_demonstration);
  if (!not_runnable.empty()) {
    note = "  " + base::say(session.language, base::Message::list_not_runnable,
                            base::translated(session.language, not_runnable));
  }
  print_line(fmt::format("{:<48} {:>9.1f} MiB{}", entry.name,
                         static_cast<double>(entry.bytes) / mib, note));
}

base::Result<int> list_models(const Session& session, const ListOptions& options) {
  if (options.catalogue) return list_catalogue(session, options.json);
  const std::vector<StoredModel> models = stored_models(session.places);
  for (const StoredModel& model : models) {
    if (options.names) {
      print_line(model.name);
      continue;
    }
    const auto runnable = check_runnable(model);
    print_entry(session, options, model,
                runnable       ? ""
                : options.json ? runnable.error().message()
                               : reason_of(session, runnable.error()));
  }
  if (options.names) return exit_done;
  for (const StrayFile& file : stray_files(session.places)) {
    print_entry(session, options, {file.name, file.path, file.bytes, false}, file.why);
  }
  if (models.empty() && !options.json) {
    std::fprintf(stderr, "%s\n",
                 base::say(session.language, base::Message::serve_no_model,
                           distill_suggestion(machine_memory_bytes()))
                     .c_str());
  }
  return exit_done;
}

base::Json describe(const StoredModel& stored, const format::ModelFiles& files,
                    const format::ModelConfig* config) {
  base::Json object =
      base::Json::object({{"name", stored.name},
                          {"path", stored.path},
                          {"container", files.container()},
                          {"bytes", static_cast<int64_t>(files.bytes_total())},
                          {"tensors", static_cast<int64_t>(files.tensors().size())}});
  if (config != nullptr) {
    object.set("architecture", config->architecture);
    object.set("title", config->name);
    object.set("license", config->license);
    object.set("quantization", config->quantization);
    object.set("parameters", static_cast<int64_t>(config->parameters));
    object.set("parameters_active", static_cast<int64_t>(config->parameters_active));
    object.set("layers", config->layers);
    object.set("hidden", config->hidden);
    object.set("heads", config->heads);
    object.set("kv_heads", config->kv_heads);
    object.set("head_dim", config->head_dim);
    object.set("vocabulary", config->vocab);
    object.set("context_tokens", config->context_tokens_max);
    if (config->moe) {
      object.set("experts", config->moe->experts);
      object.set("experts_used", config->moe->experts_used);
    }
    if (config->mtp_layers > 0) object.set("mtp_layers", config->mtp_layers);
    if (config->janus) {
      object.set("picture_pixels", config->janus->vision.side);
      object.set("picture_tokens", config->janus->vision.tokens());
      object.set("drawn_pixels", config->janus->drawing.side());
      object.set("image_codes", config->janus->drawing.codes);
    }
    // Two bytes a number: of keys and values, or of the one latent that stands for both.
    const int64_t width = config->mla ? config->mla->kv_lora_rank + config->mla->qk_rope_dim
                                      : int64_t{2} * config->kv_heads * config->head_dim;
    const int64_t kv_bytes_per_token = 2 * config->layers * width;
    object.set("kv_bytes_per_token", kv_bytes_per_token);
  }
  return object;
}

struct ShowOptions {
  std::string model;
  bool json = false, metadata = false;
};

// How the model would fit into this machine's memory now, or into the setting, with 8192 positions.
base::Result<void> describe_fit(const Session& session, const format::ModelFiles& files,
                                base::Json& object) {
  constexpr int tokens = 8192;
  constexpr uint64_t program_bytes = 64 << 20;  // about: vocabularies are not read here
  ASSIGN(const Config settings, session.config());
  base::Pool pool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())), 0);
  const auto memory = static_cast<uint64_t>(settings.integer("memory"));
  model::RunnerOptions runner;
  runner.pool = &pool;
  runner.kv_pages = tokens / model::page_tokens;
  runner.context_tokens_max = tokens;
  runner.batch_tokens_max = static_cast<int>(settings.integer("batch-tokens"));
  runner.memory_bytes_max = memory > 0 ? memory : model::available_memory_bytes();
  runner.program_bytes = program_bytes;
  ASSIGN(runner.isa,
         tensor::choose_isa(settings.text("isa") == "auto" ? "" : settings.text("isa")));
  ASSIGN(const uint64_t picture_bytes, engine::picture_memory_bytes(files, runner));
  const uint64_t available = runner.memory_bytes_max;
  runner.memory_bytes_max -= std::min(picture_bytes, available - std::min<uint64_t>(available, 1));
  ASSIGN(model::MemoryPlan plan, model::Decoder::plan(files, runner));
  plan.picture_bytes = picture_bytes;
  object.set("memory_bytes_for_8k_context", static_cast<int64_t>(plan.total_bytes()));
  object.set("fits", plan.total_bytes() <= available);
  if (plan.expert_places > 0) {
    object.set("experts_in_memory", plan.expert_places);
    object.set("bytes_read_from_disk", static_cast<int64_t>(plan.disk_bytes()));
  }
  return {};
}

base::Result<int> show_model(const Session& session, const ShowOptions& options) {
  ASSIGN(const StoredModel stored, find_model(session.places, options.model));
  ASSIGN(const auto files, format::ModelFiles::open(stored.path));
  const auto config = files->config();
  base::Json object = describe(stored, *files, config ? &*config : nullptr);
  const auto fit = config ? describe_fit(session, *files, object)
                          : base::Result<void>(base::fail(config.error()));
  if (!fit) object.set("not_runnable", fit.error().message());
  if (options.metadata) object.set("metadata", files->metadata());
  if (options.json) {
    std::printf("%s\n", object.dump().c_str());
    return exit_done;
  }
  for (const auto& [key, value] : object.as_object()) {
    std::printf("%-28s %s\n", key.c_str(),
                value.is_string() ? value.as_string().c_str() : value.dump().c_str());
  }
  return exit_done;
}

struct RemoveOptions {
  std::string model;
  bool yes = false;
};

base::Result<int> remove_model(const Session& session, const RemoveOptions& options) {
  ASSIGN(const StoredModel model, find_model(session.places, options.model));
  const std::filesystem::path inside = std::filesystem::path(model.path).parent_path();
  std::error_code error;
  if (!std::filesystem::equivalent(inside, session.places.models, error)) {
    return base::fail(base::ErrorKind::wrong_usage, model.path + " is not removed",
                      "it lies outside the models directory " + session.places.models,
                      "delete the file yourself if you mean it");
  }
  if (!options.yes) {
    if (isatty(STDIN_FILENO) == 0) {
      return base::fail(base::ErrorKind::wrong_usage, "nothing was removed",
                        "nobody is there to confirm it", "say --yes");
    }
    std::fprintf(stderr, "%s ",
                 base::say(session.language, base::Message::rm_question, model.name,
                           static_cast<double>(model.bytes) / mib)
                     .c_str());
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "Y" && answer != "o" && answer != "O") return exit_failed;
  }
  for (const std::string& file : files_of(model)) {
    if (!std::filesystem::remove(file, error) || error) {
      return base::fail(base::ErrorKind::io, "cannot remove " + file, error.message(),
                        "check the permissions of its directory");
    }
  }
  if (std::filesystem::is_directory(model.path, error)) std::filesystem::remove(model.path, error);
  std::fprintf(stderr, "%s\n", model.name.c_str());
  return exit_done;
}

base::Result<int> show_loaded(const Session& session, bool json) {
  ASSIGN(const Config config, session.config());
  ASSIGN(const base::Json answer,
         get_from_server(session.places, config.text("listen"), "/v1/models"));
  const base::Json* data = answer.find("data");
  if (data == nullptr || !data->is_array()) {
    return base::fail(base::ErrorKind::unavailable, "the server's answer is not understood", "",
                      "check that the address is Nautile's with `nautile config`");
  }
  for (const base::Json& model : data->as_array()) {
    if (json) {
      std::printf("%s\n", model.dump().c_str());
      continue;
    }
    const base::Json* id = model.find("id");
    const base::Json* loaded = model.find("loaded");
    const bool held = loaded != nullptr && loaded->is_bool() && loaded->as_bool();
    print_line(fmt::format(
        "{:<48} {}", id != nullptr && id->is_string() ? id->as_string() : "?",
        base::say(session.language, held ? base::Message::ps_loaded : base::Message::ps_on_disk)));
  }
  return exit_done;
}

}  // namespace

void add_models(CommandLine& line, Session& session) {
  auto list = std::make_shared<ListOptions>();
  Verb verb = line.verb("list", "list the models on this machine",
                        "  nautile list\n  nautile list --catalogue");
  verb.flag("--json", list->json, "one JSON object per line");
  verb.flag("--catalogue", list->catalogue,
            "DeepSeek's models to fetch: size, memory, licence, speed on this machine");
  verb.flag("--names", list->names, "names only, for completions");
  verb.runs([&session, list] { return list_models(session, *list); });

  auto show = std::make_shared<ShowOptions>();
  verb = line.verb("show", "show one model: architecture, size, licence, fit",
                   "  nautile show SmolLM2-135M-Instruct.Q4_1\n  nautile show ./model.gguf --json");
  verb.option("MODEL", show->model, "name, file or directory").required();
  verb.flag("--json", show->json, "one JSON object");
  verb.flag("--metadata", show->metadata, "also the file's own keys");
  verb.setting("memory");
  verb.runs([&session, show] { return show_model(session, *show); });

  auto remove = std::make_shared<RemoveOptions>();
  verb = line.verb("rm", "remove a model from the models directory",
                   "  nautile rm SmolLM2-135M-Instruct.Q4_1\n  nautile rm smollm2 --yes");
  verb.option("MODEL", remove->model, "name of a stored model").required();
  verb.flag("--yes", remove->yes, "do not ask");
  verb.runs([&session, remove] { return remove_model(session, *remove); });

  auto json = std::make_shared<bool>(false);
  verb = line.verb("ps", "show which models a running server holds",
                   "  nautile ps\n  nautile ps --listen 127.0.0.1:9000 --json");
  verb.flag("--json", *json, "one JSON object per line");
  verb.setting("listen");
  verb.runs([&session, json] { return show_loaded(session, *json); });
}

}  // namespace app
