#include "app/internal_verbs.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "app/engine_process.h"
#include "app/gate_process.h"
#include "app/pictures_process.h"
#include "app/pull_process.h"
#include "app/seal.h"
#include "app/self_attack.h"

namespace app {
namespace {

// internal-attack [--sealed] [--landlock-abi N] [--tcp-port N] [--unix PATH] [--file PATH]
// [--directory PATH]: attacks itself, prints one JSON object.
int attack(int argc, char** argv) {
  SealPlan plan;
  AttackTargets targets;
  bool sealed = false;
  for (int i = 2; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--sealed") {
      sealed = true;
      continue;
    }
    if (i + 1 >= argc) return 2;
    const char* value = argv[++i];
    if (flag == "--landlock-abi") plan.landlock_abi_max = std::atoi(value);
    if (flag == "--tcp-port") targets.tcp_port = std::atoi(value);
    if (flag == "--unix") targets.unix_path = value;
    if (flag == "--file") targets.foreign_file = value;
    if (flag == "--directory") targets.foreign_directory = value;
  }
  base::Json report;
  if (sealed) report = seal_process(plan).to_json();
  const base::Json outcome = base::Json::object(
      {{"seal", std::move(report)}, {"attacks", attack_json(attack_self(targets))}});
  std::printf("%s\n", outcome.dump().c_str());
  return 0;
}

}  // namespace

std::optional<int> run_internal_verb(int argc, char** argv) {
  if (argc < 2 || std::strncmp(argv[1], "internal-", 9) != 0) return std::nullopt;
  const std::string verb = argv[1];
  if (verb == "internal-gate") return run_gate_process();
  if (verb == "internal-engine") return run_engine_process();
  if (verb == "internal-pictures") return run_pictures_process();
  if (verb == "internal-pull") return run_pull_process();
  if (verb == "internal-catalogue") return run_catalogue_process();
  if (verb == "internal-attack") return attack(argc, argv);
  return std::nullopt;
}

}  // namespace app
