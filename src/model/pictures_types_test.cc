// The types that a tower, an aligner and a picture decoder may have in a file: F16 meets the
// golden's bounds in both containers; quantised matrices of the tower and the aligner are read as
// the floats that their blocks stand for; what must be plain numbers is refused where it is not.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "base/scratch_for_test.h"
#include "format/quantize.h"
#include "format/tiny_janus_for_test.h"
#include "model/golden_for_test.h"
#include "model/pictures.h"
#include "text/pre_tokenizer.h"

namespace model {
namespace {

using golden::Expected;
using golden::largest_difference;

class PictureTypes : public base::ScratchTest {
 protected:
  std::unique_ptr<format::ModelFiles> opened(const std::string& where) const {
    auto files = format::ModelFiles::open(where);
    EXPECT_TRUE(files.has_value()) << where << ": " << (files ? "" : files.error().message());
    return files ? std::move(*files) : nullptr;
  }

  // One file of Q8_0 whose tensors that `chosen` names have the type `dtype` instead.
  template <class Chosen>
  std::string one_file(const std::string& folder, const std::string& name, tensor::Dtype dtype,
                       const Chosen& chosen) const {
    const auto files = opened(folder);
    auto plan = format::plan_quantized(*files, format::FileType::q8_0, text::pre_tokenizer_name_of);
    auto exported = format::export_gguf(*files, text::pre_tokenizer_name_of);
    EXPECT_TRUE(plan && exported);
    exported->keys.u32("general.file_type", 7);
    for (format::PlannedTensor& planned : plan->tensors) {
      const format::ExportTensor& tensor = planned.tensor;
      if (chosen(tensor.name)) {
        planned.to = dtype;
        planned.copied = false;
      }
      planned.bytes = tensor.rows() * tensor::row_bytes(planned.to, tensor.columns());
      planned.offset = exported->keys.tensor(tensor.name, tensor.ne, planned.to);
    }
    plan->header = exported->keys.header();
    plan->bytes = plan->header.size() + exported->keys.data_bytes();
    const auto out = format::OutputFile::create(path(name), plan->bytes, false);
    base::Pool pool(2);
    const auto written = format::write_quantized(*files, *plan, **out, pool,
                                                 [](uint64_t, uint64_t) { return true; });
    EXPECT_TRUE(written.has_value()) << written.error().message();
    EXPECT_TRUE((*out)->finish().has_value());
    return path(name);
  }
  std::string one_file(const std::string& folder, const std::string& name) const {
    return one_file(folder, name, tensor::Dtype::f32, [](const std::string&) { return false; });
  }
};

struct Parts {
  base::Pool pool{2};
  std::unique_ptr<PictureModel> model;

  Parts(const format::ModelFiles& files, tensor::Isa isa, bool exact,
        std::optional<bool> tiles = std::nullopt) {
    PictureOptions options;
    options.pool = &pool, options.isa = isa, options.exact = exact, options.tiles = tiles;
    auto loaded = PictureModel::load(files, options);
    if (!loaded) throw std::runtime_error(loaded.error().message());
    model = std::move(*loaded);
  }
  std::vector<float> see(std::span<const uint8_t> canvas, std::vector<float>* features) {
    std::vector<float> embeds;
    finish(model->see(canvas, &embeds, features));
    return embeds;
  }
  std::vector<uint8_t> draw(const std::vector<int32_t>& codes, std::vector<float>* floats) {
    std::vector<uint8_t> pixels;
    finish(model->draw(codes, &pixels, floats));
    return pixels;
  }

 private:
  static void finish(const std::unique_ptr<PictureJob>& job) {
    while (!job->advance(operations_unit_max)) {
    }
  }
};

// ---- F16

std::span<const uint8_t> bytes_of(const Expected& expected, const std::string& name) {
  const base::Json& tensor = *expected["tensors"].find(name);
  const auto* begin = reinterpret_cast<const uint8_t*>(expected.bin.data());
  return {begin + tensor.find("offset")->as_integer(),
          static_cast<size_t>(tensor.find("bytes")->as_integer())};
}

// The golden, whose tensors are all BF16, with each number rounded to F16 in its place.
void write_as_f16(const std::string& naming, const std::filesystem::path& to) {
  std::filesystem::create_directory(to);
  for (const char* name : {"config.json", "tokenizer.json", "preprocessor_config.json"}) {
    std::filesystem::copy_file(golden::folder(naming) + "/" + name, to / name);
  }
  std::string file = golden::file_text(golden::folder(naming) + "/model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const size_t data = sizeof(length) + length;
  for (size_t at = file.find("\"BF16\""); at < data; at = file.find("\"BF16\"", at)) {
    file.replace(at, 6, " \"F16\"");
  }
  for (size_t at = data; at + 2 <= file.size(); at += 2) {
    uint16_t bits = 0;
    std::memcpy(&bits, &file[at], sizeof(bits));
    bits = tensor::f32_to_f16(tensor::bf16_to_f32(bits));
    std::memcpy(&file[at], &bits, sizeof(bits));
  }
  std::ofstream(to / "model.safetensors", std::ios::binary) << file;
}

void expect_golden(const format::ModelFiles& files, const Expected& expected, tensor::Isa isa) {
  const auto features = expected.tensor("vision.features");
  const auto aligner = expected.tensor("vision.aligner");
  const auto& order = expected["vision"].find("order")->as_array();
  Parts parts(files, isa, true);
  for (size_t i = 0; i < order.size(); ++i) {
    const std::string& name = order[i].as_string();
    std::vector<float> seen;
    const auto embeds = parts.see(bytes_of(expected, "pre." + name + ".u8"), &seen);
    EXPECT_LT(largest_difference(seen, std::span(features).subspan(i * seen.size(), seen.size())),
              2e-4)
        << name;
    EXPECT_LT(
        largest_difference(embeds, std::span(aligner).subspan(i * embeds.size(), embeds.size())),
        2e-4)
        << name;
  }
  const base::Json& grid = expected["decode"].find("grids")->as_array()[0];
  ASSERT_EQ(grid.find("name")->as_string(), "random");
  std::vector<float> floats;
  const auto pixels = parts.draw(golden::ids_of(*grid.find("codes")), &floats);
  const auto wanted = bytes_of(expected, "dec.random.u8");
  ASSERT_EQ(pixels.size(), wanted.size());
  for (size_t i = 0; i < pixels.size(); ++i) {
    ASSERT_LE(std::abs(pixels[i] - wanted[i]), 1) << "at " << i;
  }
  EXPECT_LT(largest_difference(floats, expected.tensor("dec.random.f32")), 1e-3);
}

// A number of BF16 has fewer bits than F16 keeps, but for the smallest: the bounds are the
// golden's.
TEST_F(PictureTypes, F16MeetsTheGoldensBounds) {
  const Expected expected(golden::folder("janus-hf"));
  write_as_f16("janus-hf", path("port"));
  write_as_f16("janus-original", path("original"));
  const std::string file = one_file(path("port"), "port.gguf");
  for (const std::string& where : {path("port"), path("original"), file}) {
    const auto files = opened(where);
    ASSERT_TRUE(files);
    for (const char* name : {"vision.layers.0.fc1.weight", "aligner.0.weight", "vq.conv_in.weight",
                             "vq.mid.1.q.weight"}) {
      const format::TensorInfo* tensor = files->find(name);
      ASSERT_NE(tensor, nullptr) << name;
      EXPECT_EQ(tensor->dtype, tensor::Dtype::f16) << where << " " << name;
    }
    for (const tensor::Isa isa : golden::isas()) {
      SCOPED_TRACE(where + " with " + std::string(tensor::isa_name(isa)));
      expect_golden(*files, expected, isa);
    }
  }
}

// ---- quantised

bool is_matrix_that_sees(const std::string& name) {
  const bool matrix = name.starts_with("vision.layers.") && name.find("norm") == std::string::npos;
  return (matrix || name.starts_with("aligner.")) && name.ends_with(".weight");
}

void write_wide(const std::filesystem::path& to) {
  format::TinyJanus wide = format::TinyJanus::original(
      {.hidden = 64, .ffn = 64, .vocab = 336, .head = 64, .vision = 64, .vision_ffn = 96});
  wide.fill(11);
  std::filesystem::create_directory(to);
  std::ofstream(to / "config.json") << wide.config.dump();
  std::ofstream(to / "model.safetensors", std::ios::binary) << wide.bytes();
  std::filesystem::copy_file(golden::folder("janus-hf") + "/tokenizer.json", to / "tokenizer.json");
}

std::vector<uint8_t> some_canvas() {
  std::vector<uint8_t> canvas;
  for (int i = 0; i < 8 * 8 * 3; ++i) canvas.push_back(static_cast<uint8_t>(i * 53 % 256));
  return canvas;
}

double largest_of(const std::vector<float>& values) {
  return largest_difference(values, std::vector<float>(values.size()));
}

TEST_F(PictureTypes, AQuantisedTowerSeesNearlyAsItsFloats) {
  write_wide(path("wide"));
  const auto canvas = some_canvas();
  const auto folder = opened(path("wide"));
  ASSERT_TRUE(folder);
  Parts floats(*folder, tensor::Isa::scalar, true);
  const auto wanted = floats.see(canvas, nullptr);
  ASSERT_GT(largest_of(wanted), 0.01);
  const struct {
    tensor::Dtype dtype;
    const char* name;
    double share;  // of the largest number
  } types[] = {{tensor::Dtype::f16, "f16.gguf", 1e-3},
               {tensor::Dtype::q8_0, "q8.gguf", 0.02},
               {tensor::Dtype::q4_0, "q4.gguf", 0.3}};
  for (const auto& type : types) {
    const auto files = opened(one_file(path("wide"), type.name, type.dtype, is_matrix_that_sees));
    ASSERT_TRUE(files);
    ASSERT_TRUE(files->config().has_value()) << files->config().error().message();
    ASSERT_EQ(files->find("vision.layers.1.qkv.weight")->dtype, type.dtype);
    Parts plain(*files, tensor::Isa::scalar, true);
    const auto exactly = plain.see(canvas, nullptr);
    for (const tensor::Isa isa : golden::isas()) {
      SCOPED_TRACE(std::string(type.name) + " with " + std::string(tensor::isa_name(isa)));
      for (const bool exact : {true, false}) {
        Parts parts(*files, isa, exact);
        const auto got = parts.see(canvas, nullptr);
        const double rounding = !exact && isa == tensor::Isa::amx ? 5e-3 : 0;  // to 8 bits
        EXPECT_LT(largest_difference(got, wanted), (type.share + rounding) * largest_of(wanted))
            << exact;
        // The same blocks, whatever the instruction set: only the last bits of sums differ, or
        // those that numbers are rounded to.
        EXPECT_LT(largest_difference(got, exactly), (exact ? 1e-5 : 1e-2) * largest_of(wanted));
      }
    }
  }
}

// What AMX does, on any machine: 8 bits of every factor, and 16 of those that a picture is made of.
TEST_F(PictureTypes, OnTilesItSeesAndDrawsAsNearAsTheirBitsAllow) {
  write_wide(path("wide"));
  const auto files = opened(path("wide"));
  ASSERT_TRUE(files);
  const auto canvas = some_canvas();
  const std::vector<int32_t> codes{0, 3, 1, 4};
  Parts exact(*files, tensor::Isa::scalar, true), tiles(*files, tensor::Isa::scalar, false, true);
  const auto embeds = exact.see(canvas, nullptr);
  const double seen = largest_difference(tiles.see(canvas, nullptr), embeds) / largest_of(embeds);
  EXPECT_LT(seen, 6e-3);
  EXPECT_GT(seen, 1e-5) << "in f32 after all";
  std::vector<float> floats, on_tiles;
  const auto pixels = exact.draw(codes, &floats);
  EXPECT_EQ(tiles.draw(codes, &on_tiles).size(), pixels.size());
  const double drawn = largest_difference(on_tiles, floats) / largest_of(floats);
  EXPECT_LT(drawn, 1e-3);
  EXPECT_GT(drawn, 0) << "in f32 after all";
}

TEST_F(PictureTypes, WhatMustBePlainIsRefusedWhereItIsNot) {
  write_wide(path("wide"));
  for (const char* name : {"vision.positions", "vision.norm.weight", "vision.layers.0.fc1.bias"}) {
    const std::string file =
        one_file(path("wide"), std::string(name) + ".gguf", tensor::Dtype::q8_0,
                 [&](const std::string& tensor) { return tensor == name; });
    const auto files = format::ModelFiles::open(file);
    const auto config = files ? (*files)->config() : tl::unexpected(files.error());
    ASSERT_FALSE(config.has_value()) << name;
    EXPECT_NE(config.error().message().find(name), std::string::npos) << config.error().message();
    EXPECT_FALSE(config.error().next.empty());
  }
}

}  // namespace
}  // namespace model
