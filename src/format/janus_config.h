// Janus-Pro besides its language model: what its parts measure, and the names that its tensors have
// for model/ whatever the container calls them (models.md §3.7 lists both namings of the hub).
// Every weight is row-major, outermost first; `.bias` stands beside each `.weight` unless noted.
//
//   vision.patch                    (width, 3, patch, patch)
//   vision.positions                (tokens, width), no ".weight", no bias
//   vision.layers.N.norm1, norm2    (width)
//   vision.layers.N.qkv             (3 * width, width): rows q, k, v; one tensor in every container
//   vision.layers.N.proj, fc1, fc2  (width, width), (ffn, width), (width, ffn)
//   vision.norm                     (width)
//   aligner.0, aligner.1 …          (hidden, width), then (hidden, hidden)
//   codes.weight                    (codes, code_width), no bias: the embedding of image codes
//   codes_aligner.0, .1 …           (hidden, code_width), then (hidden, hidden)
//   codes_head.0, codes_head.1      (head_width, hidden), (codes, head_width)
//   vq.codebook.weight              (codes, code_width), no bias, not normalised
//   vq.post_quant                   (latent, code_width, 1, 1)
//   vq.conv_in                      (c, latent, 3, 3)
//   vq.mid.0, vq.mid.2              residual blocks; vq.mid.1 attention
//   vq.up.N.res.M, vq.up.N.attn.M   N = 0 is the level of the lowest resolution
//   vq.up.N.upsample                (c, c, 3, 3), all levels but the last
//   vq.norm_out, vq.conv_out        (c), (3, c, 3, 3)
//     residual block: norm1, conv1 (co, ci, 3, 3), norm2, conv2; shortcut (co, ci, 1, 1) if ci !=
//     co attention: norm, q, k, v, out   (c, c, 1, 1)
#pragma once

#include <vector>

namespace format {

struct JanusVision {        // SigLIP as timm has it
  int side = 0, patch = 0;  // pixels of the square picture, of a patch
  int width = 0, layers = 0, heads = 0, ffn = 0;
  double eps = 1e-6;
  int aligner_layers = 2;
  int min_side = 14;     // the shorter side of a picture is not scaled below
  int background = 127;  // level of the canvas around it
  double mean = 0.5, std = 0.5;
  int tokens() const { return (side / patch) * (side / patch); }
};

struct JanusDrawing {  // codes and LlamaGen's VQ decoder
  int codes = 0, code_width = 0;
  int head_width = 0;  // between the two matrices of codes_head
  int aligner_layers = 2;
  int grid = 0;                  // codes a side of a picture
  int channels = 0;              // base width of the decoder
  int latent = 0;                // channels after post_quant
  std::vector<int> multipliers;  // of `channels`, from the highest resolution to the lowest
  int res_blocks = 2;            // the decoder has one more a level
  int side() const;              // grid << (levels - 1): pixels a side
};

struct JanusConfig {
  JanusVision vision;
  JanusDrawing drawing;
};

inline int JanusDrawing::side() const { return grid << (static_cast<int>(multipliers.size()) - 1); }

}  // namespace format
