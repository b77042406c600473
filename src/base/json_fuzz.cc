// Every accepted document is printed, read again, and must be the same value.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json.h"

namespace {
// Doubles survive printing, so equality of the trees is exact.
void check_round_trip(const base::Json& json) {
  auto again = base::parse_json(json.dump(), "round trip");
  if (!again || !(*again == json)) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::JsonLimits limits;
  limits.depth_max = 64;
  auto json = base::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz", limits);
  if (json) check_round_trip(*json);
  return 0;
}
