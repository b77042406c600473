// The colour of each code, for sketches: codes spread over the whole book are drawn as one picture,
// and the colours of its squares are fitted by a linear map of the codes' vectors (least squares
// with a little damping, so that a book of few dimensions in use has an answer too).
#include <algorithm>
#include <cmath>

#include "model/pictures_parts.h"

namespace model {
namespace {

constexpr double damping = 1e-3;  // of the diagonal, a sample

class PaletteJob final : public PictureJob {
 public:
  PaletteJob(PictureModel& model, const PictureWeights& weights, std::vector<uint8_t>* colours)
      : weights_(weights), info_(model.info()), colours_(colours) {
    const int squares = info_.grid * info_.grid;
    for (int i = 0; i < squares; ++i) {
      codes_.push_back(static_cast<int32_t>(int64_t{i} * info_.codes / squares));
    }
    picture_ = model.draw(codes_, &pixels_, nullptr);
  }
  bool ready() const { return picture_ != nullptr; }

  bool advance(uint64_t operations_max) override {
    if (!picture_->advance(operations_max)) return false;
    if (!done_) fit();
    done_ = true;
    return true;
  }
  uint64_t operations_left() const override { return picture_->operations_left(); }

 private:
  int inputs() const { return weights_.config.drawing.code_width + 1; }
  double input(int32_t code, int i) const {
    const int width = inputs() - 1;
    return i == width ? 1.0 : weights_.vq.codebook[int64_t{code} * width + i];
  }

  // The mean colour of square i.
  double colour(int i, int channel) const {
    const int size = info_.drawn_side / info_.grid;
    const int64_t top = i / info_.grid * size, left = i % info_.grid * size;
    double sum = 0;
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        sum += pixels_[((top + y) * info_.drawn_side + left + x) * 3 + channel];
      }
    }
    return sum / size / size;
  }

  void fit() {
    const int n = inputs(), samples = static_cast<int>(codes_.size());
    std::vector<double> a(size_t(n) * n), b(size_t(n) * 3);
    for (int s = 0; s < samples; ++s) {
      for (int i = 0; i < n; ++i) {
        const double xi = input(codes_[s], i);
        for (int j = 0; j < n; ++j) a[i * n + j] += xi * input(codes_[s], j);
        for (int c = 0; c < 3; ++c) b[i * 3 + c] += xi * colour(s, c);
      }
    }
    for (int i = 0; i < n; ++i) a[i * n + i] += damping * samples;
    solve(a, b, n);
    colours_->resize(size_t(info_.codes) * 3);
    for (int32_t code = 0; code < info_.codes; ++code) {
      for (int c = 0; c < 3; ++c) {
        double level = 0.5;
        for (int i = 0; i < n; ++i) level += input(code, i) * b[i * 3 + c];
        // What is no number becomes black.
        (*colours_)[size_t(code) * 3 + c] =
            level > 0 ? static_cast<uint8_t>(std::min(level, 255.0)) : 0;
      }
    }
  }

  // b = a^-1 b for a symmetric positive a, by elimination.
  static void solve(std::vector<double>& a, std::vector<double>& b, int n) {
    for (int k = 0; k < n; ++k) {
      for (int i = k + 1; i < n; ++i) {
        const double factor = a[i * n + k] / a[k * n + k];
        for (int j = k; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
        for (int c = 0; c < 3; ++c) b[i * 3 + c] -= factor * b[k * 3 + c];
      }
    }
    for (int k = n - 1; k >= 0; --k) {
      for (int c = 0; c < 3; ++c) {
        for (int j = k + 1; j < n; ++j) b[k * 3 + c] -= a[k * n + j] * b[j * 3 + c];
        b[k * 3 + c] /= a[k * n + k];
      }
    }
  }

  const PictureWeights& weights_;
  const PictureInfo& info_;
  std::vector<uint8_t>* colours_;
  std::vector<int32_t> codes_;
  std::vector<uint8_t> pixels_;
  std::unique_ptr<PictureJob> picture_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<PictureJob> make_palette_job(PictureModel& model, const PictureWeights& weights,
                                             std::vector<uint8_t>* colours) {
  auto job = std::make_unique<PaletteJob>(model, weights, colours);
  if (!job->ready()) return nullptr;
  return job;
}

}  // namespace model
