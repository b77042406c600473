// The text is walked for `active` code points: those that NFC may change, combine or reorder.
// Around each, the segment from the starter before it to the next starter that is not active is
// decomposed, ordered and composed; everything else is copied. A starter that is not active never
// combines with what stands before it, so segments do not depend on each other.
#include "text/nfc.h"

#include <algorithm>
#include <span>

#include "text/unicode.h"
#include "text/unicode_tables.h"

namespace text {
namespace {

namespace tables = unicode_tables;

constexpr uint32_t hangul_base = 0xac00, hangul_l = 0x1100, hangul_v = 0x1161, hangul_t = 0x11a7;
constexpr uint32_t hangul_l_count = 19, hangul_v_count = 21, hangul_t_count = 28;
constexpr uint32_t hangul_count = hangul_l_count * hangul_v_count * hangul_t_count;
constexpr uint32_t first_active = 0x300;

struct Mark {
  uint32_t code_point;
  uint32_t combining_class;
};

bool is_active(uint32_t c) {
  if (c < first_active || (c >= 0x3400 && c < 0xa000) || c >= code_point_end) return false;
  const std::span runs(tables::active_runs, tables::active_run_count);
  const auto it = std::ranges::upper_bound(runs, c, {}, &tables::ActiveRun::first);
  return it != runs.begin() && c <= std::prev(it)->last;
}

uint32_t combining_class(uint32_t c) {
  if (c < first_active) return 0;
  const std::span runs(tables::class_runs, tables::class_run_count);
  const auto it = std::ranges::upper_bound(runs, c, {}, &tables::ClassRun::first);
  return it != runs.begin() && c <= std::prev(it)->last ? std::prev(it)->combining_class : 0;
}

// Appends the full canonical decomposition. The chain of firsts is short (at most four steps in
// the tables), and a second never decomposes further except through its own row.
void decompose(uint32_t c, std::vector<Mark>& out) {
  if (c >= hangul_base && c < hangul_base + hangul_count) {
    const uint32_t index = c - hangul_base;
    out.push_back({hangul_l + index / (hangul_v_count * hangul_t_count), 0});
    out.push_back({hangul_v + index / hangul_t_count % hangul_v_count, 0});
    if (index % hangul_t_count) out.push_back({hangul_t + index % hangul_t_count, 0});
    return;
  }
  const std::span rows(tables::decompositions, tables::decomposition_count);
  const auto it = std::ranges::lower_bound(rows, c, {}, &tables::Decomposition::code_point);
  if (it == rows.end() || it->code_point != c) {
    out.push_back({c, combining_class(c)});
    return;
  }
  decompose(it->first, out);
  if (it->second) decompose(it->second, out);
}

// The primary composite of two code points, or 0.
uint32_t compose(uint32_t a, uint32_t b) {
  if (a >= hangul_l && a < hangul_l + hangul_l_count && b >= hangul_v &&
      b < hangul_v + hangul_v_count) {
    return hangul_base + ((a - hangul_l) * hangul_v_count + (b - hangul_v)) * hangul_t_count;
  }
  if (a >= hangul_base && a < hangul_base + hangul_count &&
      (a - hangul_base) % hangul_t_count == 0 && b > hangul_t && b < hangul_t + hangul_t_count) {
    return a + (b - hangul_t);
  }
  const std::span order(tables::composition_order, tables::composition_count);
  const auto key = [](uint16_t index) {
    const tables::Decomposition& row = tables::decompositions[index];
    return std::pair(row.first, row.second);
  };
  const auto it = std::ranges::lower_bound(order, std::pair(a, b), {}, key);
  if (it == order.end() || key(*it) != std::pair(a, b)) return 0;
  return tables::decompositions[*it].code_point;
}

// Composes an ordered sequence in place: a mark joins the last starter unless one of the same or a
// higher class (or a starter) stands between.
void compose_all(std::vector<Mark>& marks) {
  size_t kept = 0;
  size_t starter = SIZE_MAX;
  uint32_t last_class = 0;
  for (size_t i = 0; i < marks.size(); ++i) {
    const Mark mark = marks[i];
    const bool adjacent = starter != SIZE_MAX && kept == starter + 1;
    if (starter != SIZE_MAX &&
        (adjacent || (last_class != 0 && last_class < mark.combining_class))) {
      if (const uint32_t joined = compose(marks[starter].code_point, mark.code_point)) {
        marks[starter].code_point = joined;
        continue;
      }
    }
    last_class = mark.combining_class;
    if (mark.combining_class == 0) starter = kept;
    marks[kept++] = mark;
  }
  marks.resize(kept);
}

void normalize_segment(std::string_view segment, std::vector<Mark>& marks, std::string& out) {
  marks.clear();
  for (size_t at = 0; at < segment.size();) {
    const Decoded d = decode_at(segment, at);
    decompose(d.code_point, marks);
    at += d.bytes;
  }
  for (size_t at = 0; at < marks.size();) {
    size_t end = at + 1;
    while (end < marks.size() && marks[end].combining_class != 0) ++end;
    const size_t from = marks[at].combining_class == 0 ? at + 1 : at;
    std::stable_sort(
        marks.begin() + static_cast<ptrdiff_t>(from), marks.begin() + static_cast<ptrdiff_t>(end),
        [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    at = end;
  }
  compose_all(marks);
  for (const Mark& mark : marks) append_utf8(out, mark.code_point);
}

}  // namespace

bool is_nfc_quick(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    // U+0300 is CC 80: below a lead byte of CC nothing is active.
    if (static_cast<uint8_t>(text[at]) < 0xcc) {
      ++at;
      continue;
    }
    const Decoded d = decode_at(text, at);
    if (is_active(d.code_point)) return false;
    at += d.bytes;
  }
  return true;
}

std::string nfc(std::string_view text, std::vector<NfcEdit>* edits) {
  std::string out;
  out.reserve(text.size());
  std::vector<Mark> marks;
  size_t starter = 0;  // of the last code point before `at` that is not active
  size_t copied = 0;   // source bytes that are in `out`
  for (size_t at = 0; at < text.size();) {
    const Decoded d = decode_at(text, at);
    if (!is_active(d.code_point)) {
      starter = at;
      at += d.bytes;
      continue;
    }
    size_t from = std::max(starter, copied);
    if (from < at && decode_at(text, from).code_point >= code_point_end) from = at;
    size_t end = at + d.bytes;
    while (end < text.size()) {
      const Decoded next = decode_at(text, end);
      if (!is_active(next.code_point)) break;
      end += next.bytes;
    }
    out.append(text, copied, from - copied);
    const size_t to = out.size();
    normalize_segment(text.substr(from, end - from), marks, out);
    if (edits && std::string_view(out).substr(to) != text.substr(from, end - from)) {
      edits->push_back({from, end, to, out.size()});
    }
    copied = at = end;
  }
  out.append(text, copied);
  return out;
}

}  // namespace text
