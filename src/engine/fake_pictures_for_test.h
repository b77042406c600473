// Test doubles for pictures: a PictureModel whose results are functions of all that it is given,
// and a PictureReader that paints its canvas from the bytes. Not part of the program.
#pragma once

#include <atomic>
#include <functional>
#include <gtest/gtest.h>
#include <string>

#include "media/pictures.h"
#include "model/pictures.h"

namespace engine {

inline uint64_t stir(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
  return hash ^ (hash >> 29);
}
template <class T>
uint64_t stirred(std::span<const T> values) {
  uint64_t hash = values.size();
  for (T value : values) hash = stir(hash, static_cast<uint64_t>(value));
  return hash;
}

class FakePictures : public model::PictureModel {
 public:
  static constexpr int side = 8, tokens = 70, hidden = 3, codes = 40, grid = 6, drawn_side = 12;

  const model::PictureInfo& info() const override { return info_; }
  std::unique_ptr<model::PictureJob> see(std::span<const uint8_t> canvas,
                                         std::vector<float>* embeds,
                                         std::vector<float>* features) override {
    EXPECT_EQ(canvas.size(), static_cast<size_t>(side * side * 3));
    EXPECT_EQ(features, nullptr);
    ++seen;
    const uint64_t hash = stirred(canvas);
    return job(see_operations, [hash, embeds] {
      for (uint64_t i = 0; i < tokens * hidden; ++i) {
        embeds->push_back(static_cast<float>(stir(hash, i) >> 44));
      }
    });
  }
  std::unique_ptr<model::PictureJob> draw(std::span<const int32_t> grid_codes,
                                          std::vector<uint8_t>* pixels,
                                          std::vector<float>* floats) override {
    EXPECT_EQ(grid_codes.size(), static_cast<size_t>(grid * grid));
    EXPECT_EQ(floats, nullptr);
    ++painted;
    const uint64_t hash = stirred(grid_codes);
    return job(draw_operations, [hash, pixels] {
      for (uint64_t i = 0; i < drawn_side * drawn_side * 3; ++i) {
        pixels->push_back(static_cast<uint8_t>(stir(hash, i) >> 50));
      }
    });
  }
  std::unique_ptr<model::PictureJob> palette(std::vector<uint8_t>* colours) override {
    ++palettes;
    return job(draw_operations, [colours] {
      for (int i = 0; i < codes * 3; ++i) colours->push_back(static_cast<uint8_t>(i));
    });
  }

  uint64_t see_operations = 5'000'000'000, draw_operations = 9'000'000'000;
  std::function<void()> before_slice;
  std::atomic<int> seen = 0, painted = 0, palettes = 0, jobs = 0;  // jobs: alive

 private:
  class Job final : public model::PictureJob {
   public:
    Job(FakePictures& owner, uint64_t operations, std::function<void()> finish)
        : owner_(owner), left_(operations), finish_(std::move(finish)) {
      EXPECT_LE(++owner_.jobs, 2) << "one of each kind";
    }
    ~Job() override { --owner_.jobs; }
    bool advance(uint64_t operations_max) override {
      if (owner_.before_slice) owner_.before_slice();
      EXPECT_GT(operations_max, 0u);
      // A unit a slice, however fast this looks, so that tests know how many slices there are.
      left_ -= std::min(left_, model::operations_unit_max);
      if (left_ > 0) return false;
      finish_();
      return true;
    }
    uint64_t operations_left() const override { return left_; }

   private:
    FakePictures& owner_;
    uint64_t left_;
    std::function<void()> finish_;
  };
  std::unique_ptr<model::PictureJob> job(uint64_t operations, std::function<void()> finish) {
    return std::make_unique<Job>(*this, operations, std::move(finish));
  }

  model::PictureInfo info_{side, 14, 127, tokens, hidden, 5, codes, grid, drawn_side};
};

class FakeReader : public media::PictureReader {
 public:
  base::Result<std::vector<uint8_t>> fit(std::span<const uint8_t> bytes,
                                         const media::Fit& fit) override {
    if (before_read) before_read();
    const std::string text(bytes.begin(), bytes.end());
    if (text.starts_with("broken")) {
      return base::fail(base::ErrorKind::invalid_input, "this is no picture");
    }
    std::vector<uint8_t> canvas(static_cast<size_t>(fit.side * fit.side * 3));
    const uint64_t hash = stirred(bytes);
    for (size_t i = 0; i < canvas.size(); ++i) canvas[i] = static_cast<uint8_t>(stir(hash, i));
    return canvas;
  }
  std::function<void()> before_read;
};

}  // namespace engine
