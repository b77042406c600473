// The tokenizer of a Hugging Face directory: tokenizer.json, and what tokenizer_config.json,
// config.json and generation_config.json add to it. The format and its rules are written down at
// the head of hf_tokenizer.cc.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "base/result.h"
#include "text/tokenizer_spec.h"

namespace format {

struct HfTokenizerParts {
  base::Json tokenizer;         // tokenizer.json
  base::Json tokenizer_config;  // tokenizer_config.json, or null
  base::Json config;            // config.json, or null
  base::Json generation;        // generation_config.json, or null
  std::string chat_template;    // chat_template.jinja, or empty
  uint64_t embedding_rows = 0;  // no id may reach past them; 0: not known
};

// Takes the parts apart (their strings are moved out).
base::Result<text::TokenizerSpec> read_hf_tokenizer(HfTokenizerParts parts);

}  // namespace format
