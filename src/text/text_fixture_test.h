// What the tests of text/ share: golden files, and a small byte-level vocabulary.
#pragma once

#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace text::testing_support {

inline base::Json golden(const std::string& name) {
  std::ifstream file(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/" + name, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  auto json = base::parse_json(text.str(), name);
  EXPECT_TRUE(json.has_value()) << json.error().message();
  return json ? std::move(*json) : base::Json::object();
}

// Ids 0-255 are the bytes, 256-260 "he", "ll", "llo", "hello", " t"; then come added tokens.
inline TokenizerSpec small_spec() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    append_utf8(spec.tokens.emplace_back(), byte_symbol(static_cast<uint8_t>(byte)));
  }
  for (const char* token : {"he", "ll", "llo", "hello", "\u0120t"}) spec.tokens.push_back(token);
  spec.merges = {{"h", "e"}, {"l", "l"}, {"ll", "o"}, {"he", "llo"}, {"\u0120", "t"}};
  spec.pre_tokenizer_name = "gpt-2";
  return spec;
}

inline int32_t add(TokenizerSpec& spec, AddedToken token) {
  spec.kinds.resize(spec.tokens.size(), TokenKind::normal);
  token.id = static_cast<int32_t>(spec.tokens.size());
  spec.tokens.push_back(token.content);
  spec.kinds.push_back(token.special ? TokenKind::control : TokenKind::user_defined);
  spec.added.push_back(token);
  return token.id;
}

inline std::unique_ptr<const Tokenizer> make(TokenizerSpec spec) {
  auto made = Tokenizer::make(std::move(spec));
  EXPECT_TRUE(made.has_value()) << made.error().message();
  return made ? std::move(*made) : nullptr;
}

}  // namespace text::testing_support
