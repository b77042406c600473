#include "model/synthetic_janus.h"

#include <cmath>
#include <fmt/format.h>

namespace model {
namespace {

class JanusTensors {
 public:
  JanusTensors(const format::JanusConfig& janus, int hidden)
      : v_(janus.vision), d_(janus.drawing), hidden_(hidden) {}

  std::vector<ShapedTensor> make() {
    vision();
    aligner("aligner", v_.aligner_layers, v_.width);
    all_.push_back({"codes.weight", {length(d_.codes), length(d_.code_width)}});
    aligner("codes_aligner", d_.aligner_layers, d_.code_width);
    pair("codes_head.0", {length(d_.head_width), hidden_});
    pair("codes_head.1", {length(d_.codes), length(d_.head_width)});
    decoder();
    return std::move(all_);
  }

 private:
  static uint64_t length(int64_t value) { return static_cast<uint64_t>(value); }

  void pair(const std::string& name, std::vector<uint64_t> shape) {
    const uint64_t outputs = shape[0];
    all_.push_back({name + ".weight", std::move(shape)});
    all_.push_back({name + ".bias", {outputs}});
  }

  void aligner(const char* name, int layers, int from) {
    for (int i = 0; i < layers; ++i) {
      pair(fmt::format("{}.{}", name, i), {hidden_, i == 0 ? length(from) : hidden_});
    }
  }

  void vision() {
    const uint64_t width = length(v_.width), ffn = length(v_.ffn), patch = length(v_.patch);
    pair("vision.patch", {width, 3, patch, patch});
    all_.push_back({"vision.positions", {length(v_.tokens()), width}});
    for (int i = 0; i < v_.layers; ++i) {
      const std::string at = fmt::format("vision.layers.{}.", i);
      pair(at + "norm1", {width});
      pair(at + "qkv", {3 * width, width});
      pair(at + "proj", {width, width});
      pair(at + "norm2", {width});
      pair(at + "fc1", {ffn, width});
      pair(at + "fc2", {width, ffn});
    }
    pair("vision.norm", {width});
  }

  void res(const std::string& at, uint64_t in, uint64_t out) {
    pair(at + ".norm1", {in});
    pair(at + ".conv1", {out, in, 3, 3});
    pair(at + ".norm2", {out});
    pair(at + ".conv2", {out, out, 3, 3});
    if (in != out) pair(at + ".shortcut", {out, in, 1, 1});
  }
  void attention(const std::string& at, uint64_t channels) {
    pair(at + ".norm", {channels});
    for (const char* part : {".q", ".k", ".v", ".out"}) {
      pair(at + part, {channels, channels, 1, 1});
    }
  }
  void decoder() {
    const uint64_t latent = length(d_.latent), width = length(d_.code_width);
    all_.push_back({"vq.codebook.weight", {length(d_.codes), width}});
    pair("vq.post_quant", {latent, width, 1, 1});
    uint64_t channels = length(int64_t{d_.channels} * d_.multipliers.back());
    pair("vq.conv_in", {channels, latent, 3, 3});
    res("vq.mid.0", channels, channels);
    attention("vq.mid.1", channels);
    res("vq.mid.2", channels, channels);
    const size_t levels = d_.multipliers.size();
    for (size_t i = 0; i < levels; ++i) {
      const uint64_t out = length(int64_t{d_.channels} * d_.multipliers[levels - 1 - i]);
      for (int block = 0; block <= d_.res_blocks; ++block) {
        res(fmt::format("vq.up.{}.res.{}", i, block), channels, out);
        channels = out;
        if (i == 0) attention(fmt::format("vq.up.{}.attn.{}", i, block), channels);
      }
      if (i + 1 < levels) pair(fmt::format("vq.up.{}.upsample", i), {channels, channels, 3, 3});
    }
    pair("vq.norm_out", {channels});
    pair("vq.conv_out", {3, channels, 3, 3});
  }

  const format::JanusVision& v_;
  const format::JanusDrawing& d_;
  const uint64_t hidden_;
  std::vector<ShapedTensor> all_;
};

}  // namespace

format::JanusConfig janus_pro_1b() {
  format::JanusConfig janus;
  janus.vision = {384, 16, 1024, 24, 16, 4096};
  janus.drawing = {16384, 8, 2048, 2, 24, 128, 256, {1, 1, 2, 2, 4}};
  return janus;
}

format::JanusConfig tiny_janus() {
  format::JanusConfig janus;
  janus.vision = {8, 4, 32, 2, 2, 64};
  janus.drawing = {40, 8, 64, 2, 2, 32, 8, {1, 2}, 1};
  return janus;
}

std::vector<ShapedTensor> janus_tensors(const format::JanusConfig& janus, int hidden) {
  return JanusTensors(janus, hidden).make();
}

Spread spread_of(const ShapedTensor& tensor) {
  if (tensor.name == "vision.positions") return {0, 0.05f};
  if (tensor.name == "vq.codebook.weight" || tensor.name == "codes.weight") return {0, 1};
  if (tensor.shape.size() == 1) {
    return tensor.name.find("norm") != std::string::npos && tensor.name.ends_with(".weight")
               ? Spread{1, 0.2f}
               : Spread{0, 0.1f};
  }
  double inputs = 1;
  for (size_t i = 1; i < tensor.shape.size(); ++i) inputs *= static_cast<double>(tensor.shape[i]);
  return {0, static_cast<float>(std::sqrt(3 / inputs))};  // deviation 1 / sqrt(inputs)
}

}  // namespace model
