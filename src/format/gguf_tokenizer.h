// The tokenizer that a GGUF file carries in its keys tokenizer.*.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "format/gguf.h"
#include "text/tokenizer_spec.h"

namespace format {

// `embedding_rows`: no token id may reach past them; 0 if the file has no embedding.
base::Result<text::TokenizerSpec> read_gguf_tokenizer(const GgufHeader& header,
                                                      uint64_t embedding_rows);

}  // namespace format
