// Decodes the input as JPEG, whole and reduced, and reads every byte of the picture.
#include "media/picture_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  media::decode_as(media::decode_jpeg, {data, size});
  return 0;
}
