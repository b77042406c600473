#include "format/tokenizer_rules.h"

#include <algorithm>
#include <fmt/format.h>

namespace format {

bool has_control_shape(std::string_view token) {
  const auto framed = [&](std::string_view open, std::string_view close) {
    return token.size() > open.size() + close.size() && token.starts_with(open) &&
           token.ends_with(close);
  };
  return framed("<|", "|>") || framed("<\xef\xbd\x9c", "\xef\xbd\x9c>");
}

bool is_known_end(std::string_view token) {
  constexpr std::string_view ends[] = {"<|eot_id|>",      "<|im_end|>",           "<|endoftext|>",
                                       "<|end_of_text|>", "<|eom_id|>",           "<|end|>",
                                       "<end_of_turn>",   "<｜end▁of▁sentence｜>"};
  return std::find(std::begin(ends), std::end(ends), token) != std::end(ends);
}

void add_end(text::TokenizerSpec& spec, int64_t id) {
  if (id < 0 || id >= static_cast<int64_t>(spec.tokens.size())) return;
  const auto known = static_cast<int32_t>(id);
  if (std::find(spec.end_ids.begin(), spec.end_ids.end(), known) == spec.end_ids.end()) {
    spec.end_ids.push_back(known);
  }
}

void add_known_ends(text::TokenizerSpec& spec) {
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (spec.kinds[id] == text::TokenKind::control && is_known_end(spec.tokens[id])) {
      add_end(spec, static_cast<int64_t>(id));
    }
  }
}

void guess_pre_tokenizer(text::TokenizerSpec& spec) {
  const size_t size = spec.tokens.size();
  const auto at = [&](size_t id, std::string_view token) {
    return id < size && spec.tokens[id] == token;
  };
  constexpr std::string_view deepseek_begin = "<｜begin▁of▁sentence｜>";
  struct Sign {
    size_t id;
    std::string_view token, name;
  };
  const Sign signs[] = {{0, deepseek_begin, "deepseek-v3"},
                        {100000, deepseek_begin, "deepseek-llm"},
                        {151646, deepseek_begin, "deepseek-r1-qwen"},
                        {128000, deepseek_begin, "llama-bpe"},
                        {32013, deepseek_begin, "deepseek-coder"},
                        {128000, "<|begin_of_text|>", "llama-bpe"},
                        {151644, "<|im_start|>", "qwen2"},
                        {1, "<|im_start|>", "smollm"},
                        {50256, "<|endoftext|>", "gpt-2"}};
  for (const Sign& sign : signs) {
    if (!at(sign.id, sign.token)) continue;
    spec.pre_tokenizer_name = sign.name;
    spec.pre_tokenizer_guess =
        fmt::format("the file names no pre-tokenizer; its token {} is {}", sign.id, sign.token);
    return;
  }
  spec.pre_tokenizer_name = "gpt-2";
  spec.pre_tokenizer_guess =
      fmt::format("the file names no pre-tokenizer and its {} tokens are of no known family", size);
}

}  // namespace format
