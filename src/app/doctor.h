// What `nautile doctor` looks at: each check says how it stands and, if it could be better, what to
// do. Checks read the machine; the confinement ones also fork a child and seal it for real.
#pragma once

#include <string>
#include <vector>

#include "app/config.h"
#include "app/verb.h"

namespace app {

enum class CheckState { good, note, bad };  // note: works, with less than it could
struct Check {
  std::string name;
  CheckState state = CheckState::good;
  std::string detail;  // what was found
  std::string fix;     // what to do; empty when good
};

// The machine: processor, memory, disk, huge pages, descriptors, port, TLS, clock, models.
std::vector<Check> check_machine(const Session& session, const Config& config);
// The three layers of the seal, tried in a child, and the self-attack inside it.
std::vector<Check> check_confinement();
// The processes of the server that is running on this data directory, as the kernel sees them.
std::vector<Check> check_running(const Places& places);

}  // namespace app
