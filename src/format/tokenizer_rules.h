// What both containers decide in the same way about a tokenizer.
#pragma once

#include <string_view>

#include "text/tokenizer_spec.h"

namespace format {

inline constexpr uint64_t tokens_max = 1 << 22;
inline constexpr uint64_t token_bytes_max = 64 << 10;
inline constexpr uint64_t merges_max = 1 << 22;
inline constexpr uint64_t chat_template_bytes_max = 1 << 20;

// "<|…|>" or "<｜…｜>": a control token whatever its flag says (DeepSeek V3 states special=false).
bool has_control_shape(std::string_view token);

// Texts that end a generation when they are control tokens, in any model.
bool is_known_end(std::string_view token);

// Adds `id` if it is a token and not in the list yet.
void add_end(text::TokenizerSpec& spec, int64_t id);
// Adds every control token that is_known_end().
void add_known_ends(text::TokenizerSpec& spec);

// The name of the pre-tokenizer by vocabulary size and special tokens, and why: for old files.
void guess_pre_tokenizer(text::TokenizerSpec& spec);

}  // namespace format
