#include "format/gguf_janus.h"

#include <cmath>

#include "format/janus_check.h"

namespace format {
namespace {

using namespace janus_limits;

constexpr std::string_view multipliers_key = "drawing.channel_multipliers";

// One number of the configuration: where it stands, and how large it may be.
struct SizeKey {
  std::string_view key;
  int JanusVision::*of_vision;
  int JanusDrawing::*of_drawing;
  int64_t most;
};
constexpr SizeKey size_keys[] = {
    {"vision.image_size", &JanusVision::side, nullptr, side_max},
    {"vision.patch_size", &JanusVision::patch, nullptr, patch_max},
    {"vision.embedding_length", &JanusVision::width, nullptr, width_max},
    {"vision.block_count", &JanusVision::layers, nullptr, layers_max},
    {"vision.attention.head_count", &JanusVision::heads, nullptr, decoder_limits::heads_max},
    {"vision.feed_forward_length", &JanusVision::ffn, nullptr, decoder_limits::ffn_max},
    {"vision.aligner_count", &JanusVision::aligner_layers, nullptr, aligner_layers_max},
    {"vision.min_size", &JanusVision::min_side, nullptr, side_max},
    {"drawing.code_count", nullptr, &JanusDrawing::codes, codes_max},
    {"drawing.code_length", nullptr, &JanusDrawing::code_width, code_width_max},
    {"drawing.head_length", nullptr, &JanusDrawing::head_width, width_max},
    {"drawing.aligner_count", nullptr, &JanusDrawing::aligner_layers, aligner_layers_max},
    {"drawing.grid_size", nullptr, &JanusDrawing::grid, grid_max},
    {"drawing.channel_count", nullptr, &JanusDrawing::channels, channels_max},
    {"drawing.latent_channel_count", nullptr, &JanusDrawing::latent, channels_max},
    {"drawing.residual_block_count", nullptr, &JanusDrawing::res_blocks, res_blocks_max}};

base::Result<double> number_between(const GgufKeys& keys, std::string_view key, double least,
                                    double most) {
  ASSIGN(const double value, keys.number(key, std::nullopt));
  if (!(value >= least) || !(value <= most)) {
    return keys.bad(key, fmt::format("is not a number from {} to {}", least, most));
  }
  return value;
}

}  // namespace

base::Result<JanusConfig> read_gguf_janus(const GgufKeys& keys) {
  JanusConfig janus;
  for (const SizeKey& each : size_keys) {
    ASSIGN(const int value, keys.size(each.key, each.most));
    (each.of_vision ? janus.vision.*each.of_vision : janus.drawing.*each.of_drawing) = value;
  }
  constexpr int level_max = 255;
  JanusVision& vision = janus.vision;
  ASSIGN(vision.background, keys.count("vision.background", level_max, vision.background));
  ASSIGN(vision.eps, number_between(keys, "vision.attention.layer_norm_epsilon", 0, 1));
  ASSIGN(vision.mean, number_between(keys, "vision.image_mean", 0, 1));
  ASSIGN(vision.std, number_between(keys, "vision.image_std", 1e-6, 1));
  ASSIGN(const auto list, keys.header().integers(keys.key(multipliers_key)));
  if (!list || list->empty() || list->size() > static_cast<size_t>(levels_max)) {
    return keys.bad(multipliers_key,
                    fmt::format("is missing, or no list of 1 to {} numbers", levels_max));
  }
  for (const int64_t value : *list) {
    ASSIGN(const int multiplier,
           checked_size(keys.file(), keys.shown(multipliers_key), value, multiplier_max));
    janus.drawing.multipliers.push_back(multiplier);
  }
  return janus;
}

void add_janus_keys(const JanusConfig& janus, GgufWriter& out) {
  const auto key = [](std::string_view rest) { return fmt::format("janus.{}", rest); };
  for (const SizeKey& each : size_keys) {
    out.u32(key(each.key), static_cast<uint64_t>(each.of_vision ? janus.vision.*each.of_vision
                                                                : janus.drawing.*each.of_drawing));
  }
  out.u32(key("vision.background"), static_cast<uint64_t>(janus.vision.background));
  out.f32(key("vision.attention.layer_norm_epsilon"), janus.vision.eps);
  out.f32(key("vision.image_mean"), janus.vision.mean);
  out.f32(key("vision.image_std"), janus.vision.std);
  const auto& multipliers = janus.drawing.multipliers;
  out.i32s(key(multipliers_key), std::vector<int32_t>(multipliers.begin(), multipliers.end()));
}

}  // namespace format
