// PNG out. Apart from pictures.h, because the gate may write what it has drawn itself but never
// reads a picture. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace media {

// A PNG of (height, width, 3) RGB with these texts in it (iTXt, UTF-8). The same input gives the
// same bytes.
base::Result<std::string> encode_png(int width, int height, std::span<const uint8_t> rgb,
                                     const std::vector<std::pair<std::string, std::string>>& texts);

}  // namespace media
