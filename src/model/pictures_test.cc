// The picture model against the reference (tests/golden/model/janus-*), and the promise of
// pictures.h: a job's result depends on nothing but its input.
#include "model/pictures.h"

#include <cmath>
#include <gtest/gtest.h>
#include <map>

#include "base/sanitized.h"
#include "model/golden_for_test.h"
#include "model/pictures_parts.h"

namespace model {
namespace {

using golden::Expected;

struct Pictures {
  base::Pool pool;
  std::unique_ptr<format::ModelFiles> files;
  std::unique_ptr<JanusPictures> model;

  Pictures(const std::string& family, tensor::Isa isa, bool exact, int threads = 2)
      : pool(threads) {
    auto opened = format::ModelFiles::open(golden::folder(family));
    if (!opened) throw std::runtime_error(opened.error().message());
    files = std::move(*opened);
    PictureOptions options;
    options.pool = &pool, options.isa = isa, options.exact = exact;
    auto loaded = JanusPictures::load(*files, options);
    if (!loaded) throw std::runtime_error(loaded.error().message());
    model = std::move(*loaded);
  }

  void run(std::unique_ptr<PictureJob> job, uint64_t slice) {
    ASSERT_NE(job, nullptr);
    uint64_t left = job->operations_left();
    EXPECT_GT(left, 0u);
    while (!job->advance(slice)) {
      EXPECT_LT(job->operations_left(), left);
      left = job->operations_left();
    }
    EXPECT_EQ(job->operations_left(), 0u);
    EXPECT_TRUE(job->advance(slice));
  }
  struct Seen {
    std::vector<float> embeds, features;
  };
  Seen see(const std::vector<uint8_t>& canvas, uint64_t slice = ~0ull) {
    Seen seen;
    run(model->see(canvas, &seen.embeds, &seen.features), slice);
    return seen;
  }
  struct Drawn {
    std::vector<uint8_t> pixels;
    std::vector<float> floats;
  };
  Drawn draw(const std::vector<int32_t>& codes, uint64_t slice = ~0ull) {
    Drawn drawn;
    run(model->draw(codes, &drawn.pixels, &drawn.floats), slice);
    return drawn;
  }
};

std::vector<uint8_t> bytes_of(const Expected& expected, std::string_view name) {
  const base::Json& t = *expected["tensors"].find(name);
  const auto* first =
      reinterpret_cast<const uint8_t*>(expected.bin.data()) + t.find("offset")->as_integer();
  return {first, first + t.find("bytes")->as_integer()};
}

std::vector<float> part_of(const std::vector<float>& all, int i, int parts) {
  const auto size = static_cast<int64_t>(all.size()) / parts;
  return {all.begin() + i * size, all.begin() + (i + 1) * size};
}

const char* const namings[] = {"janus-hf", "janus-original"};
const Expected& expected() {
  static const Expected loaded(golden::folder("janus-hf"));
  return loaded;
}

std::vector<std::string> picture_names() {
  std::vector<std::string> names;
  for (const base::Json& name : expected()["vision"].find("order")->as_array()) {
    names.push_back(name.as_string());
  }
  return names;
}

TEST(Pictures, FeaturesAndEmbeddingsEqualTheReference) {
  const auto names = picture_names();
  const int count = static_cast<int>(names.size());
  const auto features = expected().tensor("vision.features");
  const auto aligner = expected().tensor("vision.aligner");
  for (const tensor::Isa isa : golden::isas()) {
    for (const char* naming : namings) {
      Pictures pictures(naming, isa, true);
      for (int i = 0; i < count; ++i) {
        const auto seen = pictures.see(bytes_of(expected(), "pre." + names[i] + ".u8"));
        EXPECT_LT(golden::largest_difference(seen.features, part_of(features, i, count)), 2e-4)
            << naming << " " << names[i] << " " << tensor::isa_name(isa);
        EXPECT_LT(golden::largest_difference(seen.embeds, part_of(aligner, i, count)), 2e-4)
            << naming << " " << names[i] << " " << tensor::isa_name(isa);
      }
    }
  }
}

TEST(Pictures, RoundedWeightsStayNearTheReference) {
  const auto names = picture_names();
  const auto features = expected().tensor("vision.features");
  for (const tensor::Isa isa : golden::isas()) {
    Pictures pictures("janus-hf", isa, false);
    const auto seen = pictures.see(bytes_of(expected(), "pre." + names[0] + ".u8"));
    const auto wanted = part_of(features, 0, static_cast<int>(names.size()));
    // AMX takes numbers of 8 bits, the others of 12.
    const double bound = isa == tensor::Isa::amx ? 4e-2 : 1e-2;
    EXPECT_LT(golden::largest_difference(seen.features, wanted), bound) << tensor::isa_name(isa);
  }
}

// (channels, positions), as the goldens have pictures.
std::vector<float> turned(const float* x, int positions, int channels) {
  std::vector<float> out(size_t(positions) * channels);
  for (int p = 0; p < positions; ++p) {
    for (int c = 0; c < channels; ++c) out[size_t(c) * positions + p] = x[p * channels + c];
  }
  return out;
}

TEST(Pictures, StagesEqualTheReference) {
  std::map<std::string, std::vector<float>> stages;
  const auto tap = [&](const std::string& stage, const float* x, int positions, int channels) {
    const bool seeing = stage.starts_with("vision.");
    stages[stage] = seeing ? std::vector<float>(x, x + size_t(positions) * channels)
                           : turned(x, positions, channels);
  };
  const base::Json& grid = expected()["decode"].find("grids")->as_array()[0];
  for (const tensor::Isa isa : golden::isas()) {
    Pictures pictures("janus-hf", isa, true);
    pictures.model->set_tap(tap);
    pictures.see(bytes_of(expected(), "pre." + picture_names()[0] + ".u8"));
    pictures.draw(golden::ids_of(*grid.find("codes")));
    const std::pair<const char*, const char*> pairs[] = {
        {"vision.embeddings", "vision.embeddings0"},
        {"vision.block0", "vision.block0"},
        {"post_quant_conv", "dec.stage.post_quant_conv"},
        {"mid", "dec.stage.mid"},
        {"up.0.block.0", "dec.stage.up.0.block.0"},
        {"up.0.attn.0", "dec.stage.up.0.attn.0"},
        {"up.1", "dec.stage.up.1"}};
    for (const auto& [ours, theirs] : pairs) {
      EXPECT_LT(golden::largest_difference(stages[ours], expected().tensor(theirs)), 2e-4)
          << ours << " " << tensor::isa_name(isa);
    }
  }
}

void expect_pixels(const std::vector<uint8_t>& got, const std::vector<uint8_t>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  int far = 0;
  for (size_t i = 0; i < got.size(); ++i) far += std::abs(got[i] - wanted[i]) > 1;
  EXPECT_EQ(far, 0);
}

TEST(Pictures, DrawnPixelsEqualTheReference) {
  for (const tensor::Isa isa : golden::isas()) {
    for (const char* naming : namings) {
      for (const bool exact : {true, false}) {
        Pictures pictures(naming, isa, exact);
        for (const base::Json& grid : expected()["decode"].find("grids")->as_array()) {
          const std::string name = grid.find("name")->as_string();
          const base::Json* codes = grid.find("codes");
          const auto drawn = pictures.draw(
              golden::ids_of(codes ? *codes : *expected()["generation"].find("greedy_codes")));
          expect_pixels(drawn.pixels, bytes_of(expected(), "dec." + name + ".u8"));
          if (name != "random") continue;
          EXPECT_LT(golden::largest_difference(drawn.floats, expected().tensor("dec.random.f32")),
                    1e-3)
              << naming << " " << tensor::isa_name(isa);
        }
      }
    }
  }
}

TEST(Pictures, ResultsDoNotDependOnSlicesThreadsOrOtherJobs) {
  const auto canvas = bytes_of(expected(), "pre.portrait.u8");
  std::vector<int32_t> codes(36);
  for (int i = 0; i < 36; ++i) codes[i] = i * 7 % 256;
  for (const tensor::Isa isa : golden::isas()) {
    for (const bool exact : {true, false}) {
      Pictures whole("janus-hf", isa, exact, 1), sliced("janus-hf", isa, exact, 3);
      const auto seen = whole.see(canvas);
      const auto drawn = whole.draw(codes);

      // Three at once, a unit each in turn.
      Pictures::Seen other_seen;
      Pictures::Drawn one, two;
      auto a = sliced.model->see(canvas, &other_seen.embeds, &other_seen.features);
      auto b = sliced.model->draw(codes, &one.pixels, &one.floats);
      auto c = sliced.model->draw(codes, &two.pixels, &two.floats);
      bool done = false;
      while (!done) {
        done = a->advance(1);
        done = b->advance(1) && done;
        done = c->advance(1) && done;
      }
      EXPECT_EQ(seen.embeds, other_seen.embeds);
      EXPECT_EQ(seen.features, other_seen.features);
      EXPECT_EQ(drawn.floats, one.floats);
      EXPECT_EQ(drawn.floats, two.floats);
      EXPECT_EQ(drawn.pixels, two.pixels);
    }
  }
}

TEST(Pictures, AJobThatIsDroppedLeavesNothingBehind) {
  Pictures pictures("janus-hf", tensor::Isa::scalar, true);
  const std::vector<int32_t> codes(36, 5);
  const auto wanted = pictures.draw(codes);
  std::vector<uint8_t> pixels;
  auto job = pictures.model->draw(std::vector<int32_t>(36, 200), &pixels, nullptr);
  EXPECT_FALSE(job->advance(1));
  job.reset();
  EXPECT_TRUE(pixels.empty());
  EXPECT_EQ(pictures.draw(codes).pixels, wanted.pixels);
}

TEST(Pictures, PaletteExplainsTheColoursOfTheGridThatItWasFittedTo) {
  Pictures pictures("janus-hf", golden::isas().back(), false);
  std::vector<uint8_t> colours;
  pictures.run(pictures.model->palette(&colours), 1);
  ASSERT_EQ(colours.size(), 256u * 3);
  // Against the mean colour of each square: better than one colour for all. (More cannot be asked
  // of random weights, where a square's colour hangs on its neighbours.)
  std::vector<int32_t> codes(36);
  for (int i = 0; i < 36; ++i) codes[i] = i * 256 / 36;
  const auto drawn = pictures.draw(codes);
  double error = 0, spread = 0;
  for (int channel = 0; channel < 3; ++channel) {
    std::vector<double> mean(36);
    double all = 0;
    for (int i = 0; i < 36; ++i) {
      for (int at = 0; at < 256; ++at) {
        const int y = i / 6 * 16 + at / 16, x = i % 6 * 16 + at % 16;
        mean[i] += drawn.pixels[(y * 96 + x) * 3 + channel] / 256.0;
      }
      all += mean[i] / 36;
    }
    for (int i = 0; i < 36; ++i) {
      error += std::pow(colours[codes[i] * 3 + channel] - mean[i], 2);
      spread += std::pow(all - mean[i], 2);
    }
  }
  EXPECT_LT(error, 0.95 * spread);
}

TEST(Pictures, MemoryIsKnownFromTheHeadersAndInfoFromTheConfiguration) {
  Pictures pictures("janus-hf", tensor::Isa::scalar, true);
  PictureOptions options;
  options.pool = &pictures.pool;
  const auto bytes = PictureModel::memory_bytes(*pictures.files, options);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_GT(*bytes, 3'000'000u);
  EXPECT_LT(*bytes, 60'000'000u);
  const PictureInfo& info = pictures.model->info();
  EXPECT_EQ(info.side, 96);
  EXPECT_EQ(info.tokens, 36);
  EXPECT_EQ(info.hidden, 52);
  EXPECT_EQ(info.vision_width, 36);
  EXPECT_EQ(info.codes, 256);
  EXPECT_EQ(info.grid, 6);
  EXPECT_EQ(info.drawn_side, 96);
}

TEST(Pictures, LoadingCanBeStoppedAndOtherModelsAreRefused) {
  base::Pool pool(1);
  auto files = format::ModelFiles::open(golden::folder("janus-hf"));
  ASSERT_TRUE(files.has_value());
  PictureOptions options;
  options.pool = &pool;
  const std::atomic<bool> cancel{true};
  options.load.cancel = &cancel;
  const auto stopped = PictureModel::load(**files, options);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().kind, base::ErrorKind::interrupted);

  auto other = format::ModelFiles::open(golden::folder("qwen2"));
  ASSERT_TRUE(other.has_value());
  const auto refused = PictureModel::memory_bytes(**other, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, base::ErrorKind::unsupported);
}

}  // namespace
}  // namespace model
