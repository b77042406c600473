// The first three bytes choose a canvas, the rest is a picture of any format.
#include <cstdlib>

#include "media/pictures.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const media::Fit fit{1 + data[0], 1 + data[1] % 16, data[2]};
  const auto canvas = media::decode_and_fit({data + 3, size - 3}, fit);
  if (canvas &&
      canvas->size() != 3u * static_cast<size_t>(fit.side) * static_cast<size_t>(fit.side)) {
    std::abort();
  }
  volatile uint8_t sum = 0;
  if (canvas) {
    for (const uint8_t value : *canvas) sum = static_cast<uint8_t>(sum + value);
  }
  const auto whole = media::decode({data + 3, size - 3});
  if (whole) {
    for (const uint8_t value : whole->values) sum = static_cast<uint8_t>(sum + value);
  }
  return 0;
}
