#include "app/engine_process.h"

#include <csignal>
#include <cstdio>
#include <sys/prctl.h>
#include <unistd.h>

#include "app/child_process.h"
#include "app/seal.h"
#include "app/serve_plan.h"
#include "app/verb.h"
#include "engine/engine_child.h"
#include "media/pictures.h"

namespace app {
namespace {

SealPlan engine_seal(const ServePlan& plan) {
  SealPlan seal;
  seal.read_only = plan.model_paths;
  // What the machine is: cores, memory, huge pages.
  for (const char* path : {"/proc/meminfo", "/proc/cpuinfo", "/proc/self", "/sys/devices/system",
                           "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"}) {
    seal.read_only.push_back(path);
  }
  return seal;
}

void log_line(std::string_view line) {
  const std::string text = "engine: " + std::string(line) + "\n";
  (void)!::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

int run_engine_process() {
  ::prctl(PR_SET_NAME, "nautile-engine");
  const Session session;
  auto json = read_settings(child_fd::engine_settings);
  auto plan =
      json ? read_engine_settings(*json) : base::Result<ServePlan>(base::fail(json.error()));
  if (!plan) {
    print_error(session, plan.error());
    return exit_code(plan.error().kind);
  }
  // When memory runs out the kernel should take the engine, which comes back by itself, and not the
  // gate, which everybody is talking to.
  prefer_for_oom_killer(engine_oom_score);
  const SealReport report = seal_process(engine_seal(*plan));
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a new user namespace has cleared it
  send_message(child_fd::engine_report,
               base::Json::object({{"kind", "seal"}, {"seal", report.to_json()}}));
  plan->engine.pictures = media::picture_reader(child_fd::engine_pictures);
  plan->engine.log = log_line;
  plan->engine.announce = [](std::string_view line, bool) { log_line(line); };
  std::vector<ModelReport::LeftOut> left_out;
  plan->engine.left_out = [&](const engine::ModelEntry& entry, const base::Error& error) {
    if (left_out.size() < ModelReport::named_max) left_out.push_back({entry.id, error});
  };
  return engine::run_engine_child(child_fd::engine_socket, plan->engine,
                                  [&](engine::EngineClient& engine) {
                                    ModelReport models;
                                    models.left_out = std::move(left_out);
                                    models.served = static_cast<int>(engine.models().size());
                                    for (const engine::ModelStatus& model : engine.models()) {
                                      if (models.contexts.size() == ModelReport::named_max) break;
                                      models.contexts.push_back({model.id, model.context_tokens});
                                    }
                                    send_message(child_fd::engine_report, models.to_json());
                                    ::close(child_fd::engine_report);
                                  });
}

}  // namespace app
