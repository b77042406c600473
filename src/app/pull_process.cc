#include "app/pull_process.h"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

#include "app/child_process.h"
#include "app/model_store.h"
#include "app/probes.h"
#include "app/pull_job.h"
#include "app/pull_messages.h"
#include "app/seal.h"
#include "base/pool.h"
#include "pull/catalogue.h"
#include "pull/receipt.h"

namespace app {
namespace {

using State = api::PullStatus::State;

constexpr double gib_bytes = 1024.0 * 1024.0 * 1024.0;
constexpr int64_t tell_every_ms = 250;
constexpr int last_word_wait_ms = 10'000;
constexpr int probe_threads_max = 8;
constexpr uint64_t probe_bytes_per_thread = 128ull << 20;

// When memory runs out the kernel should take this process, which loses nothing.
void first_for_oom_killer() {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, "1000", 4);
  ::close(fd);
}

// The last message must arrive, so it waits for a supervisor that is behind.
void say_last(const base::Json& message) {
  for (int waited_ms = 0; waited_ms < last_word_wait_ms; waited_ms += 100) {
    if (send_message(child_fd::pull_report, message)) return;
    pollfd room{child_fd::pull_report, POLLOUT, 0};
    ::poll(&room, 1, 100);
  }
}

// What it says in a terminal, where a command is given, put for a page that has a button.
base::Error for_page(base::Error error) {
  constexpr std::string_view command = "the same command goes on from here";
  constexpr std::string_view button = "resume it: it goes on from here";
  if (const size_t at = error.next.find(command); at != std::string::npos) {
    error.next.replace(at, command.size(), button);
  }
  return error;
}

class Teller {
 public:
  explicit Teller(const base::Clock& clock) : clock_(clock) {}

  void operator()(const pull::Progress& now) {
    using Phase = pull::Progress::Phase;
    const int64_t now_ms = clock_.monotonic_ms();
    const bool whole = now.bytes_total > 0 && now.bytes_here >= now.bytes_total;
    const State state = now.phase == Phase::planning             ? State::planning
                        : now.phase == Phase::fetching && !whole ? State::fetching
                                                                 : State::checking;
    if (state == told_ && now_ms - told_ms_ < tell_every_ms) return;
    told_ = state;
    told_ms_ = now_ms;
    speed_.note(now_ms, now.bytes_fetched);
    api::PullStatus status;
    status.state = state;
    status.model = now.model;
    status.bytes_total = static_cast<int64_t>(now.bytes_total);
    status.bytes_here = static_cast<int64_t>(std::min(now.bytes_here, now.bytes_total));
    status.bytes_per_s = speed_.bytes_per_s();
    status.left_ms = speed_.left_ms(now.bytes_total - std::min(now.bytes_here, now.bytes_total));
    // One that is lost is followed by the next.
    (void)send_message(child_fd::pull_report, to_json(status, "progress"));
  }

 private:
  const base::Clock& clock_;
  PullSpeed speed_;
  State told_ = State::none;
  int64_t told_ms_ = 0;
};

std::string installed_as(const std::vector<pull::Receipt>& receipts,
                         const pull::CatalogueModel& model, const std::string& models_dir) {
  for (const pull::Receipt& receipt : receipts) {
    if (pull::find_by_source(receipt.source) != &model || receipt.files.empty()) continue;
    const auto there = [&](const pull::ReceiptFile& file) {
      return ::access((models_dir + "/" + file.local).c_str(), R_OK) == 0;
    };
    if (std::all_of(receipt.files.begin(), receipt.files.end(), there)) return receipt.model;
  }
  return {};
}

// 0 where the memory for the probe could only be had from others.
double measured_bandwidth(int threads) {
  threads = std::clamp(threads, 1, probe_threads_max);
  const uint64_t needed = static_cast<uint64_t>(threads) * probe_bytes_per_thread;
  if (available_memory_bytes() < 4 * needed) return 0;
  base::Pool pool(threads);
  return stream_read_gb_per_s(pool, 3);
}

api::Catalogue catalogue_here(const base::Json& settings) {
  const std::string models_dir = text_member(settings, "models_dir");
  const uint64_t memory = machine_memory_bytes();
  const auto disk = pull::make_disk();
  const auto free = disk->free_bytes(models_dir);
  const base::Json* known = settings.find("bandwidth_gb_per_s");
  api::Catalogue out;
  out.memory_bytes = static_cast<int64_t>(memory);
  out.free_bytes = free ? static_cast<int64_t>(*free) : 0;
  out.bandwidth_gb_per_s = known != nullptr && known->is_number() ? known->as_number() : 0;
  if (count_member(settings, "measure") != 0) {
    // Whatever computes beside it makes it look slower than it is.
    const double now = measured_bandwidth(static_cast<int>(count_member(settings, "threads")));
    out.bandwidth_gb_per_s = std::max(out.bandwidth_gb_per_s, now);
  }
  const std::vector<pull::Receipt> receipts = pull::receipts_in(*disk, models_dir);
  const pull::CatalogueModel& proposed = pull::largest_distill(memory);
  for (const pull::CatalogueModel& model : pull::catalogue()) {
    api::CatalogueRow row;
    row.name = model.name;
    row.short_name = model.short_name;
    row.reference = model.reference;
    row.licence = model.licence;
    row.bytes = static_cast<int64_t>(model.gib * gib_bytes);
    row.memory_bytes = static_cast<int64_t>(model.memory_gib() * gib_bytes);
    row.parameters_b = model.parameters_b;
    row.fits = model.fits(memory);
    row.from_disk = !row.fits && model.has_experts();
    row.runs = model.runs;
    row.proposed = &model == &proposed && model.runs;
    if (row.fits && out.bandwidth_gb_per_s > 0) {
      row.tokens_per_s = model.tokens_per_s(out.bandwidth_gb_per_s);
    }
    row.installed = installed_as(receipts, model, models_dir);
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace

int run_pull_process() {
  ::prctl(PR_SET_NAME, "nautile-pull");
  forbid_dumps();  // a hub's token is in its memory
  first_for_oom_killer();
  Session session;
  const auto json = read_settings(child_fd::pull_settings);
  auto places = find_places();
  if (!json || !places) return exit_failed;
  session.places = *places;
  PullWish wish;
  wish.reference = text_member(*json, "reference");
  Teller teller(session.clock);
  const auto result = run_pull(session, wish, std::ref(teller));
  if (!result) {
    say_last(base::Json::object({{"kind", "error"}, {"error", to_json(for_page(result.error()))}}));
    return exit_code(result.error().kind);
  }
  say_last(base::Json::object({{"kind", "end"}, {"path", result->path}}));
  return exit_done;
}

int run_catalogue_process() {
  ::prctl(PR_SET_NAME, "nautile-catalogue");
  first_for_oom_killer();
  const auto json = read_settings(child_fd::pull_settings);
  if (!json) return exit_failed;
  SealPlan seal;
  seal.read_only = {text_member(*json, "models_dir")};
  for (const char* path : {"/proc/meminfo", "/proc/self", "/sys/devices/system",
                           "/sys/kernel/mm/transparent_hugepage"}) {
    seal.read_only.push_back(path);
  }
  seal_process(seal);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a new user namespace has cleared it
  say_last(to_json(catalogue_here(*json)));
  return exit_done;
}

}  // namespace app
