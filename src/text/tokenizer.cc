#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/nfc.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace text {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr size_t tokens_max = 1 << 22;
constexpr size_t merges_max = 1 << 23;
// What the expressions may do for one call. The well-known ones need none of it, others about ten
// steps a byte.
constexpr uint64_t steps_base = 4'000'000, steps_per_byte = 256;

enum Flag : uint8_t { flag_control = 1, flag_end = 2 };

constexpr std::array<std::string_view, 9> end_texts = {
    "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>",
    "<|eom_id|>", "<|end|>",    "<end_of_turn>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<|return|>"};

// The ids of the words of one call: a word that comes again copies the ids of its first time from
// the output. Direct-mapped, so its size is fixed; gone with the call, as is all of a text.
class WordCache {
 public:
  explicit WordCache(size_t text_bytes) {
    size_t places = 256;
    while (places < places_max && places * 32 < text_bytes) places *= 2;
    places_.resize(text_bytes < text_bytes_min ? 0 : places);
  }
  template <class Encode>
  void encode(std::string_view word, std::vector<int32_t>& out, Encode encode_word) {
    if (places_.empty() || word.size() > word_bytes_max) {
      encode_word(word);
      return;
    }
    Place& place = places_[hash_bytes(word) & (places_.size() - 1)];
    const size_t start = out.size();
    if (place.bytes == word.size() && std::memcmp(place.word, word.data(), word.size()) == 0) {
      out.resize(start + place.count);
      std::copy_n(out.data() + place.start, place.count, out.data() + start);
      return;
    }
    encode_word(word);
    place = {word.data(), start, static_cast<uint32_t>(word.size()),
             static_cast<uint32_t>(out.size() - start)};
  }

 private:
  static constexpr size_t places_max = 1 << 15, word_bytes_max = 64, text_bytes_min = 256;
  struct Place {
    const char* word = nullptr;
    size_t start = 0;  // of its ids in the output
    uint32_t bytes = 0, count = 0;
  };
  std::vector<Place> places_;
};

// Where a place of an NFC text was in its source. Inside a rewritten part: its begin, or its end.
size_t source_of(const std::vector<NfcEdit>& edits, size_t to, bool is_end) {
  const auto after = std::ranges::upper_bound(edits, to, {}, &NfcEdit::to);
  if (after == edits.begin()) return to;
  const NfcEdit& edit = *std::prev(after);
  if (to == edit.to) return edit.from;
  if (to < edit.to_end) return is_end ? edit.from_end : edit.from;
  return edit.from_end + (to - edit.to_end);
}

class TokenizerImpl final : public Tokenizer {
 public:
  static Result<std::unique_ptr<const Tokenizer>> make(TokenizerSpec spec);

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const override;
  std::vector<int32_t> encode_rendered(std::string_view text,
                                       std::span<const Span> user_text) const override;
  std::string_view bytes(int32_t id, bool show_control) const override {
    if (id < 0 || id >= size() || (!show_control && is_control(id))) return {};
    const auto at = static_cast<size_t>(id);
    return std::string_view(bytes_).substr(ends_[at], ends_[at + 1] - ends_[at]);
  }
  std::string decode(std::span<const int32_t> ids, bool show_control) const override {
    std::string out;
    for (const int32_t id : ids) out += bytes(id, show_control);
    return out;
  }
  int32_t id_of(std::string_view literal) const override {
    const AddedEntry* entry = added_.find(literal);
    return entry ? entry->id : -1;
  }
  bool is_control(int32_t id) const override { return has_flag(id, flag_control); }
  bool is_end(int32_t id) const override { return has_flag(id, flag_end); }
  int size() const override { return static_cast<int>(ends_.size()) - 1; }
  const TokenizerSpec& spec() const override { return spec_; }

 private:
  using Accept = base::FunctionRef<bool(const AddedEntry&, size_t begin, size_t end)>;
  struct Call {  // of one encode
    explicit Call(size_t text_bytes)
        : words(text_bytes), budget(steps_base + steps_per_byte * text_bytes) {
      out.reserve(text_bytes / 4 + 8);
    }
    std::vector<int32_t> out;
    WordCache words;
    RegexBudget budget;
    BpeScratch scratch;
    std::deque<std::string> normalized;  // kept: the cache points into them
  };

  bool has_flag(int32_t id, Flag flag) const {
    return id >= 0 && id < size() && (flags_[static_cast<size_t>(id)] & flag) != 0;
  }
  void read_bytes();
  void read_flags();
  std::vector<std::string_view> normal_bytes() const;
  void encode_all(std::string_view text, Accept accept, Call& call) const;
  void encode_raw(std::string_view text, size_t offset, Accept accept, Call& call) const;
  void encode_plain(std::string_view text, Call& call) const;

  TokenizerSpec spec_;
  std::string bytes_;           // of all tokens, one after the other
  std::vector<size_t> ends_;    // (size + 1) where the bytes of an id begin
  std::vector<uint8_t> flags_;  // (size)
  AddedTokens added_;
  PreTokenizer pre_tokenizer_;
  Bpe bpe_;
};

// The bytes of a normal token: its characters are the byte alphabet, or if one is not, the token
// is taken literally.
std::string bytes_of_normal(const std::string& token) {
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const Decoded d = decode_at(token, at);
    const int byte = symbol_byte(d.code_point);
    if (byte < 0) return token;
    out.push_back(static_cast<char>(byte));
    at += d.bytes;
  }
  return out;
}

std::string bytes_of(const std::string& token, TokenKind kind) {
  if (kind == TokenKind::normal) return bytes_of_normal(token);
  if (kind == TokenKind::unused) return {};
  if (kind == TokenKind::byte && token.size() == 6 && token.starts_with("<0x")) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    return std::string(1, static_cast<char>(digit(token[3]) << 4 | digit(token[4])));
  }
  return token;
}

Result<void> check_spec(TokenizerSpec& spec) {
  const auto bad = [](std::string what, std::string why) {
    return fail(ErrorKind::invalid_input, "tokenizer: " + std::move(what), std::move(why),
                "the file is damaged; fetch it again");
  };
  if (spec.tokens.empty()) return bad("vocabulary", "it is empty");
  if (spec.tokens.size() > tokens_max || spec.merges.size() > merges_max) {
    return fail(ErrorKind::limit_exceeded, "tokenizer: vocabulary",
                fmt::format("{} tokens and {} merges; at most {} and {} are read",
                            spec.tokens.size(), spec.merges.size(), tokens_max, merges_max));
  }
  if (spec.kinds.empty()) spec.kinds.assign(spec.tokens.size(), TokenKind::normal);
  if (spec.kinds.size() != spec.tokens.size()) {
    return bad("token types",
               fmt::format("there are {} for {} tokens", spec.kinds.size(), spec.tokens.size()));
  }
  std::vector<std::pair<std::string_view, int32_t>> ids = {{"bos", spec.bos_id},
                                                           {"eos", spec.eos_id},
                                                           {"padding", spec.pad_id},
                                                           {"unknown", spec.unknown_id}};
  for (const int32_t id : spec.end_ids) ids.emplace_back("end", id);
  for (const auto& [name, id] : ids) {
    if (id >= -1 && id < static_cast<int64_t>(spec.tokens.size())) continue;
    return bad(fmt::format("{} token id {}", name, id),
               fmt::format("the vocabulary has {} tokens", spec.tokens.size()));
  }
  if (spec.pre_tokenizer.empty()) {
    constexpr std::array<std::string_view, 4> whole_words = {"llama3", "llama-v3", "llama-bpe",
                                                             "tekken"};
    if (std::ranges::find(whole_words, spec.pre_tokenizer_name) != whole_words.end()) {
      spec.ignore_merges = true;  // GGUF has no key for it
    }
  }
  return {};
}

void TokenizerImpl::read_bytes() {
  ends_.assign(1, 0);
  ends_.reserve(spec_.tokens.size() + 1);
  std::vector<const AddedToken*> literal(spec_.added.empty() ? 0 : spec_.tokens.size());
  for (const AddedToken& token : spec_.added) literal[static_cast<size_t>(token.id)] = &token;
  for (size_t id = 0; id < spec_.tokens.size(); ++id) {
    const bool added = !literal.empty() && literal[id];
    bytes_ += added ? literal[id]->content : bytes_of(spec_.tokens[id], spec_.kinds[id]);
    ends_.push_back(bytes_.size());
    if (added && spec_.kinds[id] == TokenKind::normal) {
      spec_.kinds[id] = TokenKind::user_defined;
    }
  }
  bytes_.shrink_to_fit();
}

void TokenizerImpl::read_flags() {
  flags_.assign(spec_.tokens.size(), 0);
  added_.each([this](const AddedEntry& entry) {
    uint8_t& flags = flags_[static_cast<size_t>(entry.id)];
    if (entry.control || entry.shaped) flags |= flag_control;
    if (std::ranges::find(end_texts, entry.content) != end_texts.end()) flags |= flag_end;
  });
  for (const int32_t id : spec_.end_ids) {
    if (id >= 0) flags_[static_cast<size_t>(id)] |= flag_end;
  }
  if (spec_.eos_id >= 0) flags_[static_cast<size_t>(spec_.eos_id)] |= flag_end;
}

std::vector<std::string_view> TokenizerImpl::normal_bytes() const {
  std::vector<std::string_view> views(spec_.tokens.size());
  for (size_t id = 0; id < views.size(); ++id) {
    if (spec_.kinds[id] == TokenKind::normal) {
      views[id] = std::string_view(bytes_).substr(ends_[id], ends_[id + 1] - ends_[id]);
    }
  }
  return views;
}

Result<std::unique_ptr<const Tokenizer>> TokenizerImpl::make(TokenizerSpec spec) {
  TRY(check_spec(spec));
  auto made = std::make_unique<TokenizerImpl>();
  made->spec_ = std::move(spec);
  ASSIGN(made->added_, AddedTokens::make(made->spec_));
  ASSIGN(made->pre_tokenizer_, PreTokenizer::make(made->spec_));
  made->read_bytes();
  made->read_flags();
  ASSIGN(made->bpe_, Bpe::make(made->spec_, made->normal_bytes()));
  made->spec_.merges = {};
  made->spec_.tokens = {};
  return std::unique_ptr<const Tokenizer>(std::move(made));
}

std::vector<int32_t> TokenizerImpl::encode(std::string_view text,
                                           const EncodeOptions& options) const {
  Call call(text.size());
  auto& out = call.out;
  const bool bos = options.add_bos && spec_.add_bos && spec_.bos_id >= 0;
  if (bos) out.push_back(spec_.bos_id);
  if (!options.parse_added) {
    encode_raw(
        text, 0, [](const AddedEntry&, size_t, size_t) { return false; }, call);
  } else {
    encode_all(
        text,
        [&](const AddedEntry& entry, size_t, size_t) {
          return options.parse_special || !(options.parse_shaped ? entry.special : entry.control);
        },
        call);
  }
  if (bos && out.size() > 1 && out[1] == spec_.bos_id) out.erase(out.begin());
  const bool eos = options.add_bos && spec_.add_eos && spec_.eos_id >= 0;
  if (eos && (out.empty() || out.back() != spec_.eos_id)) out.push_back(spec_.eos_id);
  return std::move(out);
}

std::vector<int32_t> TokenizerImpl::encode_rendered(std::string_view text,
                                                    std::span<const Span> user_text) const {
  Call call(text.size());
  encode_all(
      text,
      [&](const AddedEntry& entry, size_t begin, size_t end) {
        if (!entry.control && !entry.shaped) return true;
        // The first span that ends after `begin`: does it begin before `end`?
        const auto span = std::ranges::upper_bound(user_text, begin, {}, &Span::end);
        return span == user_text.end() || span->begin >= end;
      },
      call);
  return std::move(call.out);
}

void TokenizerImpl::encode_all(std::string_view text, Accept accept, Call& call) const {
  added_.partition(text, AddedTokens::Group::raw,
                   {accept,
                    [&](size_t begin, size_t end) {
                      encode_raw(text.substr(begin, end - begin), begin, accept, call);
                    },
                    [&](const AddedEntry& entry) { call.out.push_back(entry.id); }});
}

// A text between raw added tokens; `offset` is its place in the whole, which `accept` speaks of.
void TokenizerImpl::encode_raw(std::string_view text, size_t offset, Accept accept,
                               Call& call) const {
  std::vector<NfcEdit> edits;
  if (spec_.normalizer_nfc && !is_nfc_quick(text)) {
    text = call.normalized.emplace_back(nfc(text, &edits));
  }
  if (!added_.has(AddedTokens::Group::normalized)) {
    encode_plain(text, call);
    return;
  }
  added_.partition(
      text, AddedTokens::Group::normalized,
      {[&](const AddedEntry& entry, size_t begin, size_t end) {
         return accept(entry, offset + source_of(edits, begin, false),
                       offset + source_of(edits, end, true));
       },
       [&](size_t begin, size_t end) { encode_plain(text.substr(begin, end - begin), call); },
       [&](const AddedEntry& entry) { call.out.push_back(entry.id); }});
}

void TokenizerImpl::encode_plain(std::string_view text, Call& call) const {
  pre_tokenizer_.split(text, call.budget, [&](std::string_view piece) {
    call.words.encode(piece, call.out,
                      [&](std::string_view word) { bpe_.encode(word, call.out, call.scratch); });
  });
}

}  // namespace

Result<std::unique_ptr<const Tokenizer>> Tokenizer::make(TokenizerSpec spec) {
  const std::string source = spec.source;
  auto made = TokenizerImpl::make(std::move(spec));
  if (!made && !source.empty()) made.error().what = source + ": " + made.error().what;
  return made;
}

}  // namespace text
