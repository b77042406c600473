// NFC, the composed normal form of Unicode 16, over UTF-8. Bytes of ill-formed sequences are kept
// and nothing composes across them. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace text {

// A part of the text that NFC rewrote: [from, from_end) of the source became [to, to_end).
struct NfcEdit {
  size_t from, from_end, to, to_end;
};

// True if nothing in `text` can change: a quick look, so false may still mean that it is NFC.
bool is_nfc_quick(std::string_view text);

// The NFC of `text`; `edits`, if given, gets the rewritten parts in ascending order.
std::string nfc(std::string_view text, std::vector<NfcEdit>* edits = nullptr);

}  // namespace text
