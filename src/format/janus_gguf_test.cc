// Janus through the quantiser: what is read back from the one file is what the folder had, and
// keys that do not fit the tensors are refused (docs/janus-gguf.md).
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>

#include "base/scratch_for_test.h"
#include "format/gguf_janus.h"
#include "format/opened.h"
#include "format/quantize.h"
#include "format/tiny_janus_for_test.h"
#include "text/pre_tokenizer.h"

namespace format {
namespace {

using tensor::Dtype;

std::unique_ptr<ModelFiles> opened(const std::string& path) {
  auto files = ModelFiles::open(path);
  EXPECT_TRUE(files.has_value()) << path << ": " << (files ? "" : files.error().message());
  return files ? std::move(*files) : nullptr;
}

std::string golden(const std::string& name) {
  return std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/" + name;
}

class JanusGguf : public base::ScratchTest {
 protected:
  std::unique_ptr<ModelFiles> quantised(const ModelFiles& files, FileType type,
                                        const std::string& name) const {
    const auto plan = plan_quantized(files, type, text::pre_tokenizer_name_of);
    EXPECT_TRUE(plan.has_value()) << plan.error().message();
    const auto out = OutputFile::create(path(name), plan->bytes, false);
    base::Pool pool(2);
    const auto costs =
        write_quantized(files, *plan, **out, pool, [](uint64_t, uint64_t) { return true; });
    EXPECT_TRUE(costs.has_value()) << costs.error().message();
    EXPECT_TRUE((*out)->finish().has_value());
    return opened(path(name));
  }
};

std::vector<float> decoded(const ModelFiles& files, const TensorInfo& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  EXPECT_TRUE(files.read(tensor, 0, bytes).has_value()) << tensor.name;
  const uint64_t columns = tensor.shape.back();
  const uint64_t row_bytes = tensor::row_bytes(tensor.dtype, columns);
  std::vector<float> values(tensor.bytes / row_bytes * columns);
  for (uint64_t row = 0; row < values.size() / columns; ++row) {
    tensor::decode_row(tensor.dtype, bytes.data() + row * row_bytes, values.data() + row * columns,
                       static_cast<int64_t>(columns));
  }
  return values;
}

void expect_same_janus(const JanusConfig& a, const JanusConfig& b) {
  const auto numbers = [](const JanusVision& v) {
    return std::tuple(v.side, v.patch, v.width, v.layers, v.heads, v.ffn, v.aligner_layers,
                      v.min_side, v.background);
  };
  EXPECT_EQ(numbers(a.vision), numbers(b.vision));
  EXPECT_NEAR(a.vision.eps, b.vision.eps, 1e-12);
  EXPECT_NEAR(a.vision.mean, b.vision.mean, 1e-7);
  EXPECT_NEAR(a.vision.std, b.vision.std, 1e-7);
  const auto counts = [](const JanusDrawing& d) {
    return std::tuple(d.codes, d.code_width, d.head_width, d.aligner_layers, d.grid, d.channels,
                      d.latent, d.res_blocks, d.multipliers);
  };
  EXPECT_EQ(counts(a.drawing), counts(b.drawing));
}

TEST_F(JanusGguf, GoldensComeBackInEveryType) {
  for (const char* model : {"janus-hf", "janus-original"}) {
    const auto folder = opened(golden(model));
    const auto wanted = folder->config();
    for (const FileTypeInfo& type : file_types()) {
      const std::string name = fmt::format("{}.{}.gguf", model, type.name);
      const auto file = quantised(*folder, type.type, name);
      ASSERT_TRUE(file);
      const auto config = file->config();
      ASSERT_TRUE(config.has_value()) << name << ": " << config.error().message();
      expect_same_janus(*config->janus, *wanted->janus);
      EXPECT_EQ(config->parameters, wanted->parameters);
      EXPECT_EQ(config->parameters_active, wanted->parameters_active);
      EXPECT_EQ(config->rope_layout, RopeLayout::half_split);
      EXPECT_EQ(file->tensors().size(), folder->tensors().size()) << name;
      for (const TensorInfo& tensor : folder->tensors()) {
        const TensorInfo* found = file->find(tensor.name);
        ASSERT_NE(found, nullptr) << name << " " << tensor.name;
        EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
        const auto a = decoded(*folder, tensor), b = decoded(*file, *found);
        // No row of the tiny golden is a block: nothing is lost but F16's last bits.
        const bool exact = !tensor.name.starts_with("model.") && tensor.name != "lm_head.weight";
        for (size_t i = 0; i < a.size(); ++i) {
          ASSERT_NEAR(a[i], b[i], exact ? 0 : 1e-7 + std::fabs(a[i]) * 5e-4) << tensor.name;
        }
      }
    }
  }
}

// Rows that hold whole blocks, and a tokenizer beside it.
TinyJanus wide_janus() {
  TinyJanus wide = TinyJanus::original({.hidden = 256, .ffn = 256, .vocab = 336, .head = 256});
  wide.fill(5);
  return wide;
}

TEST_F(JanusGguf, PartsHaveTheTypesThatTheDocumentStates) {
  std::filesystem::create_directory(folder_ / "wide");
  const TinyJanus wide = wide_janus();
  std::ofstream(folder_ / "wide/config.json") << wide.config.dump();
  std::ofstream(folder_ / "wide/model.safetensors", std::ios::binary) << wide.bytes();
  std::filesystem::copy_file(golden("janus-hf") + "/tokenizer.json",
                             folder_ / "wide/tokenizer.json");
  const auto folder = opened(path("wide"));
  ASSERT_TRUE(folder);
  const std::pair<FileType, Dtype> types[] = {{FileType::q8_0, Dtype::q8_0},
                                              {FileType::q4_k_m, Dtype::q4_k}};
  for (const auto& [type, base] : types) {
    const auto file = quantised(*folder, type, base == Dtype::q8_0 ? "a.gguf" : "b.gguf");
    ASSERT_TRUE(file);
    const auto type_of = [&](const char* name) { return file->find(name)->dtype; };
    EXPECT_EQ(type_of("model.layers.0.self_attn.q_proj.weight"), base);
    EXPECT_EQ(type_of("model.layers.0.mlp.gate_proj.weight"), base);
    EXPECT_EQ(type_of("codes_head.0.weight"), Dtype::q8_0);
    EXPECT_EQ(type_of("codes_head.1.weight"), Dtype::q8_0);
    EXPECT_EQ(type_of("codes_aligner.1.weight"), Dtype::q8_0);
    EXPECT_EQ(type_of("codes_aligner.0.weight"), Dtype::bf16);  // rows of 4
    EXPECT_EQ(type_of("codes.weight"), Dtype::bf16);
    EXPECT_EQ(type_of("aligner.1.weight"), Dtype::bf16);
    EXPECT_EQ(type_of("vision.layers.1.qkv.weight"), Dtype::bf16);
    EXPECT_EQ(type_of("vision.positions"), Dtype::bf16);
    EXPECT_EQ(type_of("vq.up.1.res.0.conv1.weight"), Dtype::bf16);
    EXPECT_EQ(type_of("vq.up.1.res.0.norm1.weight"), Dtype::f32);
    EXPECT_EQ(type_of("codes_head.1.bias"), Dtype::f32);
    // Once more, from the file: the same file.
    const auto again = quantised(*file, type, base == Dtype::q8_0 ? "c.gguf" : "d.gguf");
    ASSERT_TRUE(again && again->config().has_value());
    for (const TensorInfo& tensor : file->tensors()) {
      EXPECT_EQ(again->find(tensor.name)->dtype, tensor.dtype) << tensor.name;
      EXPECT_EQ(decoded(*again, *again->find(tensor.name)), decoded(*file, tensor)) << tensor.name;
    }
  }
  EXPECT_EQ(type_of_pictures("vq.conv_in.weight", std::vector<uint64_t>{3, 3, 8, 64}, Dtype::f32),
            Dtype::f16);
}

// The golden's file with one key changed.
TEST_F(JanusGguf, KeysThatDoNotFitAreRefused) {
  const auto file = quantised(*opened(golden("janus-hf")), FileType::q8_0, "good.gguf");
  ASSERT_TRUE(file);
  std::string bytes;
  {
    std::ifstream in(path("good.gguf"), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const auto refused = [&](const std::string& key, const std::string& value, size_t skip,
                           const std::string& named) {
    std::string changed = bytes;
    const size_t at = changed.find("janus." + key);
    ASSERT_NE(at, std::string::npos) << key;
    changed.replace(at + 6 + key.size() + 4 + skip, value.size(), value);
    std::vector<std::unique_ptr<ByteSource>> shards;
    shards.push_back(memory_source(
        {reinterpret_cast<const uint8_t*>(changed.data()), changed.size()}, "good.gguf"));
    const auto model = open_gguf(std::move(shards));
    ASSERT_TRUE(model.has_value()) << model.error().message();
    const auto config = (*model)->config();
    ASSERT_FALSE(config.has_value()) << key;
    EXPECT_NE(config.error().message().find(named), std::string::npos)
        << key << ": " << config.error().message();
  };
  const auto u32 = [](uint32_t value) {
    return std::string(reinterpret_cast<const char*>(&value), 4);
  };
  const auto f32 = [](float value) {
    return std::string(reinterpret_cast<const char*>(&value), 4);
  };
  refused("vision.image_size", u32(0), 0, "image_size");
  refused("vision.image_size", u32(1 << 30), 0, "image_size");
  refused("vision.image_size", u32(112), 0, "36 patches");
  refused("vision.block_count", u32(3), 0, "layers");
  refused("vision.attention.head_count", u32(5), 0, "5 heads");
  refused("vision.background", u32(256), 0, "background");
  refused("vision.image_std", f32(0), 0, "image_std");
  refused("vision.image_mean", f32(NAN), 0, "image_mean");
  refused("vision.attention.layer_norm_epsilon", f32(-1), 0, "epsilon");
  refused("drawing.code_count", u32(255), 0, "image codes");
  refused("drawing.grid_size", u32(0xffffffff), 0, "grid_size");
  refused("drawing.channel_count", u32(64), 0, "channels");
  refused("drawing.channel_multipliers", u32(0xffffffff), 12, "channel_multipliers");
  refused("drawing.channel_multipliers", u32(2), 12, "channels");
}

}  // namespace
}  // namespace format
