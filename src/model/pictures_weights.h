// The weights of a PictureModel, packed, and how they come from a file. The names are those of
// format/janus_config.h.
#pragma once

#include <optional>
#include <vector>

#include "model/pictures.h"
#include "tensor/arena.h"
#include "tensor/conv.h"
#include "tensor/dense.h"

namespace model {

struct DensePart {
  tensor::DenseMatrix w;
  const float* bias = nullptr;  // (w.rows)
};
struct ConvPart {  // 3 x 3
  tensor::ConvMatrix w;
  const float* bias = nullptr;  // (w.out)
};
struct NormPart {
  const float* weight = nullptr;  // (width)
  const float* bias = nullptr;    // (width)
};

struct VisionLayer {
  NormPart norm1;
  DensePart qkv, proj;  // (3 * width, width): rows q, k, v; (width, width)
  NormPart norm2;
  DensePart fc1, fc2;  // (ffn, width), (width, ffn)
};
struct VisionWeights {
  DensePart patch;                   // (width, 3 * patch * patch)
  const float* positions = nullptr;  // (tokens, width)
  std::vector<VisionLayer> layers;
  NormPart norm;
  std::vector<DensePart> aligner;  // (hidden, width), then (hidden, hidden)
};

struct ResPart {
  NormPart norm1;
  ConvPart conv1;
  NormPart norm2;
  ConvPart conv2;
  std::optional<DensePart> shortcut;  // if the number of channels changes
};
struct AttentionPart {
  NormPart norm;
  DensePart q, k, v, out;  // (channels, channels)
};
struct VqLevel {
  int channels = 0;
  std::vector<ResPart> res;
  std::vector<AttentionPart> attention;  // after each, at the lowest resolution
  std::optional<ConvPart> upsample;      // after doubling; not at the highest resolution
};
struct VqWeights {
  const float* codebook = nullptr;  // (codes, code_width), rows of length 1
  DensePart post_quant;             // (latent, code_width)
  ConvPart conv_in;                 // latent -> channels of the lowest resolution
  ResPart mid_first;
  AttentionPart mid_attention;
  ResPart mid_last;
  std::vector<VqLevel> up;  // the lowest resolution first
  NormPart norm_out;
  ConvPart conv_out;  // -> 3
};

struct PictureWeights {
  format::JanusConfig config;
  int hidden = 0;
  bool tiles = false;  // products on tiles (tensor/dense.h), not all in f32
  VisionWeights vision;
  VqWeights vq;
  tensor::WeightArena arena;  // what all of the above points into
};

// The shapes of everything, with no data, and the bytes of the arena. Fails if the model is not one
// that sees and draws. (That tensors have their shapes and types, format has seen to.)
struct PictureShapes {
  PictureWeights weights;
  uint64_t bytes = 0;
};
base::Result<PictureShapes> picture_shapes(const format::ModelFiles& files,
                                           const PictureOptions& options);

base::Result<PictureWeights> load_pictures(const format::ModelFiles& files,
                                           const PictureOptions& options);

}  // namespace model
