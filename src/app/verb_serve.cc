// serve: the chat site and the API. Works out the plan, takes the data directory and the port, and
// becomes the supervisor.
#include <algorithm>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "account/credentials.h"
#include "app/command_line.h"
#include "app/seal.h"
#include "app/supervisor.h"
#include "app/verb.h"
#include "net/server.h"

namespace app {
namespace {

constexpr rlim_t descriptors_wanted = 65'536;
constexpr int64_t port_wait_ms = 1'000;
constexpr int port_poll_ms = 20;

// Connections are descriptors; what the machine allows is taken now, for the children too.
void raise_descriptor_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = std::max(files.rlim_cur, std::min(files.rlim_max, descriptors_wanted));
  ::setrlimit(RLIMIT_NOFILE, &files);
}

// Two servers on one directory would overwrite each other's sessions. Held until the process ends,
// however it ends.
base::Result<Fd> lock_data(const Places& places) {
  Fd lock(::open((places.data + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) {
    return base::fail(base::ErrorKind::io, "cannot write to " + places.data, "",
                      "check its permissions, or set NAUTILE_HOME to another directory");
  }
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return base::fail(base::ErrorKind::unavailable, "a server is already running on " + places.data,
                      "two would overwrite each other's sessions",
                      "stop it, or set NAUTILE_HOME to another directory");
  }
  return lock;
}

// We hold the lock of the data directory, so a server of ours that has the port is on its way out:
// killed a moment ago, its threads are still letting go.
base::Result<int> open_listener_patiently(const ServePlan& plan, const base::Clock& clock) {
  const int64_t until_ms = clock.monotonic_ms() + port_wait_ms;
  for (;;) {
    auto listener = net::open_listener(plan.host, plan.port);
    const bool taken = !listener && listener.error().kind == base::ErrorKind::unavailable;
    if (!taken || clock.monotonic_ms() >= until_ms) return listener;
    ::poll(nullptr, 0, port_poll_ms);
  }
}

base::Result<int> serve(Session& session) {
  ASSIGN(const Config config, session.config());
  ASSIGN(ServePlan plan, plan_server(session.places, config, session.language));
  TRY(make_directories(session.places.data, 0700));
  TRY(make_directories(session.places.models, 0700));
  TRY(make_directories(plan.state_dir, 0700));
  ASSIGN(const Fd lock, lock_data(session.places));
  ASSIGN(const int listener, open_listener_patiently(plan, session.clock));
  ASSIGN(plan.port, net::listener_port(listener));
  ASSIGN(plan.api_key, account::load_or_make_api_key(session.places.data, session.random));
  plan.setup_code = account::make_code(session.random);
  ASSIGN(const account::Sessions sessions,
         account::Sessions::open(plan.state_dir, session.clock, session.random));
  raise_descriptor_limit();
  forbid_dumps();
  return supervise(session, std::move(plan), Fd(listener), sessions.owned());
}

}  // namespace

void add_serve(CommandLine& line, Session& session) {
  Verb verb = line.verb("serve", "start the chat site and the API",
                        "  nautile serve\n"
                        "  nautile serve --listen 127.0.0.1:9000 --model ./model.gguf");
  for (const SettingSpec& spec : setting_specs()) {
    // Endpoints are pull's: a server contacts nobody.
    if (!spec.key.ends_with("-endpoint")) verb.setting(spec.key);
  }
  verb.runs([&session] { return serve(session); });
}

}  // namespace app
