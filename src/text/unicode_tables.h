// The raw tables of unicode_tables.cc, which tools/gen_unicode.py writes. Read them through
// unicode.h and nfc.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace text::unicode_tables {

// General category: leaves[middle[top[cp >> 12] * 64 + (cp >> 6 & 63)] * 64 + (cp & 63)] - 'a'.
extern const uint8_t category_top[];
extern const uint16_t category_middle[];
extern const char category_leaves[];
// The same as runs: first code point << 5 | category, ascending from 0 without gaps.
extern const uint32_t category_runs[];
extern const size_t category_run_count;

struct Decomposition {
  uint32_t code_point, first, second;  // second 0: a singleton
  uint32_t composes;                   // 1: first + second gives code_point again
};
extern const Decomposition decompositions[];  // by code point; one step each, without Hangul
extern const size_t decomposition_count;
extern const uint16_t composition_order[];  // indices of those that compose, by (first, second)
extern const size_t composition_count;

struct ClassRun {
  uint32_t first, last, combining_class;
};
extern const ClassRun class_runs[];  // ascending; class 0 left out
extern const size_t class_run_count;

struct ActiveRun {
  uint32_t first, last;
};
extern const ActiveRun active_runs[];  // what NFC may change or reorder
extern const size_t active_run_count;

}  // namespace text::unicode_tables
