// Feeds the input as an answer: byte 0 chooses the markup and whether its marks are ids or texts,
// then each byte below 7 is a mark, every other one text, in portions of byte 1. Every id must come
// out once and in order, every call with a declared name and an object, all text as UTF-8 does.
#include "base/check.h"
#include "base/json.h"
#include "text/tool_parser.h"

namespace {

using Kind = text::ToolMarkup::Kind;
using Role = text::ToolMarkup::Role;

text::ToolMarkup markup_of(uint8_t choice) {
  constexpr Kind kinds[] = {Kind::deepseek, Kind::kimi, Kind::tagged, Kind::bare, Kind::none};
  text::ToolMarkup out;
  out.kind = kinds[choice % 5];
  const bool by_text = (choice / 5) % 2 == 1;
  if (out.kind == Kind::none) return out;
  constexpr Role roles[] = {Role::open,       Role::close,  Role::call_open, Role::separator,
                            Role::call_close, Role::result, Role::result};
  for (int i = 0; i < 7; ++i) {
    const bool tagged = roles[i] == Role::call_open || roles[i] == Role::call_close;
    if (out.kind == Kind::tagged && !tagged) continue;
    if (out.kind == Kind::bare && i > 0) continue;
    out.marks.push_back({roles[i], "<m" + std::to_string(i) + ">", by_text ? -1 : i});
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const text::ToolMarkup markup = markup_of(data[0]);
  const size_t portion = 1 + data[1] % 32;
  text::ToolParser parser(markup, {"f", "get"}, {.calls_max = 4, .call_bytes_max = 200});
  std::vector<text::Piece> out;
  int32_t next = 100;
  text::Piece plain;
  std::string content_in;
  const auto flush = [&] {
    if (plain.text.empty()) return;
    content_in += plain.text;
    plain.ids = {next++};
    parser.push(std::move(plain), out);
    plain = {};
  };
  for (size_t i = 2; i < size; ++i) {
    if (data[i] < 7) {
      flush();
      parser.push({text::Part::answer, {}, {next++}, data[i]}, out);
      continue;
    }
    plain.text.push_back(static_cast<char>(data[i] & 0x7f));
    if (plain.text.size() >= portion) flush();
  }
  flush();
  parser.finish(out);
  int calls = 0;
  std::string content;
  std::vector<int32_t> ids;
  for (const text::Piece& piece : out) {
    ids.insert(ids.end(), piece.ids.begin(), piece.ids.end());
    if (piece.called.empty()) {
      content += piece.text;
      continue;
    }
    ++calls;
    CHECK(piece.called == "f" || piece.called == "get", "only declared functions are called");
    const auto arguments = base::parse_json(piece.text, "arguments");
    CHECK(arguments.has_value() && arguments->is_object(), "arguments are an object");
  }
  CHECK(calls == parser.calls() && calls <= 4, "calls are counted and bounded");
  // The content is what was written, with parts left out.
  size_t at = 0;
  for (const char c : content) {
    at = content_in.find(c, at);
    CHECK(at != std::string::npos, "content comes from the answer");
    ++at;
  }
  for (size_t i = 0; i + 1 < ids.size(); ++i) CHECK(ids[i] < ids[i + 1], "ids stay in order");
  return 0;
}
