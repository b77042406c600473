#include "app/pull_job.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <poll.h>
#include <unistd.h>

#include "app/build_info.h"
#include "app/model_store.h"
#include "net/client.h"
#include "pull/catalogue.h"

namespace app {
namespace {

constexpr int wait_slice_ms = 50;

std::atomic<int> stop_requests{0};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool stopped() { return stop_requests.load() > 0; }

// The first Ctrl-C stops in order, a second one at once; nothing is lost either way.
void take_signals() {
  const auto stop = [](int) {
    if (stop_requests.fetch_add(1) > 0) _exit(exit_interrupted);
  };
  std::signal(SIGINT, stop);
  std::signal(SIGTERM, stop);
  std::signal(SIGHUP, stop);
  // A file size limit (ulimit -f) is an error of write() then, and not our end.
  std::signal(SIGXFSZ, SIG_IGN);
}

void wait_ms(int64_t ms, const std::function<bool()>& cancelled) {
  for (; ms > 0 && !cancelled(); ms -= wait_slice_ms) {
    ::poll(nullptr, 0, static_cast<int>(std::min<int64_t>(ms, wait_slice_ms)));
  }
}

base::Result<net::ClientOptions> client_options(const PullWish& wish) {
  net::ClientOptions options;
  options.user_agent = std::string("nautile/") + build_version;
  options.limits.stall_timeout_ms = wish.stall_timeout_s * 1000;
  ASSIGN(options.proxy, net::proxy_settings(variable));
  return options;
}

// The endpoint of the settings; HF_ENDPOINT, which other programs read, where none is set.
std::string hugging_face_endpoint(const Config& config) {
  const auto setting = config.all().find(std::string_view("hf-endpoint"));
  std::string endpoint = config.text("hf-endpoint");
  const std::string common = variable("HF_ENDPOINT");
  if (setting->second.origin == Origin::standard && !common.empty()) endpoint = common;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint;
}

base::Result<pull::PullOptions> pull_options(const Session& session, const PullWish& wish) {
  ASSIGN(const Config config, session.config());
  pull::PullOptions options;
  std::error_code error;
  options.models_dir = std::filesystem::absolute(session.places.models, error).string();
  ASSIGN(options.reference, pull::resolve_reference(wish.reference, machine_memory_bytes()));
  options.model = wish.model;
  options.from = wish.from;
  options.hf_endpoint = hugging_face_endpoint(config);
  options.ollama_endpoint = config.text("ollama-endpoint");
  options.hf_token = variable("HF_TOKEN");
  options.transfer.connections = wish.connections;
  options.transfer.retries = wish.retries;
  options.plan_only = wish.plan_only;
  const bool offline = variable("HF_HUB_OFFLINE") == "1";
  if (offline && options.from.empty() && options.reference.kind != pull::Reference::Kind::file) {
    return base::fail(base::ErrorKind::wrong_usage, "nothing is fetched from the network",
                      "HF_HUB_OFFLINE is set", "unset it, or say --from DIR");
  }
  return options;
}

}  // namespace

base::Result<pull::PullResult> run_pull(
    const Session& session, const PullWish& wish,
    const std::function<void(const pull::Progress&)>& progress) {
  ASSIGN(const pull::PullOptions options, pull_options(session, wish));
  ASSIGN(const net::ClientOptions client, client_options(wish));
  take_signals();
  const auto disk = pull::make_disk();
  const pull::PullWorld world{*disk,
                              session.clock,
                              [&client](std::function<bool()> cancelled) {
                                net::ClientOptions own = client;
                                own.cancelled = std::move(cancelled);
                                return net::make_client(std::move(own));
                              },
                              wait_ms,
                              stopped,
                              progress};
  return pull::pull(options, world);
}

std::string_view phase_name(pull::Progress::Phase phase) {
  using Phase = pull::Progress::Phase;
  return phase == Phase::planning   ? "planning"
         : phase == Phase::fetching ? "fetching"
         : phase == Phase::checking ? "checking"
                                    : "done";
}

void PullSpeed::note(int64_t now_ms, uint64_t bytes_fetched) {
  if (!seen_.empty() && bytes_fetched < seen_.back().bytes) seen_.clear();
  seen_.push_back({now_ms, bytes_fetched});
  while (seen_.size() > 2 && now_ms - seen_[1].at_ms >= window_ms) seen_.pop_front();
}

int64_t PullSpeed::bytes_per_s() const {
  if (seen_.size() < 2) return 0;
  const int64_t ms = std::max<int64_t>(seen_.back().at_ms - seen_.front().at_ms, 1);
  return static_cast<int64_t>(seen_.back().bytes - seen_.front().bytes) * 1000 / ms;
}

int64_t PullSpeed::left_ms(uint64_t bytes_left) const {
  const int64_t speed = bytes_per_s();
  if (speed <= 0) return -1;
  return static_cast<int64_t>(static_cast<double>(bytes_left) * 1000 / static_cast<double>(speed));
}

}  // namespace app
