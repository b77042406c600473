// The parts of Janus that see and draw, found in the shapes of their tensors and judged by them, as
// decoder_check.h does it for the language model.
#pragma once

#include <string_view>

#include "base/result.h"
#include "format/model_files.h"
#include "format/tensor_check.h"

namespace format {

namespace janus_limits {
inline constexpr int64_t side_max = 4096;     // pixels of a picture, each way
inline constexpr int64_t patch_max = 256;     // pixels
inline constexpr int64_t tokens_max = 16384;  // patches of a picture
inline constexpr int64_t width_max = 1 << 17;
inline constexpr int64_t layers_max = 256;
inline constexpr int64_t aligner_layers_max = 8;
inline constexpr int64_t codes_max = 1 << 20;
inline constexpr int64_t code_width_max = 1024;
inline constexpr int64_t grid_max = 128;  // codes a side
inline constexpr int64_t channels_max = 8192;
inline constexpr int64_t multiplier_max = 64;
inline constexpr int64_t levels_max = 8;
inline constexpr int64_t res_blocks_max = 8;
// Of the picture decoder's norms; every number of channels is a multiple.
inline constexpr int64_t norm_groups = 32;
}  // namespace janus_limits

// `janus` holds what the metadata state, 0 where they leave a number to the tensors (heads and eps
// excepted). Afterwards it holds everything, and every tensor of janus_config.h is there in the
// shape that follows, of a type that can be decoded: norms, biases and convolutions F32, F16 or
// BF16, matrices any. A tensor of these parts that nothing is computed with is an error.
base::Result<void> complete_janus(const ModelFiles& files, std::string_view file, int hidden,
                                  TensorCheck& check, JanusConfig& janus);

}  // namespace format
