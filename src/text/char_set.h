// Sets of code points: CharSet is the algebra (sorted ranges), CharClass the fast membership test
// made from it. Both immutable in use; any thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace text {

class CharSet {
 public:
  struct Range {
    uint32_t first, last;  // inclusive
    friend bool operator==(const Range&, const Range&) = default;
  };
  // One past the last member of the universe: all code points and the ill-formed bytes.
  static constexpr uint32_t end = ill_formed + 0x100;

  static CharSet of_categories(CategoryMask mask);
  static CharSet white_space();
  // What \w means in an expression: inside of brackets, or alone.
  static CharSet word(bool in_class);

  void add(uint32_t first, uint32_t last);
  void add(const CharSet& other);
  CharSet complement() const;
  CharSet intersection(const CharSet& other) const;
  // Adds the other case of every ASCII letter that is in the set, and the two letters outside
  // ASCII that fold to one: U+017F (s) and U+212A (k).
  void add_other_cases();

  const std::vector<Range>& ranges() const;
  bool contains(uint32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  friend bool operator==(const CharSet& a, const CharSet& b) { return a.ranges() == b.ranges(); }

 private:
  void settle() const;  // sorts and joins
  mutable std::vector<Range> ranges_;
  mutable bool settled_ = true;
};

class CharClass {
 public:
  explicit CharClass(const CharSet& set);
  bool contains(uint32_t c) const {
    if (c < 0x10000) return bits_[c >> 6] >> (c & 63) & 1;
    return contains_astral(c);
  }
  // No member below U+0080.
  bool without_ascii() const { return (bits_[0] | bits_[1]) == 0; }

 private:
  bool contains_astral(uint32_t c) const;
  std::vector<uint64_t> bits_;          // (1024) the basic plane
  std::vector<CharSet::Range> astral_;  // the rest
};

}  // namespace text
