#include "app/engine_options.h"

namespace app {
namespace {

engine::SpeculationMode speculation_mode(const std::string& name) {
  if (name == "off") return engine::SpeculationMode::off;
  return name == "on" ? engine::SpeculationMode::on : engine::SpeculationMode::automatic;
}

}  // namespace

engine::EngineOptions engine_options(const Config& config) {
  engine::EngineOptions options;
  options.threads = static_cast<int>(config.integer("threads"));
  options.isa = config.text("isa") == "auto" ? "" : config.text("isa");
  options.running_max = static_cast<int>(config.integer("batch-sequences"));
  options.kv_bytes = static_cast<uint64_t>(config.integer("kv-cache-mb")) << 20;
  options.kv_type = config.text("kv-type");
  options.batch_tokens_max = static_cast<int>(config.integer("batch-tokens"));
  options.waiting_max = static_cast<int>(config.integer("queue"));
  options.memory_bytes_max = static_cast<uint64_t>(config.integer("memory"));
  options.speculation = speculation_mode(config.text("speculation"));
  return options;
}

}  // namespace app
