// What a server was asked to be, worked out once from the settings, and the two extracts that its
// child processes are given. They travel through an inherited descriptor, never through arguments
// or the environment, where other programs could read the key and the code.
#pragma once

#include <string>
#include <vector>

#include "api/pulls.h"
#include "app/config.h"
#include "app/places.h"
#include "base/json.h"
#include "base/log.h"
#include "base/messages.h"
#include "base/result.h"
#include "engine/options.h"

namespace app {

struct ServePlan {
  std::string host;       // "127.0.0.1"
  int port = 0;           // 0: a free one; the supervisor puts the real one in
  std::string state_dir;  // the gate's own directory, the only one it may write
  std::string api_key, setup_code;
  std::string pull_command;
  base::Language language = base::Language::english;
  base::LogLevel log_level = base::LogLevel::warning;  // of the supervisor's log
  engine::EngineOptions engine;
  std::vector<std::string> model_paths;  // what the engine may read
  bool models_named = false;             // by a setting; else all of the models directory
  int context_asked = 0;                 // by a setting; 0: the default
  int context_tokens = 0;                // of every model
  api::PullPolicy page_pull = api::PullPolicy::off;
  std::string pull_model;  // the catalogue's name of what is proposed to this machine

  std::string address() const;  // "http://127.0.0.1:8080"
};

// Reads and checks the settings; finds the models. Makes no file and opens nothing.
base::Result<ServePlan> plan_server(const Places& places, const Config& config,
                                    base::Language language);

// A model that has just come to lie in the models directory: the engine may read it from its next
// start on. Returns its id; added: false if it was in the list already. wrong_usage if another one
// has its name.
struct AddedModel {
  std::string id;
  bool added = false;
};
base::Result<AddedModel> add_model(const Places& places, const std::string& path, ServePlan& plan);
void remove_model(const std::string& id, ServePlan& plan);

// What the engine tells the supervisor once it has tried to open the models. Untrusted: a model
// file may have taken the engine over.
struct ModelReport {
  static constexpr size_t named_max = 32;  // of each list, so that the message stays short
  int served = 0;
  struct Context {
    std::string id;
    int tokens = 0;
  };
  std::vector<Context> contexts;  // of what is served
  struct LeftOut {
    std::string id;
    base::Error error;
  };
  std::vector<LeftOut> left_out;

  base::Json to_json() const;  // {"kind": "models", …}
  // What is malformed is left out; texts are fit for a terminal.
  static ModelReport from_json(const base::Json& json);
};

base::Json gate_settings(const ServePlan& plan);
base::Result<ServePlan> read_gate_settings(const base::Json& json);
base::Json engine_settings(const ServePlan& plan);
base::Result<ServePlan> read_engine_settings(const base::Json& json);

}  // namespace app
