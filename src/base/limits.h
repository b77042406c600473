// The named limits that more than one module needs. A limit that only one file needs is a constant
// of that file. Units stand in the names.
#pragma once

#include <cstdint>

namespace base::limits {

inline constexpr int json_depth_max = 128;
inline constexpr uint64_t json_bytes_max = 64ull << 20;
// Values of one text (members, elements, and what holds them) and keys. One takes some 40 bytes, so
// that a text of tiny ones takes up to twenty times its own size. The largest tokenizer.json of the
// models that we run (Llama 3: 128,000 tokens, 280,147 merges as pairs) has 1,100,000.
inline constexpr uint64_t json_values_max = 1'150'000;

inline constexpr int foreign_name_shown_bytes_max = 200;

}  // namespace base::limits
