#include "media/resample.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace media {
namespace {

constexpr int weight_bits = 22;  // 32, less 8 of a level and 2 for sums that overshoot
constexpr int32_t half = 1 << (weight_bits - 1);
constexpr double reach = 2;  // of the kernel, in pixels of the result
constexpr double a = -0.5;

double cubic(double x) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

uint8_t level(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> weight_bits, 0, 255)); }

int32_t fixed(double weight) {
  const double scaled = weight * (1 << weight_bits);
  return static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

}  // namespace

Taps bicubic_taps(int in, int out) {
  Taps taps;
  taps.in = in;
  taps.out = out;
  const double scale = static_cast<double>(in) / out;
  const double widened = std::max(scale, 1.0);
  const double support = reach * widened;
  taps.most = static_cast<int>(std::ceil(support)) * 2 + 1;
  const auto places = static_cast<size_t>(out);
  taps.first.resize(places);
  taps.count.resize(places);
  taps.weights.resize(places * static_cast<size_t>(taps.most));
  std::vector<double> exact(static_cast<size_t>(taps.most));
  for (size_t i = 0; i < places; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int first = std::max(static_cast<int>(std::trunc(centre - support + 0.5)), 0);
    const int end = std::min(static_cast<int>(std::trunc(centre + support + 0.5)), in);
    const int count = end - first;
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      exact[static_cast<size_t>(k)] = cubic((k + first - centre + 0.5) * (1.0 / widened));
      sum += exact[static_cast<size_t>(k)];
    }
    taps.first[i] = first;
    taps.count[i] = count;
    for (int k = 0; k < count; ++k) {
      const double weight = exact[static_cast<size_t>(k)];
      taps.weights[i * static_cast<size_t>(taps.most) + static_cast<size_t>(k)] =
          fixed(sum == 0 ? weight : weight / sum);
    }
  }
  return taps;
}

void resample_row(const Taps& taps, const uint8_t* in, uint8_t* out) {
  const int32_t* weights = taps.weights.data();
  for (size_t i = 0; i < static_cast<size_t>(taps.out); ++i, out += 3, weights += taps.most) {
    const uint8_t* pixel = in + 3 * static_cast<ptrdiff_t>(taps.first[i]);
    int32_t r = half, g = half, b = half;
    for (int k = 0; k < taps.count[i]; ++k, pixel += 3) {
      r += pixel[0] * weights[k];
      g += pixel[1] * weights[k];
      b += pixel[2] * weights[k];
    }
    out[0] = level(r);
    out[1] = level(g);
    out[2] = level(b);
  }
}

Taps reversed(const Taps& taps) {
  Taps turned = taps;
  for (size_t i = 0; i < taps.first.size(); ++i) {
    const size_t from = taps.first.size() - 1 - i;
    turned.count[i] = taps.count[from];
    turned.first[i] = taps.in - taps.first[from] - taps.count[from];
    const auto most = static_cast<size_t>(taps.most), count = static_cast<size_t>(taps.count[from]);
    for (size_t k = 0; k < count; ++k) {
      turned.weights[i * most + k] = taps.weights[from * most + count - 1 - k];
    }
  }
  return turned;
}

Columns::Columns(Taps taps, int values) : taps_(std::move(taps)) {
  values_ = static_cast<size_t>(values);
  int ended = 0;
  for (int i = 0; i < taps_.out; ++i) {
    const auto end = [&](int of) {
      return taps_.first[static_cast<size_t>(of)] + taps_.count[static_cast<size_t>(of)];
    };
    while (end(ended) <= taps_.first[static_cast<size_t>(i)]) ++ended;
    slots_ = std::max(slots_, i - ended + 1);
  }
  sums_.resize(static_cast<size_t>(slots_) * values_);
  row_.resize(values_);
}

uint64_t Columns::bytes(int in, int out, int values) {
  // A pixel counts for those within the kernel's reach to either side.
  const int64_t under_way = 2 * static_cast<int64_t>(reach) * std::max(out, in) / in + 3;
  return static_cast<uint64_t>(std::min<int64_t>(under_way, out) * 4 + 1) *
         static_cast<uint64_t>(values);
}

void Columns::sum_up(const uint8_t* row) {
  while (begun_ < taps_.out && taps_.first[static_cast<size_t>(begun_)] <= in_) {
    std::fill_n(sums_of(begun_++), values_, half);
  }
  for (int i = emitted_; i < begun_; ++i) {
    const size_t at = static_cast<size_t>(i);
    const int32_t weight = taps_.weights[at * static_cast<size_t>(taps_.most) +
                                         static_cast<size_t>(in_ - taps_.first[at])];
    int32_t* sums = sums_of(i);
    for (size_t x = 0; x < values_; ++x) sums[x] += row[x] * weight;
  }
  ++in_;
}

const uint8_t* Columns::next_complete() {
  const size_t at = static_cast<size_t>(emitted_);
  if (emitted_ >= begun_ || taps_.first[at] + taps_.count[at] > in_) return nullptr;
  const int32_t* sums = sums_of(emitted_++);
  for (size_t x = 0; x < values_; ++x) row_[x] = level(sums[x]);
  return row_.data();
}

}  // namespace media
