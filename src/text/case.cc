#include <algorithm>

#include "text/case_tables.h"
#include "text/unicode.h"

namespace text {
namespace {

void append_mapped(std::string& out, uint32_t code_point, const CaseRun* runs, size_t runs_size,
                   const CaseExpansion* expansions, size_t expansions_size) {
  const CaseRun* run =
      std::upper_bound(runs, runs + runs_size, code_point,
                       [](uint32_t value, const CaseRun& r) { return value < r.first; });
  // Runs of stride 2 may interleave with the next one: look at two.
  for (int back = 0; back < 2 && run != runs; ++back) {
    --run;
    if (code_point <= run->last && (code_point - run->first) % run->stride == 0) {
      append_utf8(out, static_cast<uint32_t>(static_cast<int64_t>(code_point) + run->delta));
      return;
    }
  }
  const CaseExpansion* expansion =
      std::lower_bound(expansions, expansions + expansions_size, code_point,
                       [](const CaseExpansion& e, uint32_t value) { return e.code_point < value; });
  if (expansion != expansions + expansions_size && expansion->code_point == code_point) {
    out += expansion->utf8;
  } else {
    append_utf8(out, code_point);
  }
}

}  // namespace

void append_upper(std::string& out, uint32_t code_point) {
  append_mapped(out, code_point, upper_runs, upper_runs_size, upper_expansions,
                upper_expansions_size);
}

void append_lower(std::string& out, uint32_t code_point) {
  append_mapped(out, code_point, lower_runs, lower_runs_size, lower_expansions,
                lower_expansions_size);
}

}  // namespace text
