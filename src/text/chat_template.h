// Chat templates: the subset of Jinja that model files use, run under limits. Immutable after
// compile(); render() may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace text {

// With these a hostile template ends in less than a second and within 64 MB: values, output count
// together, and so do the old and the new place of a buffer that grows.
struct TemplateLimits {
  uint64_t source_bytes_max = 1 << 20;
  uint64_t output_bytes_max = 16 << 20;
  uint64_t steps_max = 4'000'000;
  uint64_t memory_bytes_max = 48 << 20;
  int depth_max = 200;
};

// Output, and which parts of it are user text (copied from string values of the context), so that
// nobody can type a control token.
struct Rendered {
  std::string text;
  struct Span {
    size_t begin, end;
  };
  std::vector<Span> user_text;  // ascending, not overlapping
};

class ChatTemplate {
 public:
  static base::Result<std::unique_ptr<const ChatTemplate>> compile(
      std::string_view source, const TemplateLimits& limits = {});
  virtual ~ChatTemplate() = default;
  // `context`: an object: messages, tools, add_generation_prompt, bos_token, eos_token, …
  // `now_unix`: what strftime_now() sees.
  virtual base::Result<Rendered> render(const base::Json& context, int64_t now_unix) const = 0;
};

}  // namespace text
