// OpeningGuide: makes an answer begin with a tool call, as tool_choice "required" or a named
// function asks. The ids of the markup are fed as if the model had chosen them, after its thinking;
// between them the model chooses the name, among ids that spell a declared one.
//
//   before                      name          after
//   <tool_call>\n{"name": "     get_time      ", "arguments":      then the model is free
//
// One sequence, one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace engine {

struct CallOpening {
  std::vector<int32_t> before, after;  // `after` is not empty where there are names
  std::vector<std::string> names;      // empty: `before` is all of it
};

class OpeningGuide {
 public:
  using Pick = std::function<base::Result<int32_t>(std::span<const float> logits)>;

  // `tokenizer` outlives the guide.
  OpeningGuide(CallOpening opening, const text::Tokenizer& tokenizer);

  bool done() const;
  // The next id. `pick` chooses from a row in which what spells no name is -inf.
  base::Result<int32_t> next(std::span<const float> logits /* (vocab) */, const Pick& pick);

 private:
  bool allow_name(std::span<const float> logits);

  CallOpening opening_;
  const text::Tokenizer* tokenizer_;
  size_t before_fed_ = 0, after_fed_ = 0;
  std::string written_;  // of the name
  bool name_done_;
  std::vector<float> masked_;
};

}  // namespace engine
