#include "app/one_engine.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <unistd.h>

#include "app/engine_options.h"
#include "engine/local_client.h"

namespace app {
namespace {

std::atomic<int> interrupts{0};  // written by the signal handler only
// What the other handler says; written before it is set.
char interrupted_line[256];
size_t interrupted_bytes = 0;

// A context that was asked for and is not had is never shortened in silence.
void tell_context(const Session& session, const Config& config, const engine::ModelStatus& model) {
  const int64_t asked = config.integer("context");
  if (config.all().find("context")->second.origin == Origin::standard) return;
  if (model.context_tokens >= asked) return;
  std::fprintf(stderr, "%s\n",
               base::say(session.language, base::Message::context_shortened, model.id,
                         model.context_tokens, asked)
                   .c_str());
}

}  // namespace

base::Result<std::unique_ptr<engine::EngineClient>> open_one_engine(const Session& session,
                                                                    const StoredModel& stored,
                                                                    OneEngineOptions options) {
  ASSIGN(const Config config, session.config());
  engine::EngineOptions settings = engine_options(config);
  settings.models = {
      {stored.name, stored.path, stored.starter, static_cast<int>(config.integer("context"))}};
  settings.exact = options.exact;
  // A picture is two rows, and pictures take half of what runs at most.
  constexpr int running_of_a_picture = 4;
  settings.running_max = std::max(1, options.drawn * running_of_a_picture);
  settings.pictures = std::move(options.pictures);
  if (options.exact) settings.kv_type.clear();  // exact mode keeps keys and values in f32
  const bool person = isatty(STDERR_FILENO) == 1;
  settings.announce = [person](std::string_view line, bool larger) {
    if (!person && !larger) return;
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  };
  ASSIGN(auto client, engine::make_local_client(settings));
  tell_context(session, config, client->models().front());
  return client;
}

void end_on_interrupt(const Session& session) {
  const std::string line = base::say(session.language, base::Message::interrupted_early) + "\n";
  interrupted_bytes = line.copy(interrupted_line, sizeof(interrupted_line));
  std::signal(SIGINT, [](int) {
    // No stdio: the signal may have come in the middle of it.
    [[maybe_unused]] const ssize_t told =
        ::write(STDERR_FILENO, interrupted_line, interrupted_bytes);
    _exit(exit_interrupted);
  });
}

void count_interrupts() {
  std::signal(SIGINT, [](int) {
    if (interrupts.fetch_add(1) >= 2) _exit(exit_interrupted);
  });
}

int interrupts_so_far() { return interrupts.load(); }

}  // namespace app
