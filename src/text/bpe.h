// Byte-level BPE: a piece of text to ids by merging the adjacent pair of lowest rank, leftmost
// first, in O(n log n). Immutable after make(); any thread (each brings its own BpeScratch).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace text {

struct BpeScratch {
  struct Symbol {
    int32_t id;  // -1: merged away
    uint32_t previous, next;
  };
  struct Candidate {
    uint64_t order;  // rank, then position: the smallest is merged first
    int32_t left, right;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> run;   // sorted, being walked through
  std::vector<Candidate> heap;  // what has arisen since
};

class Bpe {
 public:
  // `token_bytes`: by id, the bytes of a normal token, empty for all others; the views stay valid
  // as long as this object.
  static base::Result<Bpe> make(const TokenizerSpec& spec,
                                std::vector<std::string_view> token_bytes);

  // Appends the ids of one piece. A byte that has no token is dropped, as the reference does.
  void encode(std::string_view piece, std::vector<int32_t>& out, BpeScratch& scratch) const;

 private:
  struct Merge {
    uint64_t pair = UINT64_MAX;  // left << 32 | right; UINT64_MAX: free
    uint32_t rank = 0;
    int32_t result = -1;
  };
  const Merge* find(int32_t left, int32_t right) const;
  int32_t whole(std::string_view piece) const;  // -1: no such token
  void encode_short(std::string_view piece, std::vector<int32_t>& out) const;
  void encode_long(std::string_view piece, std::vector<int32_t>& out, BpeScratch& scratch) const;
  base::Result<void> read_merges(const TokenizerSpec& spec);
  void index_whole();

  std::array<int32_t, 256> byte_ids_{};
  std::vector<Merge> merges_;  // a power of two
  int merges_shift_ = 0;
  bool ignore_merges_ = false;
  std::vector<std::string_view> token_bytes_;
  std::vector<int32_t> whole_;  // hash table of ids, only with ignore_merges_
};

uint64_t hash_bytes(std::string_view bytes);

}  // namespace text
