#include "format/janus_check.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "format/decoder_check.h"
#include "format/janus_names.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using namespace janus_limits;

class JanusCheck {
 public:
  JanusCheck(const ModelFiles& files, std::string_view file, int hidden, TensorCheck& check,
             JanusConfig& janus)
      : files_(files),
        file_(file),
        hidden_(hidden),
        check_(check),
        v_(janus.vision),
        d_(janus.drawing) {}

  base::Result<void> run() {
    TRY(check_halves());
    TRY(measure_vision());
    TRY(measure_codes());
    TRY(measure_decoder());
    TRY(judge_vision());
    TRY(judge_aligner("aligner", v_.aligner_layers, v_.width));
    TRY(judge_codes());
    TRY(judge_decoder());
    return refuse_others();
  }

 private:
  tl::unexpected<base::Error> bad(std::string what, std::string why) const {
    return fail(ErrorKind::invalid_input, fmt::format("{}: {}", file_, what), std::move(why),
                get_another);
  }

  // Either half alone is a model that this program does not know.
  base::Result<void> check_halves() const {
    constexpr std::pair<std::string_view, std::string_view> halves[] = {
        {"vision.", "sees"}, {"aligner.", "sees"},        {"vq.", "draws"},
        {"codes.", "draws"}, {"codes_aligner.", "draws"}, {"codes_head.", "draws"}};
    for (const auto& [prefix, does] : halves) {
      const auto& all = files_.tensors();
      if (std::any_of(all.begin(), all.end(), [p = prefix](const TensorInfo& tensor) {
            return tensor.name.starts_with(p);
          })) {
        continue;
      }
      return fail(ErrorKind::invalid_input,
                  fmt::format("{}: the half of the model that {} is missing", file_, does),
                  fmt::format("no tensor belongs to {}", prefix.substr(0, prefix.size() - 1)),
                  "download the model again; it may be cut short or made for another program");
    }
    return {};
  }

  // ---- finding the numbers

  // The shape of a tensor that is there and has so many dimensions.
  base::Result<std::vector<int64_t>> shape(const std::string& name, size_t dimensions) const {
    const TensorInfo* tensor = files_.find(name);
    if (tensor == nullptr) {
      return fail(ErrorKind::invalid_input, fmt::format("{}: tensor {} is missing", file_, name),
                  "the sizes of its part are read from it",
                  "download the model again; it may be cut short or of another family");
    }
    constexpr uint64_t length_max = 1 << 30;
    const bool small = std::all_of(tensor->shape.begin(), tensor->shape.end(),
                                   [](uint64_t length) { return length <= length_max; });
    if (tensor->shape.size() != dimensions || !small) {
      return bad(
          fmt::format("tensor {} has shape [{}]", base::shown_name(tensor->file_name_of_tensor),
                      fmt::join(tensor->shape, ", ")),
          fmt::format("{} dimensions of a sane length were expected", dimensions));
    }
    return std::vector<int64_t>(tensor->shape.begin(), tensor->shape.end());
  }

  // Sets `number` to what a tensor shows; what the metadata state must be the same.
  base::Result<void> settle(std::string_view what, int64_t shown, int64_t most, int& number) const {
    ASSIGN(const int found, checked_size(file_, what, shown, most));
    if (number != 0 && number != found) {
      return bad(fmt::format("{} is stated as {}", what, number),
                 fmt::format("the tensors have {}", found));
    }
    number = found;
    return {};
  }

  // How many of "PREFIX0SUFFIX", "PREFIX1SUFFIX" … are there.
  int64_t count(std::string_view prefix, std::string_view suffix, int64_t most) const {
    int64_t found = 0;
    while (found <= most && files_.find(fmt::format("{}{}{}", prefix, found, suffix)) != nullptr) {
      ++found;
    }
    return found;
  }

  base::Result<void> measure_vision() {
    ASSIGN(const auto patch, shape("vision.patch.weight", 4));
    TRY(settle("the size of the vision tower's patches", patch[2], patch_max, v_.patch));
    TRY(settle("the vision tower's width", patch[0], width_max, v_.width));
    ASSIGN(const auto positions, shape("vision.positions", 2));
    const auto across = static_cast<int64_t>(std::lround(std::sqrt(positions[0])));
    if (v_.side == 0) {
      TRY(settle("the side of the vision tower's pictures", across * v_.patch, side_max, v_.side));
    }
    if (v_.side < v_.patch || v_.tokens() > tokens_max || v_.tokens() != positions[0]) {
      return bad(fmt::format("the vision tower has positions for {} patches", positions[0]),
                 fmt::format("a picture of {0} by {0} pixels in patches of {1} by {1} does not "
                             "have so many",
                             v_.side, v_.patch));
    }
    TRY(settle("the number of the vision tower's layers",
               count("vision.layers.", ".norm1.weight", layers_max), layers_max, v_.layers));
    ASSIGN(const auto fc1, shape("vision.layers.0.fc1.weight", 2));
    TRY(settle("the vision tower's feed forward width", fc1[0], decoder_limits::ffn_max, v_.ffn));
    TRY(settle("the number of the aligner's layers",
               count("aligner.", ".weight", aligner_layers_max), aligner_layers_max,
               v_.aligner_layers));
    if (v_.heads < 1 || v_.width % v_.heads != 0) {
      return bad(fmt::format("the vision tower has {} heads", v_.heads),
                 fmt::format("its width is {}", v_.width));
    }
    if (!(v_.eps > 0) || !(v_.eps <= 1)) {
      return bad("the epsilon of the vision tower's norms", "is not a number from 0 to 1");
    }
    v_.min_side = std::clamp(v_.min_side, 1, v_.side);
    return {};
  }

  base::Result<void> measure_codes() {
    ASSIGN(const auto codes, shape("codes.weight", 2));
    TRY(settle("the number of image codes", codes[0], codes_max, d_.codes));
    TRY(settle("the width of image codes", codes[1], code_width_max, d_.code_width));
    ASSIGN(const auto head, shape("codes_head.0.weight", 2));
    TRY(settle("the width of the head of image codes", head[0], width_max, d_.head_width));
    TRY(settle("the number of layers of the image codes' aligner",
               count("codes_aligner.", ".weight", aligner_layers_max), aligner_layers_max,
               d_.aligner_layers));
    return {};
  }

  base::Result<void> measure_decoder() {
    ASSIGN(const auto conv_in, shape("vq.conv_in.weight", 4));
    TRY(settle("the number of latent channels", conv_in[1], channels_max, d_.latent));
    const int64_t levels = count("vq.up.", ".res.0.conv1.weight", levels_max);
    int stated_levels = static_cast<int>(d_.multipliers.size());
    TRY(settle("the number of the picture decoder's levels", levels, levels_max, stated_levels));
    const int64_t blocks = count("vq.up.0.res.", ".conv1.weight", res_blocks_max + 1);
    TRY(settle("the number of residual blocks", blocks - 1, res_blocks_max, d_.res_blocks));
    channels_.resize(static_cast<size_t>(levels));
    for (int64_t level = 0; level < levels; ++level) {
      ASSIGN(const auto conv, shape(fmt::format("vq.up.{}.res.0.conv1.weight", level), 4));
      ASSIGN(channels_[static_cast<size_t>(level)],
             checked_size(file_, fmt::format("the number of channels of level {}", level), conv[0],
                          channels_max));
      if (conv[0] % norm_groups != 0) {
        return bad(fmt::format("level {} of the picture decoder has {} channels", level, conv[0]),
                   fmt::format("they must be a multiple of {}", norm_groups));
      }
    }
    TRY(settle_channels());
    if (d_.grid == 0) d_.grid = v_.side / v_.patch;
    ASSIGN(d_.grid, checked_size(file_, "the number of codes a side", d_.grid, grid_max));
    if (d_.side() > side_max) {
      return bad(fmt::format("drawn pictures would have {0} by {0} pixels", d_.side()),
                 fmt::format("at most {0} by {0} are drawn", side_max));
    }
    return {};
  }

  // channels_ is by level, the lowest resolution first; the multipliers go the other way.
  base::Result<void> settle_channels() {
    if (d_.channels == 0 || d_.multipliers.empty()) {
      d_.channels = 0;
      for (const int channels : channels_) d_.channels = std::gcd(d_.channels, channels);
      d_.multipliers.clear();
      for (auto level = channels_.rbegin(); level != channels_.rend(); ++level) {
        d_.multipliers.push_back(*level / d_.channels);
      }
      return {};
    }
    for (size_t i = 0; i < channels_.size(); ++i) {
      const int64_t stated = int64_t{d_.channels} * d_.multipliers[channels_.size() - 1 - i];
      if (stated == channels_[i]) continue;
      return bad(
          fmt::format("level {} of the picture decoder is stated with {} channels", i, stated),
          fmt::format("its tensors have {}", channels_[i]));
    }
    return {};
  }

  // ---- judging every tensor

  base::Result<void> matrix(const std::string& name, int64_t rows, int64_t columns) {
    judged_.insert(name + ".weight");
    TRY(check_.aside(name + ".weight", {rows, columns}, TensorCheck::Types::decodable));
    return bias(name, rows);
  }
  base::Result<void> bias(const std::string& name, int64_t rows) {
    judged_.insert(name + ".bias");
    return check_.aside(name + ".bias", {rows}, TensorCheck::Types::plain);
  }
  base::Result<void> plain(const std::string& name, const std::vector<int64_t>& wanted) {
    judged_.insert(name);
    return check_.aside(name, wanted, TensorCheck::Types::plain);
  }
  base::Result<void> norm(const std::string& name, int64_t width) {
    TRY(plain(name + ".weight", {width}));
    return bias(name, width);
  }
  base::Result<void> conv(const std::string& name, int64_t to, int64_t from, int64_t side) {
    TRY(plain(name + ".weight", {to, from, side, side}));
    return bias(name, to);
  }

  base::Result<void> judge_vision() {
    TRY(conv("vision.patch", v_.width, 3, v_.patch));
    TRY(plain("vision.positions", {v_.tokens(), v_.width}));
    for (int i = 0; i < v_.layers; ++i) {
      const std::string at = fmt::format("vision.layers.{}.", i);
      TRY(norm(at + "norm1", v_.width));
      TRY(matrix(at + "qkv", int64_t{3} * v_.width, v_.width));
      TRY(matrix(at + "proj", v_.width, v_.width));
      TRY(norm(at + "norm2", v_.width));
      TRY(matrix(at + "fc1", v_.ffn, v_.width));
      TRY(matrix(at + "fc2", v_.width, v_.ffn));
    }
    return norm("vision.norm", v_.width);
  }

  base::Result<void> judge_aligner(std::string_view name, int layers, int from) {
    for (int i = 0; i < layers; ++i) {
      TRY(matrix(fmt::format("{}.{}", name, i), hidden_, i == 0 ? from : hidden_));
    }
    return {};
  }

  base::Result<void> judge_codes() {
    judged_.insert("codes.weight");
    TRY(check_.aside("codes.weight", {d_.codes, d_.code_width}, TensorCheck::Types::decodable));
    TRY(judge_aligner("codes_aligner", d_.aligner_layers, d_.code_width));
    TRY(matrix("codes_head.0", d_.head_width, hidden_));
    return matrix("codes_head.1", d_.codes, d_.head_width);
  }

  base::Result<void> res_block(const std::string& at, int from, int to) {
    TRY(norm(at + ".norm1", from));
    TRY(conv(at + ".conv1", to, from, 3));
    TRY(norm(at + ".norm2", to));
    TRY(conv(at + ".conv2", to, to, 3));
    if (from != to) TRY(conv(at + ".shortcut", to, from, 1));
    return {};
  }

  base::Result<void> attention(const std::string& at, int channels) {
    TRY(norm(at + ".norm", channels));
    for (const std::string_view part : {".q", ".k", ".v", ".out"}) {
      TRY(conv(at + std::string(part), channels, channels, 1));
    }
    return {};
  }

  base::Result<void> judge_decoder() {
    TRY(plain("vq.codebook.weight", {d_.codes, d_.code_width}));
    TRY(conv("vq.post_quant", d_.latent, d_.code_width, 1));
    int channels = channels_.front();
    TRY(conv("vq.conv_in", channels, d_.latent, 3));
    TRY(res_block("vq.mid.0", channels, channels));
    TRY(attention("vq.mid.1", channels));
    TRY(res_block("vq.mid.2", channels, channels));
    for (size_t level = 0; level < channels_.size(); ++level) {
      const std::string at = fmt::format("vq.up.{}.", level);
      for (int block = 0; block <= d_.res_blocks; ++block) {
        TRY(res_block(fmt::format("{}res.{}", at, block), channels, channels_[level]));
        channels = channels_[level];
        if (level == 0) TRY(attention(fmt::format("{}attn.{}", at, block), channels));
      }
      if (level + 1 < channels_.size()) TRY(conv(at + "upsample", channels, channels, 3));
    }
    TRY(norm("vq.norm_out", channels));
    return conv("vq.conv_out", 3, channels, 3);
  }

  base::Result<void> refuse_others() const {
    for (const TensorInfo& tensor : files_.tensors()) {
      if (!is_of_pictures(tensor.name) || judged_.contains(tensor.name)) continue;
      return fail(
          ErrorKind::unsupported,
          fmt::format("{}: has the tensor {}", file_, base::shown_name(tensor.file_name_of_tensor)),
          "nothing of what this program computes for pictures uses it",
          "it may be a model of another family than its metadata say");
    }
    return {};
  }

  const ModelFiles& files_;
  std::string_view file_;
  const int64_t hidden_;
  TensorCheck& check_;
  JanusVision& v_;
  JanusDrawing& d_;
  std::vector<int> channels_;  // by level
  std::unordered_set<std::string> judged_;
};

}  // namespace

base::Result<void> complete_janus(const ModelFiles& files, std::string_view file, int hidden,
                                  TensorCheck& check, JanusConfig& janus) {
  return JanusCheck(files, file, hidden, check, janus).run();
}

}  // namespace format
