#include "text/added_tokens.h"

#include <algorithm>
#include <array>

#include "text/nfc.h"
#include "text/unicode.h"

namespace text {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr size_t content_bytes_max = 512;
constexpr size_t count_max = 1 << 20;

constexpr std::string_view wide_open = "<\uff5c", wide_close = "\uff5c>";

// Stored as user-defined by old GGUF converters, yet control tokens of their models.
constexpr std::array<std::string_view, 12> known_control = {
    "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>",
    "<|repo_name|>",  "<|file_sep|>",   "<|eot_id|>",     "<|im_end|>",
    "<|im_start|>",   "<|endoftext|>",  "<|eom_id|>",     "<|end_of_text|>"};

bool is_wide_shaped(std::string_view content) {
  return content.size() > wide_open.size() + wide_close.size() && content.starts_with(wide_open) &&
         content.ends_with(wide_close);
}

// The start of the white space that ends at `end`, and the end of what begins at `begin`.
size_t space_before(std::string_view text, size_t end) {
  while (end > 0) {
    const Decoded d = decode_before(text, end);
    if (!is_white_space(d.code_point)) break;
    end -= d.bytes;
  }
  return end;
}
size_t space_after(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const Decoded d = decode_at(text, begin);
    if (!is_white_space(d.code_point)) break;
    begin += d.bytes;
  }
  return begin;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && is_word(decode_before(text, begin).code_point)) return false;
  return end == text.size() || !is_word(decode_at(text, end).code_point);
}

AddedEntry entry_of(const AddedToken& token, TokenKind kind) {
  AddedEntry entry{token.content, token.id, token.special};
  entry.shaped = is_control_shaped(token.content);
  entry.control = token.special || kind == TokenKind::control || is_wide_shaped(token.content) ||
                  std::ranges::find(known_control, token.content) != known_control.end();
  entry.lstrip = token.lstrip;
  entry.rstrip = token.rstrip;
  entry.single_word = token.single_word;
  return entry;
}

}  // namespace

bool is_control_shaped(std::string_view content) {
  return is_wide_shaped(content) ||
         (content.size() > 4 && content.starts_with("<|") && content.ends_with("|>"));
}

Result<AddedTokens> AddedTokens::make(const TokenizerSpec& spec) {
  AddedTokens made;
  auto& raw = made.lists_[0].entries;
  for (const AddedToken& token : spec.added) {
    if (token.id < 0 || static_cast<size_t>(token.id) >= spec.tokens.size()) {
      return fail(
          ErrorKind::invalid_input,
          fmt::format("tokenizer: added token {}", base::shown_name(token.content)),
          fmt::format("its id {} is outside the vocabulary of {}", token.id, spec.tokens.size()));
    }
    if (token.content.empty()) continue;
    AddedEntry entry = entry_of(token, spec.kinds[static_cast<size_t>(token.id)]);
    if (token.normalized && spec.normalizer_nfc) entry.content = nfc(entry.content);
    made.lists_[token.normalized ? 1 : 0].entries.push_back(std::move(entry));
  }
  for (size_t id = 0; id < spec.tokens.size() && spec.added.empty(); ++id) {
    const TokenKind kind = spec.kinds[id];
    const bool added =
        kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown;
    if (!added || spec.tokens[id].empty()) continue;
    const AddedToken token{static_cast<int32_t>(id), spec.tokens[id], kind == TokenKind::control};
    raw.push_back(entry_of(token, kind));
  }
  for (List& list : made.lists_) {
    if (list.entries.size() > count_max) {
      return fail(ErrorKind::limit_exceeded, "tokenizer: added tokens",
                  fmt::format("there are {}; at most {} are read", list.entries.size(), count_max));
    }
    std::ranges::stable_sort(list.entries, {}, &AddedEntry::content);
    const auto same = [](const AddedEntry& a, const AddedEntry& b) {
      return a.content == b.content;
    };
    list.entries.erase(std::unique(list.entries.begin(), list.entries.end(), same),
                       list.entries.end());
    list.first.assign(257, static_cast<uint32_t>(list.entries.size()));
    for (size_t i = list.entries.size(); i-- > 0;) {
      const AddedEntry& entry = list.entries[i];
      if (entry.content.size() > content_bytes_max) {
        return fail(ErrorKind::limit_exceeded, fmt::format("tokenizer: added token {}", entry.id),
                    fmt::format("it has {} bytes; at most {} are read", entry.content.size(),
                                content_bytes_max));
      }
      list.first[static_cast<uint8_t>(entry.content[0])] = static_cast<uint32_t>(i);
    }
    for (size_t byte = 256; byte-- > 0;) {
      list.first[byte] = std::min(list.first[byte], list.first[byte + 1]);
    }
  }
  return made;
}

// The entries that share the first `depth` bytes with the text are a range of the sorted list; it
// is narrowed byte by byte, and the first of the range may be as long as what was compared.
const AddedEntry* AddedTokens::longest_at(const List& list, std::string_view text, size_t at,
                                          const Sinks& sinks) const {
  const auto first_byte = static_cast<uint8_t>(text[at]);
  auto begin = list.entries.begin() + list.first[first_byte];
  auto end = list.entries.begin() + list.first[first_byte + 1];
  const AddedEntry* longest = nullptr;
  for (size_t depth = 1; begin != end; ++depth) {
    if (begin->content.size() == depth) {
      if (sinks.accept(*begin, at, at + depth)) longest = &*begin;
      ++begin;
    }
    if (at + depth >= text.size()) break;
    const auto byte = static_cast<uint8_t>(text[at + depth]);
    const auto key = [depth](const AddedEntry& entry) {
      return static_cast<uint8_t>(entry.content[depth]);
    };
    begin = std::ranges::lower_bound(begin, end, byte, {}, key);
    end = std::ranges::upper_bound(begin, end, byte, {}, key);
  }
  return longest;
}

void AddedTokens::partition(std::string_view text, Group group, const Sinks& sinks) const {
  const List& list = lists_[static_cast<int>(group)];
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !list.entries.empty();) {
    const auto byte = static_cast<uint8_t>(text[at]);
    if (list.first[byte] == list.first[byte + 1u]) {
      ++at;
      continue;
    }
    const AddedEntry* entry = longest_at(list, text, at, sinks);
    if (!entry) {
      ++at;
      continue;
    }
    const size_t match_end = at + entry->content.size();
    if (entry->single_word && !stands_alone(text, at, match_end)) {
      at = match_end;
      continue;
    }
    const size_t begin = entry->lstrip ? std::max(space_before(text, at), done) : at;
    const size_t end = entry->rstrip ? space_after(text, match_end) : match_end;
    if (begin > done) sinks.gap(done, begin);
    sinks.token(*entry);
    done = end;
    at = std::max(match_end, end);
  }
  if (done < text.size()) sinks.gap(done, text.size());
}

const AddedEntry* AddedTokens::find(std::string_view content) const {
  for (const List& list : lists_) {
    const auto it = std::ranges::lower_bound(
        list.entries, content, {},
        [](const AddedEntry& entry) { return std::string_view(entry.content); });
    if (it != list.entries.end() && it->content == content) return &*it;
  }
  return nullptr;
}

}  // namespace text
