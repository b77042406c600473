// Byte-level BPE: text to ids and back. Immutable after make(): any thread may use it. Nothing of a
// text is kept after a call.
//
// Three sorts of added tokens: control (flagged special, or shaped `<|…|>` or `<｜…｜>`), which a
// text may use only with parse_special or where a template wrote them; all others, such as
// `<think>`, always match; both are literal texts that BPE never sees.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace text {

struct EncodeOptions {
  bool parse_special = false;  // control tokens written in the text become their ids
  bool add_bos = false;        // and EOS, as the spec says, without doubling
  bool parse_added = true;     // false: no added token of any kind, whatever else is set
  // Without parse_special: tokens that only look like control tokens but are not flagged special
  // become their ids too, as in Hugging Face's encode_special_tokens.
  bool parse_shaped = false;
};

class Tokenizer {
 public:
  static base::Result<std::unique_ptr<const Tokenizer>> make(TokenizerSpec spec);
  virtual ~Tokenizer() = default;

  // Ill-formed UTF-8 is encoded byte by byte; it never fails.
  virtual std::vector<int32_t> encode(std::string_view text,
                                      const EncodeOptions& options) const = 0;
  // A rendered chat template: special tokens are parsed where the template wrote them, but none
  // that touches a span of user text (begin, end in bytes; ascending): nobody can type a control
  // token. BOS and EOS are the template's business: none is added.
  struct Span {
    size_t begin, end;
  };
  virtual std::vector<int32_t> encode_rendered(std::string_view text,
                                               std::span<const Span> user_text) const = 0;
  // The bytes of one id; empty for ids without text. Control tokens give their literal text only
  // if `show_control`.
  virtual std::string_view bytes(int32_t id, bool show_control = true) const = 0;
  virtual std::string decode(std::span<const int32_t> ids, bool show_control = true) const = 0;

  virtual int32_t id_of(std::string_view literal) const = 0;  // -1: no such added/control token
  virtual bool is_control(int32_t id) const = 0;
  virtual bool is_end(int32_t id) const = 0;
  virtual int size() const = 0;
  // Without its merges and token strings, which are compiled; bytes() has the latter.
  virtual const TokenizerSpec& spec() const = 0;
};

}  // namespace text
