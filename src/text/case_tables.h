// Upper and lower case of characters as Python maps them. Pure functions over constant tables; any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace text {

struct CaseRun {
  uint32_t first, last, stride;
  int32_t delta;
};
struct CaseExpansion {
  uint32_t code_point;
  const char* utf8;
};
extern const CaseRun upper_runs[], lower_runs[];
extern const size_t upper_runs_size, lower_runs_size;
extern const CaseExpansion upper_expansions[], lower_expansions[];
extern const size_t upper_expansions_size, lower_expansions_size;

// Appends the UTF-8 of the mapped character: one character, or a few.
void append_upper(std::string& out, uint32_t code_point);
void append_lower(std::string& out, uint32_t code_point);

}  // namespace text
