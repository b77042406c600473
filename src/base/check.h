// CHECK(condition, "why it must hold"): for our own bugs only. No input, file or packet can reach
// a CHECK that fails. It prints file, line and the sentence (no values) and aborts.
#pragma once

namespace base {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* why);
}

#define CHECK(condition, why)                   \
  (__builtin_expect(!!(condition), 1) ? (void)0 \
                                      : ::base::check_failed(__FILE__, __LINE__, #condition, why))
