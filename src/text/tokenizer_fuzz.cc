// Input: a vocabulary in a small language of its own, then a text that is encoded in every way,
// decoded, split and matched against stop strings.
//   flags (1 byte), then records of (kind, length, bytes) until a record of kind 0, then the text:
//   1 merge "a b"   2 added token, control   3 added token   4 the same, normalised
//   5 expression    6 stop string            7 name of the pre-tokeniser
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "text/detokenizer.h"
#include "text/splitter.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace {

struct Input {
  text::TokenizerSpec spec;
  std::vector<std::string> stops;
  std::string_view text;
};

void add_token(text::TokenizerSpec& spec, std::string bytes, int kind, uint8_t flags) {
  text::AddedToken token;
  token.id = static_cast<int32_t>(spec.tokens.size());
  token.content = bytes;
  token.special = kind == 2;
  token.normalized = kind == 4;
  token.lstrip = flags & 1;
  token.rstrip = flags & 2;
  token.single_word = flags & 4;
  spec.tokens.push_back(std::move(bytes));
  spec.kinds.push_back(kind == 2 ? text::TokenKind::control : text::TokenKind::user_defined);
  spec.added.push_back(std::move(token));
}

void add_record(Input& input, int kind, std::string bytes, uint8_t flags) {
  text::TokenizerSpec& spec = input.spec;
  const size_t space = bytes.find(' ');
  if (kind == 1 && space != std::string::npos) {
    spec.merges.emplace_back(bytes.substr(0, space), bytes.substr(space + 1));
    if (!(flags & 64)) bytes.erase(space, 1);
    spec.tokens.push_back(std::move(bytes));
    spec.kinds.push_back(text::TokenKind::normal);
  } else if (kind >= 2 && kind <= 4) {
    add_token(spec, std::move(bytes), kind, flags);
  } else if (kind == 5) {
    spec.pre_tokenizer.push_back({text::PreTokenizerStep::Kind::split_isolated, bytes});
  } else if (kind == 6) {
    input.stops.push_back(std::move(bytes));
  } else if (kind == 7) {
    spec.pre_tokenizer_name = std::move(bytes);
  }
}

Input read_input(std::string_view data) {
  Input input;
  for (int byte = 0; byte < 256; ++byte) {
    text::append_utf8(input.spec.tokens.emplace_back(),
                      text::byte_symbol(static_cast<uint8_t>(byte)));
  }
  input.spec.kinds.assign(256, text::TokenKind::normal);
  const auto flags = static_cast<uint8_t>(data.empty() ? 0 : data[0]);
  data.remove_prefix(data.empty() ? 0 : 1);
  input.spec.normalizer_nfc = flags & 8;
  input.spec.ignore_merges = flags & 16;
  input.spec.add_bos = flags & 32;
  input.spec.bos_id = 'b';
  while (data.size() >= 2 && data[0] != 0) {
    const auto length = std::min<size_t>(static_cast<uint8_t>(data[1]), data.size() - 2);
    add_record(input, data[0] & 7, std::string(data.substr(2, length)), flags);
    data.remove_prefix(2 + length);
  }
  input.text = data.empty() ? data : data.substr(1);
  return input;
}

void check_output(const text::Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                  const std::vector<std::string>& stops, bool inside) {
  text::Splitter splitter(tokenizer, text::ThinkMarkers::of(tokenizer), inside);
  text::StopMatcher matcher(stops);
  std::vector<text::Piece> split, out;
  for (const int32_t id : ids) splitter.push(id, split);
  splitter.finish(split);
  size_t counted = 0;
  for (const text::Piece& piece : split) counted += piece.ids.size();
  CHECK(counted == ids.size(), "every id is in one piece");
  for (text::Piece& piece : split) matcher.push(std::move(piece), out);
  matcher.finish(out);
  for (const text::Piece& piece : out) {
    CHECK(matcher.stopped() || !stops.empty() || base::is_utf8(piece.text), "whole characters");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input = read_input({reinterpret_cast<const char*>(data), size});
  const bool exact = !input.spec.normalizer_nfc && (data == nullptr || size == 0 || !(data[0] & 3));
  const auto made = text::Tokenizer::make(std::move(input.spec));
  if (!made) return 0;
  const text::Tokenizer& tokenizer = **made;
  const text::Tokenizer::Span spans[] = {{input.text.size() / 4, input.text.size() / 2}};
  const std::vector<int32_t> encodings[] = {tokenizer.encode(input.text, {}),
                                            tokenizer.encode(input.text, {.parse_special = true}),
                                            tokenizer.encode(input.text, {.parse_added = false}),
                                            tokenizer.encode_rendered(input.text, spans)};
  for (const auto& ids : encodings) {
    for (const int32_t id : ids) CHECK(id >= 0 && id < tokenizer.size(), "ids are of this table");
    CHECK(!exact || tokenizer.decode(ids) == input.text, "decoding gives the text back");
    text::Detokenizer stream(tokenizer);
    std::string shown;
    for (const int32_t id : ids) shown += stream.push(id);
    CHECK(base::is_utf8(shown + stream.flush()), "a stream is whole characters");
    check_output(tokenizer, ids, input.stops, data[0] & 128);
  }
  return 0;
}
