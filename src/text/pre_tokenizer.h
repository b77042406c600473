// Pre-tokenisers: the expressions that cut a text into pieces which BPE never joins. Each step
// splits every fragment of the step before it; matches and the gaps between them both become
// fragments, and look-ahead sees the fragment's end, not the text's. Immutable; any thread.
//
// The well-known expressions (models.md §4.2) and the plain forms `P?C+` run on hand-written
// scanners, recognised by their compiled program; everything else on text/regex.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/pool.h"
#include "base/result.h"
#include "text/regex.h"
#include "text/tokenizer_spec.h"

namespace text {

using FragmentSink = base::FunctionRef<void(std::string_view)>;

// One expression, ready to split.
class Splitting {
 public:
  virtual ~Splitting() = default;
  // Gives `sink` the fragments of `text` in order; together they are `text`, none is empty. When
  // the budget is used up the rest of `text` is one fragment.
  virtual void split(std::string_view text, RegexBudget& budget, FragmentSink sink) const = 0;
};

base::Result<std::unique_ptr<const Splitting>> make_splitting(std::string_view pattern);
// On the general engine always: what the scanners are tested against.
base::Result<std::unique_ptr<const Splitting>> make_engine_splitting(std::string_view pattern);

// The expressions of a GGUF's `tokenizer.ggml.pre`; empty: unknown name.
std::vector<std::string_view> patterns_of(std::string_view pre_tokenizer_name);

// The name whose expressions do the same as the steps of `spec` (or its own name, if it has no
// steps); empty: none does.
std::string pre_tokenizer_name_of(const TokenizerSpec& spec);

class PreTokenizer {
 public:
  // From the steps, or if there are none from the name.
  static base::Result<PreTokenizer> make(const TokenizerSpec& spec);
  void split(std::string_view text, RegexBudget& budget, FragmentSink sink) const {
    split_from(0, text, budget, sink);
  }

 private:
  void split_from(size_t step, std::string_view text, RegexBudget& budget, FragmentSink sink) const;
  std::vector<std::unique_ptr<const Splitting>> steps_;
};

}  // namespace text
