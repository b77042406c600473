// Whether this build runs under AddressSanitizer or ThreadSanitizer, which g++ and clang announce
// in different ways. For bounds in tests: a sanitizer multiplies time and memory.
#pragma once

namespace base {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace base
