#include "app/doctor.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "app/child_process.h"
#include "app/model_store.h"
#include "app/seal.h"
#include "app/self_attack.h"
#include "app/serve_plan.h"
#include "app/supervisor.h"
#include "crypto/hash.h"
#include "engine/options.h"
#include "net/server.h"
#include "tensor/linear.h"

namespace app {
namespace {

namespace fs = std::filesystem;

constexpr double gib = 1024.0 * 1024 * 1024;
constexpr uint64_t disk_bytes_wanted = 2ull << 30;
constexpr uint64_t memory_bytes_wanted = 2ull << 30;
constexpr rlim_t descriptors_wanted = 4'096 + 256;  // all connections that the gate would take
constexpr int64_t year_2026_unix_ms = 1'767'225'600'000;
constexpr uint64_t binary_bytes_max = 512ull << 20;
constexpr uint64_t running_file_bytes_max = 64 * 1024;

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

Check check_processor() {
  const unsigned cores = std::thread::hardware_concurrency();
  const auto isa = tensor::choose_isa("");
  Check check{"processor", CheckState::good, "", ""};
  if (!isa) {
    return {"processor", CheckState::bad, isa.error().message(), "use an x86-64 machine"};
  }
  check.detail = fmt::format("{}, {} threads, {}", processor_name(), cores, tensor::isa_name(*isa));
  if (tensor::isa_name(*isa) == "scalar") {
    check.state = CheckState::note;
    check.fix = "a processor with AVX2 (2013 and later) answers several times faster";
  }
  return check;
}

Check check_memory() {
  const uint64_t available = available_memory_bytes();
  Check check{
      "memory", CheckState::good,
      fmt::format("{:.1f} GiB, {:.1f} available", machine_memory_bytes() / gib, available / gib),
      ""};
  if (available < memory_bytes_wanted) {
    check.state = CheckState::note;
    check.fix = "close other programs: only small models fit in less than 2 GiB";
  }
  return check;
}

Check check_disk(const Places& places) {
  fs::path path = places.data;
  std::error_code error;
  while (!fs::exists(path, error) && path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
  }
  struct statvfs about {};
  if (::statvfs(path.c_str(), &about) != 0) {
    return {"disk", CheckState::bad, places.data + " cannot be looked at",
            "check the path, or set NAUTILE_HOME"};
  }
  const uint64_t free = static_cast<uint64_t>(about.f_bavail) * about.f_frsize;
  Check check{"disk", CheckState::good,
              fmt::format("{:.1f} GiB free in {}", free / gib, places.data), ""};
  if (free < disk_bytes_wanted) {
    check.state = CheckState::note;
    check.fix = "free some space, or set NAUTILE_HOME to a larger disk, before fetching models";
  }
  if (::access(path.c_str(), W_OK) != 0) {
    check.state = CheckState::bad;
    check.fix = "make " + path.string() + " writable, or set NAUTILE_HOME";
  }
  return check;
}

Check check_huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  std::getline(file, line);
  if (line.find("[always]") != std::string::npos || line.find("[madvise]") != std::string::npos) {
    return {"huge pages", CheckState::good, line, ""};
  }
  return {"huge pages", CheckState::note, line.empty() ? "not supported by this kernel" : line,
          "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (as root): answers come "
          "faster"};
}

Check check_descriptors() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  Check check{"descriptors", CheckState::good, fmt::format("up to {} open files", files.rlim_max),
              ""};
  if (files.rlim_max < descriptors_wanted) {
    check.state = CheckState::note;
    check.fix = "raise `ulimit -Hn` (LimitNOFILE= in a service) to hold more connections";
  }
  return check;
}

Check check_port(const Places& places, const Config& config) {
  const auto plan = plan_server(places, config, base::Language::english);
  if (!plan) {
    return {"port", CheckState::bad, plan.error().message(), plan.error().next};
  }
  const auto listener = net::open_listener(plan->host, plan->port);
  if (listener) {
    ::close(*listener);
    return {"port", CheckState::good, plan->address() + " is free", ""};
  }
  const auto ours = read_file(running_file(places), running_file_bytes_max);
  if (ours && ours->find("\"" + plan->address() + "\"") != std::string::npos) {
    return {"port", CheckState::good, "this server answers at " + plan->address(), ""};
  }
  return {"port", CheckState::bad, listener.error().message(), listener.error().next};
}

Check check_clock(const base::Clock& clock) {
  timex about{};
  const int state = ::adjtimex(&about);
  if (clock.wall_unix_ms() < year_2026_unix_ms) {
    return {"clock", CheckState::bad, "the date lies before this program was written",
            "set it: sign-ins and certificates depend on it"};
  }
  if (state == TIME_ERROR || (about.status & STA_UNSYNC) != 0) {
    return {"clock", CheckState::note, "not kept by a time server",
            "apt-get install systemd-timesyncd (or chrony)"};
  }
  return {"clock", CheckState::good, "kept by a time server", ""};
}

std::vector<Check> check_models(const Places& places) {
  std::vector<Check> checks;
  const uint64_t available = available_memory_bytes();
  for (const StoredModel& model : stored_models(places)) {
    const uint64_t needed = model.bytes + engine::memory_margin_bytes;
    Check check{"model " + model.name, CheckState::good,
                fmt::format("{:.2f} GiB, fits", model.bytes / gib), ""};
    if (const auto runnable = check_runnable(model); !runnable) {
      check = {check.name, CheckState::note, runnable.error().what, runnable.error().next};
    } else if (needed > available) {
      check.state = CheckState::note;
      check.detail = fmt::format("{:.2f} GiB of weights, {:.2f} GiB available", model.bytes / gib,
                                 available / gib);
      check.fix = "close other programs, or choose a smaller quantisation";
    }
    checks.push_back(std::move(check));
  }
  if (checks.empty()) {
    checks.push_back({"models", CheckState::note, "none is installed",
                      distill_suggestion(machine_memory_bytes())});
  }
  return checks;
}

// ---- confinement -------------------------------------------------------------------------------

// Forks, seals the child, attacks from inside it, and gives back what it found.
std::optional<base::Json> seal_a_child() {
  auto pair = message_pair();
  if (!pair) return std::nullopt;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return std::nullopt;
  if (child == 0) {
    pair->ours.reset();
    const base::Json seal = seal_process({}).to_json();
    AttackTargets targets;
    targets.foreign_file = "/etc/passwd";
    targets.foreign_directory = "/tmp";
    send_message(
        pair->theirs.get(),
        base::Json::object({{"seal", seal}, {"attacks", attack_json(attack_self(targets))}}));
    ::_exit(0);
  }
  pair->theirs.reset();
  auto message = receive_message(pair->ours.get());
  ::waitpid(child, nullptr, 0);
  if (!message) return std::nullopt;
  return std::move(message->json);
}

std::vector<Check> layer_checks(const SealReport& report) {
  const auto reason = [&](std::string_view layer) -> std::string {
    for (const std::string& missing : report.missing) {
      if (missing.starts_with(layer)) return missing;
    }
    return "not available";
  };
  std::vector<Check> checks(3);
  checks[0] = {"namespaces", CheckState::good,
               report.user_namespace ? "own user and network namespace" : "own network namespace",
               ""};
  if (!report.network_namespace) {
    checks[0] = {"namespaces", CheckState::note, reason("namespace"),
                 "sysctl kernel.unprivileged_userns_clone=1 (Debian) or "
                 "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in a container, allow "
                 "unshare"};
  }
  checks[1] = {"Landlock", CheckState::good,
               fmt::format("files, interface {}", report.landlock_abi), ""};
  if (report.landlock_abi == 0) {
    checks[1] = {"Landlock", CheckState::note, reason("Landlock"),
                 "boot a kernel of 5.13 or later with landlock in its list of security modules"};
  }
  checks[2] = {"seccomp", CheckState::good, "system calls filtered", ""};
  if (!report.seccomp) {
    checks[2] = {"seccomp", CheckState::note, reason("seccomp"),
                 "boot a kernel with CONFIG_SECCOMP_FILTER"};
  }
  Check total{"confinement", CheckState::good, fmt::format("{} of 3 layers", report.layers()), ""};
  if (report.layers() < 3) {
    total.state = report.layers() < 2 ? CheckState::bad : CheckState::note;
    total.fix = "see the layers above; the others hold without it";
  }
  checks.push_back(std::move(total));
  return checks;
}

Check attack_check(const base::Json& attacks) {
  std::string open;
  int tried = 0;
  for (const base::Json& attack : attacks.as_array()) {
    ++tried;
    const base::Json* refused = attack.find("refused");
    const base::Json* name = attack.find("name");
    if (refused && refused->is_bool() && refused->as_bool()) continue;
    open += (open.empty() ? "" : ", ") + (name && name->is_string() ? name->as_string() : "?");
  }
  if (open.empty()) {
    return {"self-attack", CheckState::good, fmt::format("{} ways out tried, all refused", tried),
            ""};
  }
  return {"self-attack", CheckState::bad, "not refused: " + open, "see the layers above"};
}

Check process_check(const char* name, const base::Json& process) {
  const base::Json* pid = process.find("pid");
  const base::Json* seal = process.find("seal");
  const int number = pid && pid->is_integer() ? static_cast<int>(pid->as_integer()) : 0;
  const KernelView view = number > 0 ? kernel_view(number) : KernelView{};
  if (!view.running) return {name, CheckState::bad, "not running", "start it with `nautile serve`"};
  auto report = seal ? SealReport::from_json(*seal) : base::Result<SealReport>(SealReport{});
  if (!report) report = SealReport{};
  Check check{
      name, CheckState::good,
      fmt::format("process {}: Seccomp {}, NoNewPrivs {}, network namespace {}, Landlock {}",
                  number, view.seccomp_mode, view.no_new_privileges,
                  report->network_namespace ? "own" : "shared", report->landlock_abi),
      ""};
  // The report is the process's own word; seccomp and NoNewPrivs are the kernel's.
  if (report->layers() < 3 || view.seccomp_mode != 2 || view.no_new_privileges != 1) {
    check.state = report->layers() < 2 ? CheckState::bad : CheckState::note;
    check.fix = "`nautile doctor` says which layer this machine lacks, and how to have it";
  }
  return check;
}

Check binary_check() {
  const auto bytes = read_file("/proc/self/exe", binary_bytes_max);
  if (!bytes) return {"program", CheckState::note, "its file cannot be read", "check permissions"};
  return {"program", CheckState::good,
          "BLAKE2b-256 " + crypto::to_hex(crypto::hash("", *bytes)) + " (b2sum -l 256)", ""};
}

}  // namespace

std::vector<Check> check_machine(const Session& session, const Config& config) {
  std::vector<Check> checks = {
      check_processor(),
      check_memory(),
      check_disk(session.places),
      check_huge_pages(),
      check_descriptors(),
      check_port(session.places, config),
      {"TLS", CheckState::good, "none: this server speaks to loopback only", ""},
      check_clock(session.clock)};
  for (Check& check : check_models(session.places)) checks.push_back(std::move(check));
  return checks;
}

std::vector<Check> check_confinement() {
  const auto found = seal_a_child();
  const base::Json* seal = found ? found->find("seal") : nullptr;
  const base::Json* attacks = found ? found->find("attacks") : nullptr;
  const auto report = seal ? SealReport::from_json(*seal)
                           : base::Result<SealReport>(base::fail(base::ErrorKind::internal, ""));
  if (!report || !attacks || !attacks->is_array()) {
    return {{"confinement", CheckState::bad, "a sealed child ended before it could report",
             "please report this with the output of `uname -a`"}};
  }
  std::vector<Check> checks = layer_checks(*report);
  checks.push_back(attack_check(*attacks));
  return checks;
}

std::vector<Check> check_running(const Places& places) {
  std::vector<Check> checks;
  const auto text = read_file(running_file(places), running_file_bytes_max);
  const auto json = text ? base::parse_json(*text, "running.json")
                         : base::Result<base::Json>(base::fail(text.error()));
  if (!json) {
    checks.push_back({"server", CheckState::note, "no server runs on " + places.data,
                      "start it with `nautile serve`, then ask again"});
  } else {
    for (const char* name : {"gate", "engine", "pictures"}) {
      const base::Json* process = json->find(name);
      checks.push_back(process_check(name, process ? *process : base::Json::object()));
    }
    // It alone has network, and it is there only while the owner's download runs.
    const base::Json* pull = json->find("pull");
    const base::Json* pid = pull != nullptr ? pull->find("pid") : nullptr;
    if (pid != nullptr && pid->is_integer() && pid->as_integer() > 0) {
      checks.push_back(
          {"download", CheckState::note,
           fmt::format("process {} fetches a model that the page asked for", pid->as_integer()),
           "`nautile serve --page-pull off` allows none"});
    }
  }
  checks.push_back(binary_check());
  return checks;
}

}  // namespace app
