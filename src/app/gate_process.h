// `nautile internal-gate`: the process that everybody talks to. It inherits the listener, seals
// itself, and is handed a socket to the engine whenever the supervisor has started one.
#pragma once

namespace app {
int run_gate_process();  // exit code; descriptors as child_fd says
}  // namespace app
