// What a tokenizer is, as its file states it: filled by format/ from GGUF metadata or from a
// Hugging Face tokenizer.json, compiled by text/tokenizer.h. Plain data; nothing here is trusted or
// checked beyond what its reader checked (types, UTF-8, sizes): Tokenizer::make() checks the rest.
//
// `added` are the added_tokens of tokenizer.json, or the control and user-defined tokens of GGUF
// (if it is empty they are taken from `kinds`); `tokens` has a place for each of their ids. Kind
// `control` marks those that a text may not use unless special tokens are parsed: the reader of
// tokenizer.json gives it by flag and by shape. `pre_tokenizer` has the steps of tokenizer.json;
// from GGUF it is empty and `pre_tokenizer_name` says which expressions cut the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace text {

enum class TokenKind : uint8_t { normal = 1, unknown, control, user_defined, unused, byte };

struct AddedToken {
  int32_t id = -1;
  std::string content;  // literal text, not in the byte alphabet
  bool special = false, lstrip = false, rstrip = false, single_word = false, normalized = false;
};

struct PreTokenizerStep {
  enum class Kind { split_isolated, byte_level_gpt2, digits_individual, digits_together } kind;
  std::string pattern;  // split_isolated: the expression; matches and gaps both become fragments
};

struct TokenizerSpec {
  std::string source;               // the file, for errors: "model.gguf"
  std::vector<std::string> tokens;  // by id; byte alphabet for normal ones, literal otherwise
  std::vector<TokenKind> kinds;     // as many as tokens
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::vector<AddedToken> added;
  std::vector<PreTokenizerStep> pre_tokenizer;  // from tokenizer.json
  std::string pre_tokenizer_name;   // from GGUF (`tokenizer.ggml.pre`) when the steps are empty
  std::string pre_tokenizer_guess;  // why that name, when the file states none; else empty
  bool normalizer_nfc = false;
  bool ignore_merges = false;
  int32_t bos_id = -1, eos_id = -1, pad_id = -1, unknown_id = -1;
  bool add_bos = false, add_eos = false;
  std::vector<int32_t> end_ids;  // every id that ends a generation
  std::string chat_template;     // empty: none
};

}  // namespace text
