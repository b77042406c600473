// GGUF's tensor names and those of Hugging Face, which are the normal ones here.
#pragma once

#include <string>
#include <string_view>

namespace format {

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight". A name outside of the
// vocabulary of the dense decoders comes back as it is.
std::string normal_name(std::string_view gguf_name);

}  // namespace format
