// Added tokens: literal texts that are one id each and are cut out before anything else happens to
// a text. Immutable after make(); any thread.
//
// Which of them a text may use is the caller's choice; the guard against control tokens typed by a
// person goes by shape (`<|…|>`, `<｜…｜>`) as well as by flag, because some models' files flag
// their turn markers as ordinary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/pool.h"
#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace text {

struct AddedEntry {
  std::string content;
  int32_t id = -1;
  bool special = false;  // the file's own flag, or a control token of GGUF
  bool control = false;  // ordinary text unless special tokens are parsed
  bool shaped = false;   // looks like a control token
  bool lstrip = false, rstrip = false, single_word = false;
};

// clang-tidy 14 takes the loop of its implicit move for a name of ours.
class AddedTokens {  // NOLINT(bugprone-reserved-identifier)
 public:
  enum class Group { raw, normalized };  // matched before and after the normalizer

  static base::Result<AddedTokens> make(const TokenizerSpec& spec);

  struct Sinks {
    // May the entry be taken at [begin, end) of the text?
    base::FunctionRef<bool(const AddedEntry&, size_t begin, size_t end)> accept;
    base::FunctionRef<void(size_t begin, size_t end)> gap;  // not empty
    base::FunctionRef<void(const AddedEntry&)> token;
  };
  // Cuts `text` at the accepted entries of the group: leftmost, longest first.
  void partition(std::string_view text, Group group, const Sinks& sinks) const;
  bool has(Group group) const { return !lists_[static_cast<int>(group)].entries.empty(); }

  const AddedEntry* find(std::string_view content) const;
  template <class F>
  void each(F f) const {
    for (const List& list : lists_) {
      for (const AddedEntry& entry : list.entries) f(entry);
    }
  }

 private:
  struct List {
    std::vector<AddedEntry> entries;  // by content
    std::vector<uint32_t> first;      // (257) where the entries of a first byte begin
  };
  const AddedEntry* longest_at(const List& list, std::string_view text, size_t at,
                               const Sinks& sinks) const;
  List lists_[2];
};

// `<|…|>` or `<｜…｜>`.
bool is_control_shaped(std::string_view content);

}  // namespace text
