// The process attacks itself: every way out that the privacy promise closes is tried for real, and
// each attempt says what the kernel answered. Run sealed, all must be refused; run unsealed, the
// same attempts are the positive control (what the machine allows at all must then succeed).
//
// Threads: call it with one thread; some attempts are made in forked children, since the kernel
// answers them by killing.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace app {

struct AttackTargets {
  int tcp_port = 0;       // a listener on 127.0.0.1 that would accept; 0: that attempt is left out
  std::string unix_path;  // a listening Unix socket's path; empty: left out
  std::string foreign_file;       // a readable file outside what the seal allows
  std::string foreign_directory;  // a directory outside in which a file could be made
};

struct AttackOutcome {
  std::string name;
  bool refused = false;
  bool needs_root = false;  // unprivileged, the machine refuses it anyway: no positive control
  std::string answer;       // "Operation not permitted", "killed", "done"
};
std::vector<AttackOutcome> attack_self(const AttackTargets& targets);

base::Json attack_json(const std::vector<AttackOutcome>& outcomes);

}  // namespace app
