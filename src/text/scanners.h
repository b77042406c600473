// Hand-written matchers of the well-known expressions. Each gives the end of the match that begins
// exactly at `at`, or `at` if none does. Pure; any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace text::scanners {

size_t gpt2(std::string_view text, size_t at);
size_t llama3(std::string_view text, size_t at);  // digits by three
size_t qwen2(std::string_view text, size_t at);   // digits one by one
size_t deepseek_v3(std::string_view text, size_t at);

}  // namespace text::scanners
