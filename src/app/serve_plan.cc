#include "app/serve_plan.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "app/engine_options.h"
#include "app/model_store.h"
#include "net/server.h"
#include "net/url.h"
#include "pull/catalogue.h"
#include "tensor/linear.h"

namespace app {
namespace {

namespace fs = std::filesystem;

base::Result<void> split_listen(const std::string& text, ServePlan& plan) {
  const size_t colon = text.rfind(':');
  const auto bad = [&](std::string why) {
    return base::fail(base::ErrorKind::wrong_usage, "cannot listen on " + base::shown_name(text),
                      std::move(why), "write it like 127.0.0.1:8080");
  };
  if (colon == std::string::npos || colon == 0) return bad("an address and a port are needed");
  plan.host = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), plan.port);
  if (failure != std::errc() || end != port.data() + port.size() || port.empty()) {
    return bad("the port is no number");
  }
  return {};
}

// A model in the models directory may be replaced while we serve, so the directory is readable;
// one that lies elsewhere brings no more of its surroundings than its own files. Links are followed
// here, because the seal sees real paths.
void allow_model(const Places& places, const StoredModel& model, ServePlan& plan) {
  std::error_code error;
  const fs::path models = fs::weakly_canonical(places.models, error);
  const auto add = [&](const fs::path& path) {
    const fs::path real = fs::canonical(path, error);
    if (!error) plan.model_paths.push_back(real.string());
  };
  const fs::path place = fs::absolute(model.path, error).parent_path();
  if (fs::weakly_canonical(place, error) == models) add(models);
  if (fs::is_directory(model.path, error)) add(model.path);
  for (const std::string& file : files_of(model)) add(file);
}

void sort_paths(ServePlan& plan) {
  std::sort(plan.model_paths.begin(), plan.model_paths.end());
  plan.model_paths.erase(std::unique(plan.model_paths.begin(), plan.model_paths.end()),
                         plan.model_paths.end());
}

base::Result<void> choose_models(const Places& places, const Config& config, ServePlan& plan) {
  std::vector<StoredModel> models;
  for (const std::string& name : config.list("model")) {
    ASSIGN(StoredModel model, find_model(places, name));
    models.push_back(std::move(model));
  }
  if (models.empty()) models = stored_models(places);
  const std::string& first = config.text("default-model");
  const auto chosen = std::find_if(models.begin(), models.end(),
                                   [&](const StoredModel& model) { return model.name == first; });
  if (!first.empty() && chosen == models.end()) {
    return base::fail(base::ErrorKind::not_found,
                      "the default model " + base::shown_name(first) + " is not served", "",
                      "`nautile list` shows the names");
  }
  if (chosen != models.end()) std::rotate(models.begin(), chosen, chosen + 1);
  plan.context_tokens = static_cast<int>(config.integer("context"));
  for (const StoredModel& model : models) {
    const bool twice = std::any_of(plan.engine.models.begin(), plan.engine.models.end(),
                                   [&](const auto& other) { return other.id == model.name; });
    if (twice) {
      return base::fail(base::ErrorKind::wrong_usage,
                        "two models are called " + base::shown_name(model.name),
                        "clients choose a model by its name", "rename one of the files");
    }
    std::error_code error;
    plan.engine.models.push_back(
        {model.name, fs::absolute(model.path, error).string(), model.starter, plan.context_tokens});
    allow_model(places, model, plan);
  }
  sort_paths(plan);
  return {};
}

api::PullPolicy page_pull_of(const Config& config, const ServePlan& plan) {
  const std::string& word = config.text("page-pull");
  if (word == "on") return api::PullPolicy::any;
  if (word == "catalogue") return api::PullPolicy::catalogue;
  if (word == "off") return api::PullPolicy::off;
  net::Url url;
  url.host = plan.host.front() == '[' ? plan.host.substr(1, plan.host.size() - 2) : plan.host;
  return url.is_loopback() ? api::PullPolicy::any : api::PullPolicy::off;
}

// ---- JSON between our own processes ------------------------------------------------------------

class Fields {
 public:
  explicit Fields(const base::Json& json) : json_(json) {}
  std::string text(const char* name) {
    const base::Json* value = json_.find(name);
    good_ &= value && value->is_string();
    return value && value->is_string() ? value->as_string() : std::string();
  }
  int64_t integer(const char* name) {
    const base::Json* value = json_.find(name);
    good_ &= value && value->is_integer();
    return value && value->is_integer() ? value->as_integer() : 0;
  }
  int number(const char* name) { return static_cast<int>(integer(name)); }
  bool flag(const char* name) { return integer(name) != 0; }
  base::Json::Array list(const char* name) {
    const base::Json* value = json_.find(name);
    good_ &= value && value->is_array();
    return value && value->is_array() ? value->as_array() : base::Json::Array();
  }
  bool good() const { return good_; }

 private:
  const base::Json& json_;
  bool good_ = true;
};

tl::unexpected<base::Error> bad_settings() {
  return base::fail(base::ErrorKind::internal, "the settings of a child process are incomplete", "",
                    "start it with `nautile serve`, not by hand");
}

// The setting has these words only.
base::LogLevel log_level_of(std::string_view word) {
  using base::LogLevel;
  return word == "error"   ? LogLevel::error
         : word == "info"  ? LogLevel::info
         : word == "debug" ? LogLevel::debug
                           : LogLevel::warning;
}

}  // namespace

std::string ServePlan::address() const {
  const bool bare_v6 = host.find(':') != std::string::npos && host.front() != '[';
  return "http://" + (bare_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

base::Result<ServePlan> plan_server(const Places& places, const Config& config,
                                    base::Language language) {
  ServePlan plan;
  plan.engine = engine_options(config);
  TRY(tensor::choose_isa(plan.engine.isa));
  TRY(split_listen(config.text("listen"), plan));
  TRY(net::check_listen(plan.host, plan.port));
  TRY(choose_models(places, config, plan));
  plan.models_named = !config.list("model").empty();
  if (config.all().find("context")->second.origin != Origin::standard) {
    plan.context_asked = static_cast<int>(config.integer("context"));
  }
  plan.state_dir = places.data + "/state";
  plan.language = language;
  plan.log_level = log_level_of(config.text("log-level"));
  plan.pull_command = distill_suggestion(machine_memory_bytes());
  plan.pull_model = pull::largest_distill(machine_memory_bytes()).name;
  plan.page_pull = page_pull_of(config, plan);
  return plan;
}

base::Result<AddedModel> add_model(const Places& places, const std::string& path, ServePlan& plan) {
  ASSIGN(const StoredModel model, find_model(places, path));
  std::error_code error;
  const std::string absolute = fs::absolute(model.path, error).string();
  for (const engine::ModelEntry& other : plan.engine.models) {
    if (other.id != model.name) continue;
    if (fs::weakly_canonical(other.path, error) == fs::weakly_canonical(absolute, error)) {
      return AddedModel{model.name, false};
    }
    return base::fail(base::ErrorKind::wrong_usage,
                      "two models are called " + base::shown_name(model.name),
                      "clients choose a model by its name", "rename one of the files");
  }
  plan.engine.models.push_back({model.name, absolute, model.starter, plan.context_tokens});
  allow_model(places, model, plan);
  sort_paths(plan);
  return AddedModel{model.name, true};
}

void remove_model(const std::string& id, ServePlan& plan) {
  std::erase_if(plan.engine.models, [&](const auto& model) { return model.id == id; });
}

base::Json ModelReport::to_json() const {
  base::Json known = base::Json::array(), refused = base::Json::array();
  for (const Context& model : contexts) {
    known.push(base::Json::object({{"id", model.id}, {"context_tokens", model.tokens}}));
  }
  for (const LeftOut& model : left_out) {
    refused.push(base::Json::object({{"id", model.id},
                                     {"what", model.error.what},
                                     {"why", model.error.why},
                                     {"next", model.error.next}}));
  }
  return base::Json::object({{"kind", "models"},
                             {"served", served},
                             {"contexts", std::move(known)},
                             {"left_out", std::move(refused)}});
}

ModelReport ModelReport::from_json(const base::Json& json) {
  ModelReport report;
  Fields fields(json);
  report.served = fields.number("served");
  for (const base::Json& entry : fields.list("contexts")) {
    Fields model(entry);
    ModelReport::Context context{base::printable(model.text("id")), model.number("context_tokens")};
    if (model.good()) report.contexts.push_back(std::move(context));
  }
  for (const base::Json& entry : fields.list("left_out")) {
    Fields model(entry);
    ModelReport::LeftOut left{
        base::printable(model.text("id")),
        {base::ErrorKind::invalid_input, base::printable(model.text("what")),
         base::printable(model.text("why")), base::printable(model.text("next"))}};
    if (model.good()) report.left_out.push_back(std::move(left));
  }
  return report;
}

base::Json gate_settings(const ServePlan& plan) {
  return base::Json::object({{"host", plan.host},
                             {"port", plan.port},
                             {"state_dir", plan.state_dir},
                             {"api_key", plan.api_key},
                             {"setup_code", plan.setup_code},
                             {"pull_command", plan.pull_command},
                             {"pull_model", plan.pull_model},
                             {"page_pull", static_cast<int>(plan.page_pull)}});
}

base::Result<ServePlan> read_gate_settings(const base::Json& json) {
  Fields fields(json);
  ServePlan plan;
  plan.host = fields.text("host");
  plan.port = fields.number("port");
  plan.state_dir = fields.text("state_dir");
  plan.api_key = fields.text("api_key");
  plan.setup_code = fields.text("setup_code");
  plan.pull_command = fields.text("pull_command");
  plan.pull_model = fields.text("pull_model");
  plan.page_pull = static_cast<api::PullPolicy>(
      std::clamp(fields.number("page_pull"), 0, static_cast<int>(api::PullPolicy::any)));
  if (!fields.good()) return bad_settings();
  return plan;
}

base::Json engine_settings(const ServePlan& plan) {
  base::Json models = base::Json::array(), paths = base::Json::array();
  for (const engine::ModelEntry& model : plan.engine.models) {
    models.push(base::Json::object({{"id", model.id},
                                    {"path", model.path},
                                    {"starter", int{model.starter}},
                                    {"context_tokens", model.context_tokens}}));
  }
  for (const std::string& path : plan.model_paths) paths.push(path);
  return base::Json::object({{"models", std::move(models)},
                             {"paths", std::move(paths)},
                             {"threads", plan.engine.threads},
                             {"isa", plan.engine.isa},
                             {"running_max", plan.engine.running_max},
                             {"waiting_max", plan.engine.waiting_max},
                             {"kv_tokens", plan.engine.kv_tokens},
                             {"kv_mib", static_cast<int64_t>(plan.engine.kv_bytes >> 20)},
                             {"kv_type", plan.engine.kv_type},
                             {"batch_tokens_max", plan.engine.batch_tokens_max},
                             {"prompt_chunk_tokens", plan.engine.prompt_chunk_tokens},
                             {"memory_bytes", static_cast<int64_t>(plan.engine.memory_bytes_max)},
                             {"speculation", static_cast<int>(plan.engine.speculation)}});
}

base::Result<ServePlan> read_engine_settings(const base::Json& json) {
  Fields fields(json);
  ServePlan plan;
  plan.engine.threads = fields.number("threads");
  plan.engine.isa = fields.text("isa");
  plan.engine.running_max = fields.number("running_max");
  plan.engine.kv_bytes = static_cast<uint64_t>(fields.number("kv_mib")) << 20;
  plan.engine.kv_type = fields.text("kv_type");
  plan.engine.batch_tokens_max = fields.number("batch_tokens_max");
  plan.engine.waiting_max = fields.number("waiting_max");
  plan.engine.kv_tokens = fields.number("kv_tokens");
  plan.engine.prompt_chunk_tokens = fields.number("prompt_chunk_tokens");
  plan.engine.memory_bytes_max = static_cast<uint64_t>(fields.integer("memory_bytes"));
  plan.engine.speculation = static_cast<engine::SpeculationMode>(
      std::clamp(fields.number("speculation"), 0, static_cast<int>(engine::SpeculationMode::on)));
  for (const base::Json& path : fields.list("paths")) {
    if (path.is_string()) plan.model_paths.push_back(path.as_string());
  }
  for (const base::Json& entry : fields.list("models")) {
    Fields model(entry);
    plan.engine.models.push_back({model.text("id"), model.text("path"), model.flag("starter"),
                                  model.number("context_tokens")});
    if (!model.good()) return bad_settings();
  }
  if (!fields.good()) return bad_settings();
  return plan;
}

}  // namespace app
