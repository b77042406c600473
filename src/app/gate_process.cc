#include "app/gate_process.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <malloc.h>
#include <memory>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include "api/service.h"
#include "app/build_info.h"
#include "app/child_process.h"
#include "app/pull_messages.h"
#include "app/seal.h"
#include "app/serve_plan.h"
#include "app/verb.h"
#include "base/clock.h"
#include "base/random.h"
#include "engine/child_client.h"
#include "net/server.h"
#include "web/site_files.h"

namespace app {
namespace {

constexpr int descriptors_for_ourselves = 64;

SealPlan gate_seal(const ServePlan& plan) {
  SealPlan seal;
  seal.read_write = {plan.state_dir};
  seal.read_only = {"/proc/self", "/proc/meminfo"};
  seal.accepts_connections = true;
  return seal;
}

net::ServerLimits limits_of_machine() {
  net::ServerLimits limits;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
    const int64_t room = static_cast<int64_t>(files.rlim_cur) - descriptors_for_ourselves;
    limits.connections_max =
        static_cast<int>(std::clamp<int64_t>(room, 16, limits.connections_max));
  }
  return limits;
}

// Large buffers come from the kernel and go back to it at once; left to itself, the allocator keeps
// more and more of them after the first.
void give_memory_back_early() {
  ::mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

void tell_supervisor(const base::Json& message) {
  // A supervisor that does not read is dying, and we with it.
  (void)send_message(child_fd::gate_control, message);
}

// Says once which model answers, so that the terminal can.
class ReadyTeller {
 public:
  void look(engine::ChildClient& client) {
    for (const engine::ModelStatus& model : client.models()) {
      if (!model.loaded || told_.exchange(true)) continue;
      tell_supervisor(base::Json::object({{"kind", "ready"}, {"model", model.id}}));
    }
  }
  void engine_lost() { told_ = false; }

 private:
  std::atomic<bool> told_{false};
};

// The owner's wish for a model, on its way to the supervisor.
class SupervisorDoor final : public api::PullDoor {
 public:
  explicit SupervisorDoor(engine::ChildClient& client) : client_(client) {}
  bool start(uint64_t call, std::string_view reference) override {
    return send(base::Json::object(
        {{"kind", "pull"}, {"call", static_cast<int64_t>(call)}, {"reference", reference}}));
  }
  bool pause() override { return send(base::Json::object({{"kind", "pull_pause"}})); }
  bool dismiss() override { return send(base::Json::object({{"kind", "pull_dismiss"}})); }
  bool ask_catalogue(uint64_t call) override {
    return send(base::Json::object({{"kind", "catalogue"}, {"call", static_cast<int64_t>(call)}}));
  }
  void release_engine() override {
    client_.detach();
    (void)send(base::Json::object({{"kind", "engine_released"}}));
  }

 private:
  static bool send(const base::Json& message) {
    return send_message(child_fd::gate_control, message);
  }
  engine::ChildClient& client_;
};

// Takes engine sockets, news of downloads and the order to stop, until the supervisor is gone.
void follow_supervisor(engine::ChildClient& client, api::Service& service, net::Server& server) {
  while (auto message = receive_message(child_fd::gate_control)) {
    const base::Json* kind = message->json.find("kind");
    if (!kind || !kind->is_string()) continue;
    if (kind->as_string() == "engine" && message->fd) client.attach(message->fd.release());
    if (kind->as_string() == "stop") break;
    if (auto news = news_from(message->json)) service.tell(std::move(*news));
  }
  // Open answers end with an error that says so, and leave before the connections do.
  service.begin_stop();
  client.detach();
  service.end_streams();
  server.stop();
}

base::Result<int> serve_gate(const ServePlan& plan) {
  const base::SystemClock clock;
  base::SystemRandom random;
  ReadyTeller ready;
  engine::ChildClient* looked_at = nullptr;
  const auto look = [&] {
    if (looked_at) ready.look(*looked_at);
  };
  auto client = engine::ChildClient::make(
      {.on_lost = [&] { ready.engine_lost(); }, .on_ready = look, .on_models_changed = look});
  looked_at = client.get();

  SupervisorDoor door(*client);
  api::ApiOptions options;
  options.engine = client.get();
  options.clock = &clock;
  options.random = &random;
  options.files = &web::site_files();
  options.version = build_version;
  options.port = plan.port;
  options.state_dir = plan.state_dir;
  options.api_key = plan.api_key;
  options.setup_code = plan.setup_code;
  options.pull_command = plan.pull_command;
  options.pull_model = plan.pull_model;
  options.pull_policy = plan.page_pull;
  options.pulls = &door;
  options.announce_code = [](std::string_view code) {
    tell_supervisor(base::Json::object({{"kind", "code"}, {"code", code}}));
  };
  ASSIGN(auto service, api::make_service(std::move(options)));
  ASSIGN(auto server,
         net::make_server(child_fd::gate_listener, limits_of_machine(), service->handler(),
                          service->fault_form(), service->large_body()));
  service->attach(*server);
  tell_supervisor(base::Json::object({{"kind", "listening"}}));
  std::thread follower([&] { follow_supervisor(*client, *service, *server); });
  server->run();
  follower.join();
  client->detach();
  service->detach();
  return exit_done;
}

}  // namespace

int run_gate_process() {
  ::prctl(PR_SET_NAME, "nautile-gate");
  const Session session;
  auto json = read_settings(child_fd::gate_settings);
  auto plan = json ? read_gate_settings(*json) : base::Result<ServePlan>(base::fail(json.error()));
  if (!plan) {
    print_error(session, plan.error());
    return exit_code(plan.error().kind);
  }
  give_memory_back_early();
  const SealReport report = seal_process(gate_seal(*plan));
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a new user namespace has cleared it
  tell_supervisor(base::Json::object({{"kind", "seal"}, {"seal", report.to_json()}}));
  const base::Result<int> done = serve_gate(*plan);
  if (done) return *done;
  print_error(session, done.error());
  return exit_code(done.error().kind);
}

}  // namespace app
