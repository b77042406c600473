#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace base {

void check_failed(const char* file, int line, const char* condition, const char* why) {
  std::fprintf(stderr, "nautile: internal fault at %s:%d: %s (%s). Please report this line.\n",
               file, line, why, condition);
  std::abort();
}

}  // namespace base
