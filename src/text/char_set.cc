#include "text/char_set.h"

#include <algorithm>

#include "text/unicode_tables.h"

namespace text {
namespace {

constexpr CategoryMask mask_word =
    mask_letter | mask_mark | mask_of(Category::Nd) | mask_of(Category::Nl) | mask_of(Category::Pc);
// Six numbers of Latin-1 that Oniguruma counts in outside of brackets, and only there.
constexpr CharSet::Range word_of_oniguruma[] = {{0xb2, 0xb3}, {0xb9, 0xb9}, {0xbc, 0xbe}};
// Other_Alphabetic outside the marks: letters in circles and squares.
constexpr CharSet::Range word_outside_mask[] = {
    {0x24b6, 0x24e9}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};

}  // namespace

CharSet CharSet::of_categories(CategoryMask mask) {
  namespace tables = unicode_tables;
  CharSet set;
  for (size_t i = 0; i < tables::category_run_count; ++i) {
    const bool last = i + 1 == tables::category_run_count;
    const uint32_t next = last ? code_point_end : tables::category_runs[i + 1] >> 5;
    const uint32_t run = tables::category_runs[i];
    if (mask >> (run & 31) & 1) set.add(run >> 5, next - 1);
  }
  return set;
}

CharSet CharSet::white_space() {
  CharSet set = of_categories(mask_separator);
  set.add(9, 13);
  set.add(0x85, 0x85);
  return set;
}

CharSet CharSet::word(bool in_class) {
  CharSet set = of_categories(mask_word);
  for (const Range& range : word_outside_mask) set.add(range.first, range.last);
  if (!in_class) {
    for (const Range& range : word_of_oniguruma) set.add(range.first, range.last);
  }
  return set;
}

void CharSet::add(uint32_t first, uint32_t last) {
  if (first > last) return;
  if (settled_ && !ranges_.empty() && ranges_.back().last + 1 == first) {
    ranges_.back().last = last;
    return;
  }
  settled_ = settled_ && (ranges_.empty() || ranges_.back().last < first);
  ranges_.push_back({first, last});
}

void CharSet::add(const CharSet& other) {
  for (const Range& range : other.ranges()) add(range.first, range.last);
}

void CharSet::settle() const {
  if (settled_) return;
  std::ranges::sort(ranges_, {}, &Range::first);
  size_t kept = 0;
  for (const Range range : ranges_) {
    if (kept > 0 && range.first <= ranges_[kept - 1].last + 1) {
      ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
    } else {
      ranges_[kept++] = range;
    }
  }
  ranges_.resize(kept);
  settled_ = true;
}

const std::vector<CharSet::Range>& CharSet::ranges() const {
  settle();
  return ranges_;
}

CharSet CharSet::complement() const {
  CharSet out;
  uint32_t next = 0;
  for (const Range& range : ranges()) {
    if (range.first > next) out.add(next, range.first - 1);
    next = range.last + 1;
  }
  if (next < end) out.add(next, end - 1);
  return out;
}

CharSet CharSet::intersection(const CharSet& other) const {
  CharSet out = complement();
  out.add(other.complement());
  return out.complement();
}

void CharSet::add_other_cases() {
  CharSet extra;
  for (uint32_t upper = 'A'; upper <= 'Z'; ++upper) {
    const uint32_t lower = upper + ('a' - 'A');
    const uint32_t third = lower == 's' ? 0x17f : lower == 'k' ? 0x212a : lower;
    if (!contains(upper) && !contains(lower) && !contains(third)) continue;
    for (const uint32_t c : {upper, lower, third}) extra.add(c, c);
  }
  add(extra);
}

bool CharSet::contains(uint32_t c) const {
  const auto& sorted = ranges();
  const auto it = std::ranges::upper_bound(sorted, c, {}, &Range::first);
  return it != sorted.begin() && c <= std::prev(it)->last;
}

CharClass::CharClass(const CharSet& set) : bits_(1024) {
  for (const CharSet::Range& range : set.ranges()) {
    for (uint32_t c = range.first; c <= range.last && c < 0x10000;) {
      if ((c & 63) == 0 && c + 63 <= range.last) {
        bits_[c >> 6] = ~uint64_t{0};
        c += 64;
      } else {
        bits_[c >> 6] |= uint64_t{1} << (c & 63);
        ++c;
      }
    }
    if (range.last >= 0x10000) {
      astral_.push_back({std::max<uint32_t>(range.first, 0x10000), range.last});
    }
  }
}

bool CharClass::contains_astral(uint32_t c) const {
  const auto it = std::ranges::upper_bound(astral_, c, {}, &CharSet::Range::first);
  return it != astral_.begin() && c <= std::prev(it)->last;
}

}  // namespace text
