#include "app/build_info.h"

namespace app {
const char* const build_version = NAUTILE_VERSION;
const char* const build_commit = NAUTILE_COMMIT;
const char* const build_compiler = NAUTILE_COMPILER;
const char* const build_flags = NAUTILE_FLAGS;
}  // namespace app
