// `nautile internal-engine`: the process that parses model files and computes. It seals itself
// before it reads anything foreign, then serves the one socket that it was given.
#pragma once

namespace app {
int run_engine_process();  // exit code; descriptors as child_fd says
}  // namespace app
