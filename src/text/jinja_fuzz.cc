// Compiles and renders the input as a chat template under small limits; the output must be UTF-8
// and its spans of user text in order and inside it.
#include "base/bytes.h"
#include "base/check.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  text::TemplateLimits limits;
  limits.steps_max = 50'000;
  limits.memory_bytes_max = 4 << 20;
  limits.output_bytes_max = 1 << 20;
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto compiled = text::ChatTemplate::compile(source, limits);
  if (!compiled) return 0;
  static const base::Json context = [] {
    auto json = base::parse_json(
        R"({"messages":[{"role":"user","content":"héllo <|x|> 1"},{"role":"assistant",
            "content":null,"tool_calls":[{"function":{"name":"f","arguments":{"a":[1,2.5]}}}]}],
            "tools":null,"bos_token":"<s>","eos_token":"</s>","add_generation_prompt":true})",
        "context");
    CHECK(json.has_value(), "the context is JSON");
    return std::move(*json);
  }();
  const auto rendered = (*compiled)->render(context, 1'700'000'000);
  if (!rendered) {
    CHECK(base::is_utf8(rendered.error().message()), "errors are UTF-8");
    return 0;
  }
  CHECK(base::is_utf8(rendered->text), "the output is UTF-8");
  size_t at = 0;
  for (const auto& span : rendered->user_text) {
    CHECK(span.begin >= at && span.begin < span.end && span.end <= rendered->text.size(),
          "spans are in order and inside");
    at = span.end;
  }
  return 0;
}
