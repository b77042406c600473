// Merging, by example, with ranks (h,e) 0 and (l,l) 1: "hello" is h e l l o, then he l l o, then
// he ll o. Short pieces look through an array of ranks for the lowest; long ones keep candidates in
// a heap, where a candidate whose symbols have changed since is skipped when it comes up.
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "text/unicode.h"

namespace text {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr size_t short_piece_bytes_max = 48;
constexpr uint32_t no_symbol = UINT32_MAX;
constexpr uint32_t no_rank = UINT32_MAX;

uint64_t pair_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}
uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9e3779b97f4a7c15u;
  return x;
}
// A table of at least 3/2 of `count` places: its size is 1 << bits.
int table_bits(size_t count) {
  return std::max(4, static_cast<int>(std::bit_width(count + count / 2)));
}

// Ids by token string while the merges are read.
class TokenIndex {
 public:
  explicit TokenIndex(const TokenizerSpec& spec) : spec_(spec) {
    const int bits = table_bits(spec.tokens.size());
    places_.assign(size_t{1} << bits, -1);
    // Of two equal strings the normal token is found, since it stands first in its chain.
    for (const TokenKind kind : {TokenKind::normal, TokenKind::user_defined}) {
      for (size_t id = 0; id < spec.tokens.size(); ++id) {
        if (spec.kinds[id] != kind || spec.tokens[id].empty()) continue;
        size_t at = hash_bytes(spec.tokens[id]) & (places_.size() - 1);
        while (places_[at] >= 0) at = (at + 1) & (places_.size() - 1);
        places_[at] = static_cast<int32_t>(id);
      }
    }
  }
  int32_t find(std::string_view token) const {
    size_t at = hash_bytes(token) & (places_.size() - 1);
    for (; places_[at] >= 0; at = (at + 1) & (places_.size() - 1)) {
      if (spec_.tokens[static_cast<size_t>(places_[at])] == token) return places_[at];
    }
    return -1;
  }

 private:
  const TokenizerSpec& spec_;
  std::vector<int32_t> places_;
};

}  // namespace

uint64_t hash_bytes(std::string_view bytes) {
  uint64_t hash = 0x51ed270b0f6b4f2bu ^ bytes.size();
  const char* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; p += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    hash = mix(hash ^ word) ^ hash >> 29;
  }
  uint64_t word = 0;
  if (left >= 4) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + left - 4, 4);
    word = uint64_t{high} << 32 | low;
  } else if (left > 0) {
    const auto byte = [p](size_t i) { return uint64_t{static_cast<uint8_t>(p[i])}; };
    word = byte(0) | byte(left / 2) << 8 | byte(left - 1) << 16;
  }
  hash = mix(hash ^ word);
  return hash ^ hash >> 31;
}

Result<Bpe> Bpe::make(const TokenizerSpec& spec, std::vector<std::string_view> token_bytes) {
  Bpe bpe;
  bpe.ignore_merges_ = spec.ignore_merges;
  bpe.token_bytes_ = std::move(token_bytes);
  bpe.byte_ids_.fill(-1);
  for (size_t id = 0; id < bpe.token_bytes_.size(); ++id) {
    const std::string_view bytes = bpe.token_bytes_[id];
    if (bytes.size() == 1) {
      int32_t& slot = bpe.byte_ids_[static_cast<uint8_t>(bytes[0])];
      if (slot < 0) slot = static_cast<int32_t>(id);
    }
  }
  TRY(bpe.read_merges(spec));
  if (bpe.ignore_merges_) bpe.index_whole();
  return bpe;
}

Result<void> Bpe::read_merges(const TokenizerSpec& spec) {
  const TokenIndex index(spec);
  const int bits = table_bits(spec.merges.size());
  merges_.assign(size_t{1} << bits, {});
  merges_shift_ = 64 - bits;
  std::string joined;
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    joined.assign(left).append(right);
    const int32_t ids[] = {index.find(left), index.find(right), index.find(joined)};
    if (left.empty() || right.empty() || ids[0] < 0 || ids[1] < 0 || ids[2] < 0) {
      return fail(ErrorKind::invalid_input,
                  fmt::format("tokenizer: merge {} ({} {})", rank, base::shown_name(left),
                              base::shown_name(right)),
                  left.empty() || right.empty() ? "one of its parts is empty"
                  : ids[0] < 0 || ids[1] < 0    ? "one of its parts is not in the vocabulary"
                                                : "its result is not in the vocabulary",
                  "the file is damaged or not a byte-level BPE; fetch it again");
    }
    const uint64_t pair = pair_of(ids[0], ids[1]);
    size_t at = mix(pair) >> merges_shift_;
    while (merges_[at].pair != UINT64_MAX && merges_[at].pair != pair) {
      at = (at + 1) & (merges_.size() - 1);
    }
    if (merges_[at].pair == pair) continue;  // the first of two equal merges counts
    merges_[at] = {pair, static_cast<uint32_t>(rank), ids[2]};
  }
  return {};
}

void Bpe::index_whole() {
  whole_.assign(size_t{1} << table_bits(token_bytes_.size()), -1);
  for (size_t id = 0; id < token_bytes_.size(); ++id) {
    if (token_bytes_[id].empty()) continue;
    size_t at = hash_bytes(token_bytes_[id]) & (whole_.size() - 1);
    while (whole_[at] >= 0) at = (at + 1) & (whole_.size() - 1);
    whole_[at] = static_cast<int32_t>(id);
  }
}

const Bpe::Merge* Bpe::find(int32_t left, int32_t right) const {
  const uint64_t pair = pair_of(left, right);
  size_t at = mix(pair) >> merges_shift_;
  for (; merges_[at].pair != UINT64_MAX; at = (at + 1) & (merges_.size() - 1)) {
    if (merges_[at].pair == pair) return &merges_[at];
  }
  return nullptr;
}

int32_t Bpe::whole(std::string_view piece) const {
  size_t at = hash_bytes(piece) & (whole_.size() - 1);
  for (; whole_[at] >= 0; at = (at + 1) & (whole_.size() - 1)) {
    if (token_bytes_[static_cast<size_t>(whole_[at])] == piece) return whole_[at];
  }
  return -1;
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& out, BpeScratch& scratch) const {
  if (ignore_merges_) {
    if (const int32_t id = whole(piece); id >= 0) {
      out.push_back(id);
      return;
    }
  }
  if (piece.size() <= short_piece_bytes_max) {
    encode_short(piece, out);
  } else {
    encode_long(piece, out, scratch);
  }
}

void Bpe::encode_short(std::string_view piece, std::vector<int32_t>& out) const {
  int32_t ids[short_piece_bytes_max];
  uint32_t ranks[short_piece_bytes_max];  // of (i, i + 1)
  int32_t results[short_piece_bytes_max];
  size_t count = 0;
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id >= 0) ids[count++] = id;
  }
  const auto look_up = [&](size_t i) {
    const Merge* merge = find(ids[i], ids[i + 1]);
    ranks[i] = merge ? merge->rank : no_rank;
    results[i] = merge ? merge->result : -1;
  };
  for (size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == no_rank) break;
    ids[best] = results[best];
    const size_t moved = count - best - 2;
    std::memmove(ids + best + 1, ids + best + 2, moved * sizeof(ids[0]));
    if (moved > 0) {
      std::memmove(ranks + best + 1, ranks + best + 2, (moved - 1) * sizeof(ranks[0]));
      std::memmove(results + best + 1, results + best + 2, (moved - 1) * sizeof(results[0]));
    }
    --count;
    if (best > 0) look_up(best - 1);
    if (best + 1 < count) look_up(best);
  }
  out.insert(out.end(), ids, ids + count);
}

void Bpe::encode_long(std::string_view piece, std::vector<int32_t>& out,
                      BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& run = scratch.run;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    const auto at = static_cast<uint32_t>(symbols.size());
    if (id >= 0) symbols.push_back({id, at == 0 ? no_symbol : at - 1, at + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = no_symbol;
  const auto later = [](const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
    return a.order > b.order;
  };
  const auto candidate = [&](uint32_t at) {
    const uint32_t next = symbols[at].next;
    if (next == no_symbol) return false;
    const Merge* merge = find(symbols[at].id, symbols[next].id);
    if (merge) heap.push_back({uint64_t{merge->rank} << 32 | at, symbols[at].id, symbols[next].id});
    return merge != nullptr;
  };
  for (uint32_t at = 0; at < symbols.size(); ++at) candidate(at);
  while (!heap.empty()) {
    // What has gathered is sorted and walked through; only what arises on the way goes through the
    // heap. A megabyte of one character gathers its merges level by level and never pops a heap.
    std::ranges::sort(heap, [](const auto& a, const auto& b) { return a.order < b.order; });
    run.swap(heap);
    heap.clear();
    for (size_t walked = 0; walked < run.size();) {
      BpeScratch::Candidate best = run[walked];
      if (!heap.empty() && heap.front().order < best.order) {
        best = heap.front();
        std::ranges::pop_heap(heap, later);
        heap.pop_back();
      } else {
        ++walked;
      }
      const auto at = static_cast<uint32_t>(best.order);
      BpeScratch::Symbol& symbol = symbols[at];
      if (symbol.id != best.left || symbol.next == no_symbol) continue;
      BpeScratch::Symbol& taken = symbols[symbol.next];
      if (taken.id != best.right) continue;
      symbol.id = find(best.left, best.right)->result;
      taken.id = -1;
      symbol.next = taken.next;
      if (symbol.next != no_symbol) symbols[symbol.next].previous = at;
      if (symbol.previous != no_symbol && candidate(symbol.previous)) {
        std::ranges::push_heap(heap, later);
      }
      if (candidate(at)) std::ranges::push_heap(heap, later);
    }
  }
  for (uint32_t at = 0; at != no_symbol; at = symbols[at].next) out.push_back(symbols[at].id);
}

}  // namespace text
