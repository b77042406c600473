// The picture model at the shape of Janus-Pro-1B with random weights, driven line by line, for
// bench/janus/parts.py, which times it beside PyTorch on the same weights:
//
//   janus_parts [--threads N] [--isa NAME] [--exact]
//   > see | draw            < seconds of one picture, after one line "ready BYTES"
//   > save FILE             < the last result, as f32: (tokens, hidden) or (3, side, side)
//
// Number i of a tensor is made of a hash of its name and i (number() below), rounded to bf16;
// parts.py makes the same ones.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <unordered_map>

#include "model/pictures.h"
#include "model/synthetic_janus.h"
#include "tensor/dtype.h"

namespace {

using base::ErrorKind;
using format::TensorInfo;

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ x >> 27) * 0x94D049BB133111EBull;
  return x ^ x >> 31;
}
uint64_t seed_of(const std::string& name) {  // FNV-1a
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
  return hash;
}
// From -1 to 1.
float number(uint64_t seed, uint64_t i) {
  return static_cast<float>(mix(seed + i) >> 40) / (1 << 23) - 1.0f;
}

class RandomJanus final : public format::ModelFiles {
 public:
  RandomJanus() {
    config_.architecture = "janus";
    config_.hidden = 2048;
    config_.janus = model::janus_pro_1b();
    for (auto& tensor : model::janus_tensors(*config_.janus, config_.hidden)) {
      if (!tensor.name.starts_with("codes")) add(std::move(tensor.name), std::move(tensor.shape));
    }
    for (const TensorInfo& tensor : tensors_) by_name_[tensor.name] = &tensor;
  }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto found = by_name_.find(std::string(name));
    return found == by_name_.end() ? nullptr : found->second;
  }
  base::Result<void> read(const TensorInfo& tensor, uint64_t from,
                          std::span<uint8_t> out) const override {
    const uint64_t seed = seed_of(tensor.name);
    const model::Spread scale = model::spread_of({tensor.name, tensor.shape});
    for (size_t i = 0; i + 1 < out.size(); i += 2) {
      const float value = scale.centre + scale.width * number(seed, from / 2 + i / 2);
      const uint16_t bits = tensor::f32_to_bf16(value);
      std::memcpy(&out[i], &bits, 2);
    }
    return {};
  }
  uint64_t bytes_total() const override { return 0; }
  std::string container() const override { return "random"; }
  base::Json metadata() const override { return {}; }
  base::Result<format::ModelConfig> config() const override { return config_; }
  base::Result<text::TokenizerSpec> tokenizer() const override {
    return base::fail(ErrorKind::not_found, "no vocabulary");
  }

 private:
  void add(std::string name, std::vector<uint64_t> shape) {
    TensorInfo tensor;
    tensor.bytes = 2;
    for (const uint64_t length : shape) tensor.bytes *= length;
    tensor.name = tensor.file_name_of_tensor = std::move(name);
    tensor.dtype = tensor.stored = tensor::Dtype::bf16;
    tensor.shape = std::move(shape);
    tensors_.push_back(std::move(tensor));
  }

  format::ModelConfig config_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, const TensorInfo*> by_name_;
};

struct Settings {
  int threads = 2;
  std::string isa;
  bool exact = false;
};
Settings settings_of(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--exact") settings.exact = true;
    if (flag == "--threads" && i + 1 < argc) settings.threads = std::atoi(argv[++i]);
    if (flag == "--isa" && i + 1 < argc) settings.isa = argv[++i];
  }
  return settings;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void serve(model::PictureModel& pictures) {
  const model::PictureInfo& info = pictures.info();
  std::vector<uint8_t> canvas(size_t(info.side) * info.side * 3), pixels;
  for (size_t i = 0; i < canvas.size(); ++i) canvas[i] = mix(i) >> 56;
  std::vector<int32_t> codes(size_t(info.grid) * info.grid);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<int>(mix(i) % info.codes);
  std::vector<float> result;
  std::string command;
  while (std::cin >> command) {
    if (command == "save") {
      std::string path;
      std::cin >> path;
      std::ofstream file(path, std::ios::binary);
      file.write(reinterpret_cast<const char*>(result.data()), result.size() * sizeof(float));
      file.close();
      std::printf("saved\n");
    } else {
      const double start = now_s();
      auto job = command == "see" ? pictures.see(canvas, &result, nullptr)
                                  : pictures.draw(codes, &pixels, &result);
      // Slices as the engine makes them between steps.
      while (job && !job->advance(model::operations_unit_max)) {
      }
      job.reset();
      std::printf("%.6f\n", now_s() - start);
    }
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings = settings_of(argc, argv);
  const auto isa = tensor::choose_isa(settings.isa);
  if (!isa || settings.threads < 1) {
    std::fprintf(stderr, "usage: janus_parts [--threads N] [--isa NAME] [--exact]\n");
    return 2;
  }
  base::Pool pool(settings.threads);
  const RandomJanus files;
  model::PictureOptions options;
  options.pool = &pool, options.isa = *isa, options.exact = settings.exact;
  const auto bytes = model::PictureModel::memory_bytes(files, options);
  auto pictures = model::PictureModel::load(files, options);
  if (!pictures || !bytes) {
    std::fprintf(stderr, "%s\n", pictures.error().message().c_str());
    return 1;
  }
  std::printf("ready %llu\n", static_cast<unsigned long long>(*bytes));
  std::fflush(stdout);
  serve(**pictures);
  return 0;
}
