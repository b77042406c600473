// What `nautile version` states about this build; the values are compile definitions of
// build_info.cc (src/app/module.cmake).
#pragma once

namespace app {
extern const char* const build_version;  // "0.1.0"
extern const char* const build_commit;   // 12 hex digits, "+" if the tree was changed; or "unknown"
extern const char* const build_compiler;  // "GNU 12.2.0"
extern const char* const build_flags;     // "-O2 …"
}  // namespace app
