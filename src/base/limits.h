// The named limits that more than one module needs. A limit that only one file needs is a constant
// of that file. Units stand in the names.
#pragma once

#include <cstdint>

namespace base::limits {

inline constexpr int json_depth_max = 128;
inline constexpr uint64_t json_bytes_max = 64ull << 20;

inline constexpr int foreign_name_shown_bytes_max = 200;

}  // namespace base::limits
