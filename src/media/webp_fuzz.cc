// Decodes the input as WebP, whole and reduced, and reads every byte of the picture.
#include "media/picture_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  media::decode_as(media::decode_webp, {data, size});
  return 0;
}
