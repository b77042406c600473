// doctor: what this machine can do, and what to do about what it cannot.
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include "app/command_line.h"
#include "app/doctor.h"
#include "base/json.h"

namespace app {
namespace {

const char* state_name(CheckState state) {
  return state == CheckState::good ? "good" : state == CheckState::note ? "note" : "bad";
}

void print_check(const Session& session, const Check& check, bool colour) {
  const char* mark = check.state == CheckState::good   ? "ok  "
                     : check.state == CheckState::note ? "note"
                                                       : "BAD ";
  const char* tint = !colour                           ? ""
                     : check.state == CheckState::good ? "\x1b[32m"
                     : check.state == CheckState::note ? "\x1b[33m"
                                                       : "\x1b[31m";
  std::printf("%s%s%s  %-14s %s\n", tint, mark, colour ? "\x1b[0m" : "", check.name.c_str(),
              base::translated(session.language, check.detail).c_str());
  if (!check.fix.empty()) {
    std::printf("      %-14s → %s\n", "", base::translated(session.language, check.fix).c_str());
  }
}

base::Result<int> doctor(const Session& session, bool privacy, bool json) {
  ASSIGN(const Config config, session.config());
  // First, while this process has one thread: the sealed child is forked from it.
  std::vector<Check> confinement = check_confinement();
  std::vector<Check> checks;
  if (!privacy) checks = check_machine(session, config);
  checks.insert(checks.end(), confinement.begin(), confinement.end());
  if (privacy) {
    for (Check& check : check_running(session.places)) checks.push_back(std::move(check));
  }
  const bool colour = ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  bool good = true;
  base::Json list = base::Json::array();
  for (const Check& check : checks) {
    good = good && check.state != CheckState::bad;
    if (!json) print_check(session, check, colour);
    list.push(base::Json::object({{"name", check.name},
                                  {"state", state_name(check.state)},
                                  {"detail", check.detail},
                                  {"fix", check.fix}}));
  }
  if (json) {
    std::printf("%s\n",
                base::Json::object({{"good", good}, {"checks", std::move(list)}}).dump().c_str());
  }
  return good ? exit_done : exit_failed;
}

}  // namespace

void add_doctor(CommandLine& line, Session& session) {
  auto privacy = std::make_shared<bool>(false);
  auto json = std::make_shared<bool>(false);
  Verb verb = line.verb("doctor", "check this machine; each line comes with its fix",
                        "  nautile doctor\n  nautile doctor --privacy --json");
  verb.flag("--privacy", *privacy, "confinement only, also of the running server");
  verb.flag("--json", *json, "one JSON object");
  verb.setting("listen");
  verb.runs([&session, privacy, json] { return doctor(session, *privacy, *json); });
}

}  // namespace app
