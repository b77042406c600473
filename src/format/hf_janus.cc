// config.json of Janus. The port to transformers has text_config, vision_config and vq_config with
// keys of its own; DeepSeek's form has language_config, and for each other part a "cls" and its
// "params". That form says little: the tower stands there as a name ("siglip_large_patch16_384"),
// the picture decoder as "VQ-16", and the language model only where it differs from LlamaConfig's
// defaults. All that it leaves out is found in the tensors' shapes, except the number of the
// tower's heads: every SigLIP that Janus was built with has 16.
//
// Rules: a size is a whole number in its range; keys that would change what is computed must have
// the values that it is computed with.
#include "format/hf_janus.h"

#include <array>
#include <cmath>
#include <unordered_map>

#include "base/bytes.h"
#include "format/decoder_check.h"
#include "format/hf_fields.h"
#include "format/janus_check.h"
#include "format/janus_names.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using base::Json;
using namespace hf;

constexpr int siglip_heads = 16;
constexpr std::string_view preprocessor_file = "preprocessor_config.json";

const Json& null_json() {
  static const Json null;
  return null;
}

// The object `key`, or an empty one if it is absent.
base::Result<Json> part(const Json& config, std::string_view key) {
  const Json* value = member(config, key);
  if (value == nullptr) return Json::object();
  if (!value->is_object()) return bad(key, "is not an object");
  return *value;
}

base::Result<Json> params(const Json& config, std::string_view key) {
  ASSIGN(const Json whole, part(config, key));
  const Json* value = member(whole, "params");
  if (value == nullptr) return Json::object();
  if (!value->is_object()) return bad(fmt::format("{}.params", key), "is not an object");
  return *value;
}

base::Result<int> size_or_zero(const Json& object, std::string_view key, int64_t most) {
  ASSIGN(const auto value, size_or_nothing(object, key, most));
  return value.value_or(0);
}

// A key that changes the graph.
base::Result<void> expect_text(const Json& object, std::string_view key, std::string_view wanted) {
  ASSIGN(const std::string value, string(object, key, wanted));
  if (value == wanted) return {};
  return bad(key, fmt::format("only \"{}\" is supported", wanted), ErrorKind::unsupported);
}

base::Result<void> expect_flag(const Json& object, std::string_view key, bool wanted) {
  ASSIGN(const bool value, flag(object, key, wanted));
  if (value == wanted) return {};
  return bad(key, fmt::format("only {} is supported", wanted), ErrorKind::unsupported);
}

base::Result<void> expect_number(const Json& object, std::string_view key, double wanted) {
  ASSIGN(const double value, number(object, key, wanted));
  if (value == wanted) return {};
  return bad(key, fmt::format("only {} is supported", wanted), ErrorKind::unsupported);
}

// The feed forward width that a tower of `width` has by its mlp_ratio; 0 if one is not stated.
base::Result<int> ffn_of(const Json& object, int width) {
  ASSIGN(const auto ratio, number_or_nothing(object, "mlp_ratio"));
  if (!ratio || width == 0) return 0;
  return checked_size(file_name, "key \"mlp_ratio\"",
                      std::abs(*ratio) > 1e6 ? 0 : static_cast<int64_t>(width * *ratio),
                      decoder_limits::ffn_max);
}

base::Result<void> read_port_vision(const Json& config, JanusVision& vision) {
  using namespace janus_limits;
  ASSIGN(const Json json, part(config, "vision_config"));
  ASSIGN(const auto side, size_or_nothing(json, "image_size", side_max));
  ASSIGN(const auto patch, size_or_nothing(json, "patch_size", patch_max));
  ASSIGN(const auto heads, size_or_nothing(json, "num_attention_heads", decoder_limits::heads_max));
  ASSIGN(vision.width, size_or_zero(json, "hidden_size", width_max));
  ASSIGN(vision.layers, size_or_zero(json, "num_hidden_layers", layers_max));
  ASSIGN(vision.aligner_layers, size_or_zero(json, "depth", aligner_layers_max));
  ASSIGN(vision.ffn, ffn_of(json, vision.width));
  ASSIGN(vision.eps, number(json, "layer_norm_eps", 1e-6));
  vision.side = side.value_or(0);
  vision.patch = patch.value_or(0);
  vision.heads = heads.value_or(siglip_heads);
  TRY(expect_text(json, "hidden_act", "gelu"));
  TRY(expect_number(json, "num_channels", 3));
  TRY(expect_flag(json, "use_qk_norm", false));
  TRY(expect_flag(json, "attention_bias", true));
  ASSIGN(const int tokens, size_or_zero(json, "num_image_tokens", tokens_max));
  if (tokens > 0 && side && patch && tokens != vision.tokens()) {
    return bad("num_image_tokens", fmt::format("is {}, a picture of {} pixels in patches of {} "
                                               "has {}",
                                               tokens, *side, *patch, vision.tokens()));
  }
  // As many codes are drawn as a picture has patches.
  ASSIGN(const Json drawing, part(config, "vq_config"));
  ASSIGN(const int grid, size_or_zero(drawing, "num_patches", grid_max));
  if (tokens > 0 && grid > 0 && tokens != grid * grid) {
    return bad("num_patches", fmt::format("is {} a side, num_image_tokens is {}", grid, tokens));
  }
  return {};
}

base::Result<void> read_port_drawing(const Json& config, JanusDrawing& drawing) {
  using namespace janus_limits;
  ASSIGN(const Json json, part(config, "vq_config"));
  ASSIGN(drawing.codes, size_or_zero(json, "num_embeddings", codes_max));
  ASSIGN(drawing.code_width, size_or_zero(json, "embed_dim", code_width_max));
  ASSIGN(drawing.grid, size_or_zero(json, "num_patches", grid_max));
  ASSIGN(drawing.channels, size_or_zero(json, "base_channels", channels_max));
  ASSIGN(drawing.latent, size_or_zero(json, "latent_channels", channels_max));
  ASSIGN(drawing.res_blocks, size_or_zero(json, "num_res_blocks", res_blocks_max));
  ASSIGN(drawing.aligner_layers, size_or_zero(json, "num_hidden_layers", aligner_layers_max));
  ASSIGN(drawing.head_width, size_or_zero(json, "projection_dim", width_max));
  TRY(expect_flag(json, "double_latent", false));
  TRY(expect_text(json, "hidden_act", "gelu"));
  TRY(expect_number(json, "out_channels", 3));
  const Json* list = member(json, "channel_multiplier");
  if (list == nullptr) return {};
  if (!list->is_array() || list->as_array().empty() ||
      list->as_array().size() > static_cast<size_t>(levels_max)) {
    return bad("channel_multiplier", fmt::format("is not a list of 1 to {} numbers", levels_max));
  }
  for (const Json& each : list->as_array()) {
    if (!each.is_integer()) return bad("channel_multiplier", "holds what is not a whole number");
    ASSIGN(const int value, checked_size(file_name, "key \"channel_multiplier\"", each.as_integer(),
                                         multiplier_max));
    drawing.multipliers.push_back(value);
  }
  return {};
}

base::Result<void> read_original_vision(const Json& config, JanusVision& vision) {
  using namespace janus_limits;
  ASSIGN(const Json json, params(config, "vision_config"));
  ASSIGN(vision.side, size_or_zero(json, "image_size", side_max));
  ASSIGN(vision.width, size_or_zero(json, "width", width_max));
  ASSIGN(vision.layers, size_or_zero(json, "layers", layers_max));
  ASSIGN(vision.patch, size_or_zero(json, "patch_size", patch_max));
  ASSIGN(const auto heads, size_or_nothing(json, "heads", decoder_limits::heads_max));
  vision.heads = heads.value_or(siglip_heads);
  ASSIGN(vision.ffn, ffn_of(json, vision.width));
  TRY(expect_text(json, "select_feature", "same"));
  TRY(expect_number(json, "select_layer", -1));
  for (const std::string_view key : {"pixel_mean", "pixel_std"}) {
    if (member(json, key) == nullptr) continue;
    return bad(key, "a second scaling of pixels is not supported", ErrorKind::unsupported);
  }
  ASSIGN(const Json aligner, params(config, "aligner_config"));
  TRY(expect_text(aligner, "projector_type", "mlp_gelu"));
  ASSIGN(vision.aligner_layers, size_or_zero(aligner, "depth", aligner_layers_max));
  return {};
}

base::Result<void> read_original_drawing(const Json& config, JanusDrawing& drawing) {
  using namespace janus_limits;
  ASSIGN(const Json vq, params(config, "gen_vision_config"));
  ASSIGN(drawing.codes, size_or_zero(vq, "image_token_size", codes_max));
  ASSIGN(drawing.code_width, size_or_zero(vq, "n_embed", code_width_max));
  ASSIGN(const Json aligner, params(config, "gen_aligner_config"));
  TRY(expect_text(aligner, "projector_type", "mlp_gelu"));
  ASSIGN(drawing.aligner_layers, size_or_zero(aligner, "depth", aligner_layers_max));
  ASSIGN(const Json head, params(config, "gen_head_config"));
  ASSIGN(drawing.head_width, size_or_zero(head, "image_token_embed", width_max));
  ASSIGN(const int codes, size_or_zero(head, "image_token_size", codes_max));
  if (codes != 0 && drawing.codes != 0 && codes != drawing.codes) {
    return bad("image_token_size", fmt::format("is {} for the head and {} for the picture decoder",
                                               codes, drawing.codes));
  }
  if (drawing.codes == 0) drawing.codes = codes;
  return {};
}

bool is_original(const Json& config) { return member(config, "language_config") != nullptr; }

tl::unexpected<base::Error> bad_preprocessor(std::string_view key, std::string why,
                                             ErrorKind kind = ErrorKind::invalid_input) {
  return fail(kind, fmt::format("{}: key \"{}\"", preprocessor_file, key), std::move(why),
              kind == ErrorKind::unsupported ? "take another version of the model" : get_another);
}

// One number, or a list of three equal ones; nothing if absent.
base::Result<std::optional<double>> grey(const Json& json, std::string_view key, double most) {
  const Json* value = member(json, key);
  if (value == nullptr) return std::optional<double>();
  Json::Array list;
  if (value->is_array()) {
    list = value->as_array();
  } else {
    list.push_back(*value);
  }
  if (list.size() != 1 && list.size() != 3) return bad_preprocessor(key, "has not three numbers");
  for (const Json& each : list) {
    if (!each.is_number() || !(each.as_number() >= 0) || !(each.as_number() <= most)) {
      return bad_preprocessor(key, fmt::format("is not made of numbers from 0 to {}", most));
    }
    if (each.as_number() != list[0].as_number()) {
      return bad_preprocessor(key, "differs between the colours", ErrorKind::unsupported);
    }
  }
  return std::optional(list[0].as_number());
}

base::Result<void> expect_true(const Json& json, std::string_view key) {
  const Json* value = member(json, key);
  if (value == nullptr || (value->is_bool() && value->as_bool())) return {};
  return bad_preprocessor(key, "only true is supported", ErrorKind::unsupported);
}

// "size" is {height, width}; DeepSeek's form says image_size.
base::Result<void> check_side(const Json& json, int side) {
  const auto same = [&](const Json* value, std::string_view key) -> base::Result<void> {
    if (value == nullptr || side == 0) return {};
    if (value->is_number() && value->as_number() == side) return {};
    return bad_preprocessor(
        key, fmt::format("is not {}, the side of the vision tower's pictures", side));
  };
  TRY(same(member(json, "image_size"), "image_size"));
  const Json* size = member(json, "size");
  if (size == nullptr) return {};
  if (!size->is_object()) return same(size, "size");
  TRY(same(member(*size, "height"), "size.height"));
  return same(member(*size, "width"), "size.width");
}

// Makes q, k and v of one layer, in any order in the files, one tensor.
class Janus {
 public:
  explicit Janus(std::span<const std::unique_ptr<ByteSource>> files) : files_(files) {}

  base::Result<NormalTensors> run(std::vector<TensorInfo>& raw) {
    for (TensorInfo& tensor : raw) {
      tensor.stored = tensor.dtype;
      auto name = janus_name(tensor.name);
      if (!name) {
        out_.tensors.push_back(std::move(tensor));
        continue;
      }
      if (name->name.empty()) continue;
      tensor.name = std::move(name->name);
      if (name->part >= 0) {
        TRY(take_part_of_three(tensor, static_cast<size_t>(name->part)));
        continue;
      }
      if (tensor.name == "vision.positions" && tensor.shape.size() == 3 && tensor.shape[0] == 1) {
        tensor.shape.erase(tensor.shape.begin());
      }
      out_.tensors.push_back(std::move(tensor));
    }
    for (const Three& three : threes_) TRY(join(three));
    return std::move(out_);
  }

 private:
  struct Three {
    size_t place = 0;  // in out_.tensors
    std::array<std::optional<TensorInfo>, 3> parts;
  };

  tl::unexpected<base::Error> bad(const TensorInfo& tensor, std::string why) const {
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: tensor {}", files_[static_cast<size_t>(tensor.file)]->shown(),
                            base::shown_name(tensor.file_name_of_tensor)),
                std::move(why), "download the model again; it may be cut short or damaged");
  }

  base::Result<void> take_part_of_three(TensorInfo& tensor, size_t part) {
    const auto [known, added] = by_name_.try_emplace(tensor.name, threes_.size());
    if (added) {
      threes_.push_back({out_.tensors.size(), {}});
      out_.tensors.push_back(tensor);  // its place; join() puts the whole there
    }
    auto& place = threes_[known->second].parts[part];
    if (place) return bad(tensor, "stands there twice");
    place = std::move(tensor);
    return {};
  }

  base::Result<void> join(const Three& three) {
    constexpr std::array<char, 3> letters = {'q', 'k', 'v'};
    TensorInfo& whole = out_.tensors[three.place];
    GatheredTensor gathered;
    const TensorInfo* first = nullptr;
    for (size_t i = 0; i < letters.size(); ++i) {
      const auto& part = three.parts[i];
      if (!part) {
        return bad(whole, fmt::format("its layer has no {0}_proj beside it", letters[i]));
      }
      if (first == nullptr) first = &*part;
      if (part->shape != first->shape || part->dtype != first->dtype) {
        return bad(*part, "differs in shape or type from q_proj of its layer");
      }
      gathered.parts.push_back({part->file, part->offset});
    }
    const auto rows = base::checked_mul(first->shape[0], letters.size());
    if (!rows) return bad(*first, "has more rows than can be counted");
    gathered.part_bytes = first->bytes;
    whole.shape = first->shape;
    whole.shape[0] = *rows;
    whole.source = static_cast<int>(out_.gathered.size());
    out_.gathered.push_back(std::move(gathered));
    return {};
  }

  std::span<const std::unique_ptr<ByteSource>> files_;
  std::unordered_map<std::string, size_t> by_name_;
  std::vector<Three> threes_;
  NormalTensors out_;
};

}  // namespace

bool is_hf_janus(const Json& config) {
  if (!config.is_object()) return false;
  const Json* list = member(config, "architectures");
  if (list != nullptr && list->is_array() && !list->as_array().empty() &&
      list->as_array()[0].is_string()) {
    const std::string& name = list->as_array()[0].as_string();
    return name == "JanusForConditionalGeneration" || name == "MultiModalityCausalLM";
  }
  const Json* type = member(config, "model_type");
  return list == nullptr && type != nullptr && type->is_string() &&
         (type->as_string() == "janus" || type->as_string() == "multi_modality");
}

base::Result<Json> janus_language_config(const Json& config) {
  ASSIGN(Json json, part(config, is_original(config) ? "language_config" : "text_config"));
  TRY(expect_text(json, "model_type", "llama"));
  const std::pair<std::string_view, Json> defaults[] = {
      {"hidden_size", 4096},       {"intermediate_size", 11008}, {"num_hidden_layers", 32},
      {"num_attention_heads", 32}, {"vocab_size", 32000},        {"max_position_embeddings", 2048},
      {"rms_norm_eps", Json(1e-6)}};
  for (const auto& [key, value] : defaults) {
    if (member(json, key) == nullptr) json.set(key, value);
  }
  // Quantised checkpoints say so at the top.
  if (const Json* settings = member(config, "quantization_config")) {
    json.set("quantization_config", *settings);
  }
  return json;
}

base::Result<JanusConfig> read_hf_janus(const Json& config) {
  JanusConfig janus;
  janus.vision.aligner_layers = 0;
  janus.drawing.aligner_layers = 0;
  janus.drawing.res_blocks = 0;
  if (is_original(config)) {
    TRY(read_original_vision(config, janus.vision));
    TRY(read_original_drawing(config, janus.drawing));
  } else {
    TRY(read_port_vision(config, janus.vision));
    TRY(read_port_drawing(config, janus.drawing));
  }
  return janus;
}

base::Result<void> read_janus_preprocessor(const Json& preprocessor, JanusVision& vision) {
  const Json& json = preprocessor.is_object() ? preprocessor : null_json();
  for (const std::string_view key : {"do_resize", "do_rescale", "do_pad"}) {
    TRY(expect_true(json, key));
  }
  TRY(check_side(json, vision.side));
  const Json* resample = member(json, "resample");
  if (resample != nullptr && !(*resample == Json(3))) {
    return bad_preprocessor("resample", "only 3, bicubic, is supported", ErrorKind::unsupported);
  }
  const Json* rescale = member(json, "rescale_factor");
  if (rescale != nullptr &&
      (!rescale->is_number() || !(std::abs(rescale->as_number() * 255 - 1) < 1e-5))) {
    return bad_preprocessor("rescale_factor", "only 1/255 is supported", ErrorKind::unsupported);
  }
  if (const Json* least = member(json, "min_size")) {
    if (!least->is_integer()) return bad_preprocessor("min_size", "is not a whole number");
    ASSIGN(vision.min_side, checked_size(preprocessor_file, "key \"min_size\"", least->as_integer(),
                                         vision.side > 0 ? vision.side : janus_limits::side_max));
  }
  ASSIGN(const auto mean, grey(json, "image_mean", 1));
  ASSIGN(const auto deviation, grey(json, "image_std", 1));
  ASSIGN(const auto background, grey(json, "background_color", 255));
  vision.mean = mean.value_or(vision.mean);
  vision.std = deviation.value_or(vision.std);
  if (!(vision.std > 0)) return bad_preprocessor("image_std", "is 0");
  vision.background = static_cast<int>(background.value_or(vision.mean * 255));
  const Json* normalise = member(json, "do_normalize");
  if (normalise == nullptr) return {};
  if (!normalise->is_bool()) return bad_preprocessor("do_normalize", "is not true or false");
  if (!normalise->as_bool()) {  // levels as they are, 0 to 1
    vision.mean = 0;
    vision.std = 1;
  }
  return {};
}

base::Result<NormalTensors> normal_janus_tensors(
    std::vector<TensorInfo> raw, std::span<const std::unique_ptr<ByteSource>> files) {
  return Janus(files).run(raw);
}

}  // namespace format
