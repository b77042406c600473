// The verbs that only our own processes and tests use; they stand in no help text.
#pragma once

#include <optional>

namespace app {
// The exit code, or nothing if the command line names no internal verb. Called first in main(),
// while the process has one thread and has opened nothing.
std::optional<int> run_internal_verb(int argc, char** argv);
}  // namespace app
