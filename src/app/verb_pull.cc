// pull: the verb that reaches the network. Works out what to fetch and with what, tells how it
// goes, and stops cleanly at Ctrl-C.
#include <cstdio>
#include <unistd.h>

#include "app/command_line.h"
#include "app/model_store.h"
#include "app/pull_job.h"
#include "app/verb.h"
#include "base/json.h"
#include "pull/catalogue.h"

namespace app {
namespace {

constexpr double gib = 1024.0 * 1024.0 * 1024.0;
constexpr int64_t json_every_ms = 1'000;

struct PullFlags : PullWish {
  bool json = false;
};

// "1.2 / 4.4 GiB  27 %  38.1 MB/s  1:24 left"
std::string progress_line(const pull::Progress& now) {
  const double here = static_cast<double>(now.bytes_here);
  const double total = std::max(1.0, static_cast<double>(now.bytes_total));
  const double seconds = std::max(0.001, static_cast<double>(now.fetching_ms) / 1000);
  const double rate = static_cast<double>(now.bytes_fetched) / seconds;
  std::string line = fmt::format("{}  {:.2f} / {:.2f} GiB  {:.0f} %", now.model, here / gib,
                                 total / gib, 100 * here / total);
  if (now.files > 1) line += fmt::format("  file {} of {}", now.file_number, now.files);
  if (now.phase == pull::Progress::Phase::checking || (here >= total && total > 1)) {
    return line + "  checking";
  }
  if (now.bytes_fetched == 0) return line;
  line += fmt::format("  {:.1f} MB/s", rate / 1e6);
  const int64_t left_s = static_cast<int64_t>((total - here) / std::max(rate, 1.0));
  return line + fmt::format("  {}:{:02} left", left_s / 60, left_s % 60);
}

void print_json(const base::Json& object) {
  std::printf("%s\n", object.dump().c_str());
  std::fflush(stdout);
}

base::Json progress_json(const pull::Progress& now) {
  return base::Json::object({{"event", "progress"},
                             {"phase", phase_name(now.phase)},
                             {"model", now.model},
                             {"file", now.file},
                             {"bytes_total", static_cast<int64_t>(now.bytes_total)},
                             {"bytes_here", static_cast<int64_t>(now.bytes_here)},
                             {"bytes_fetched", static_cast<int64_t>(now.bytes_fetched)},
                             {"bytes_checked", static_cast<int64_t>(now.bytes_checked)}});
}

base::Json result_json(const pull::PullResult& result, bool plan_only) {
  base::Json files = base::Json::array();
  for (const pull::PulledFile& file : result.files) {
    files.push(base::Json::object({{"path", file.path},
                                   {"bytes", static_cast<int64_t>(file.size)},
                                   {"sha256", file.sha256},
                                   {"vouched", file.vouched},
                                   {"was_here", file.was_here}}));
  }
  return base::Json::object({{"event", plan_only ? "plan" : "done"},
                             {"model", result.model},
                             {"source", result.source},
                             {"path", result.path},
                             {"bytes_total", static_cast<int64_t>(result.bytes_total)},
                             {"bytes_missing", static_cast<int64_t>(result.bytes_missing)},
                             {"bytes_fetched", static_cast<int64_t>(result.bytes_fetched)},
                             {"pieces_again", static_cast<int64_t>(result.pieces_again)},
                             {"files", std::move(files)}});
}

void tell_people(const Session& session, const pull::PullResult& result, bool plan_only) {
  if (plan_only) {
    for (const pull::PulledFile& file : result.files) {
      const std::string here = base::say(session.language, base::Message::pull_here);
      std::fprintf(stderr, "%10.1f MiB  %s%s\n", static_cast<double>(file.size) / (1 << 20),
                   file.path.c_str(), file.was_here ? ("  " + here).c_str() : "");
    }
    std::fprintf(stderr, "%s\n",
                 base::say(session.language, base::Message::pull_to_fetch,
                           static_cast<double>(result.bytes_missing) / (1 << 20))
                     .c_str());
    return;
  }
  bool vouched = true;
  for (const pull::PulledFile& file : result.files) {
    if (!file.vouched) {
      vouched = false;
      std::fprintf(
          stderr, "%s\n",
          base::say(session.language, base::Message::pull_unvouched, file.path, file.sha256)
              .c_str());
    }
  }
  std::fprintf(stderr, "%s\n",
               base::say(session.language,
                         vouched ? base::Message::pull_done : base::Message::pull_done_unvouched,
                         result.model)
                   .c_str());
}

base::Result<int> pull_model(Session& session, const PullFlags& flags) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  int64_t json_told_ms = 0;
  const auto result = run_pull(session, flags, [&](const pull::Progress& now) {
    const int64_t now_ms = session.clock.monotonic_ms();
    if (flags.json && !flags.plan_only && now_ms - json_told_ms >= json_every_ms) {
      json_told_ms = now_ms;
      print_json(progress_json(now));
    }
    if (terminal && !flags.plan_only && !now.model.empty()) {
      std::fprintf(stderr, "\r\033[K%s", progress_line(now).c_str());
    }
  });
  if (terminal && !flags.plan_only) std::fputs("\r\033[K", stderr);
  if (!result && result.error().kind == base::ErrorKind::interrupted) {
    std::fprintf(stderr, "%s\n", base::say(session.language, base::Message::interrupted).c_str());
    return exit_interrupted;
  }
  if (!result) return base::fail(result.error());
  if (flags.json) print_json(result_json(*result, flags.plan_only));
  tell_people(session, *result, flags.plan_only);
  return exit_done;
}

}  // namespace

void add_pull(CommandLine& line, Session& session) {
  auto flags = std::make_shared<PullFlags>();
  const std::string largest(pull::largest_distill(machine_memory_bytes()).name);
  Verb verb = line.verb(
      "pull", "fetch a model: hf:ORG/REPO[@REV][:FILE or QUANT], ollama:NAME[:TAG], a name",
      "  nautile pull " + largest +
          "\n  nautile pull hf:unsloth/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q8_0 --json");
  verb.option("REF", flags->reference,
              "hf:…, ollama:…, file:PATH, or a name from `nautile list --catalogue`")
      .required();
  verb.option("--from", flags->from, "take it from this folder; no network is used");
  verb.option("--as", flags->model, "another name for the model");
  verb.option("--connections", flags->connections, "ranges fetched at the same time").range(1, 16);
  verb.option("--retries", flags->retries, "failures in a row that are lived with").range(0, 100);
  verb.option("--stall-timeout", flags->stall_timeout_s,
              "seconds without a byte before a connection is made anew")
      .range(1, 600);
  verb.flag("--dry-run", flags->plan_only, "say what would be fetched, and fetch nothing");
  verb.flag("--json", flags->json, "one JSON object per line: progress, then done");
  verb.setting("hf-endpoint");
  verb.setting("ollama-endpoint");
  verb.runs([&session, flags] { return pull_model(session, *flags); });
}

}  // namespace app
