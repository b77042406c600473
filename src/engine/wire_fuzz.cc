// First byte: the kind; the rest: the payload. What decodes is encoded again and must give the same
// bytes, which reads every accepted field.
#include <cstdlib>

#include "engine/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  auto frame = engine::wire::decode(data[0], {data + 1, size - 1});
  if (!frame) return 0;
  auto again = engine::wire::encode(*frame, 64u << 20);
  if (!again) std::abort();
  auto bytes = reinterpret_cast<const uint8_t*>(again->data());
  auto twice = engine::wire::decode(
      bytes[4], {bytes + engine::wire::header_bytes, again->size() - engine::wire::header_bytes});
  if (!twice) std::abort();
  auto third = engine::wire::encode(*twice, 64u << 20);
  if (!third || *third != *again) std::abort();
  return 0;
}
