// The shape of Janus besides its language model: which tensors there are under the names of
// format/janus_config.h, for synthetic files (synthetic.h) and for bench/janus_parts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/janus_config.h"

namespace model {

struct ShapedTensor {
  std::string name;
  std::vector<uint64_t> shape;  // outermost first
};

format::JanusConfig janus_pro_1b();  // models.md §3.2; its language model has the width 2048
format::JanusConfig tiny_janus();    // 4 tokens seen, a grid of 2 codes drawn

// `hidden` is the width of the language model. In the order in which a file has them.
std::vector<ShapedTensor> janus_tensors(const format::JanusConfig& janus, int hidden);

// Where the random numbers of such a tensor lie, evenly: from `centre` - `width` to `centre` +
// `width`. Chosen so that activations keep about the same size from layer to layer.
struct Spread {
  float centre, width;
  float deviation() const { return width / 1.7320508f; }
};
Spread spread_of(const ShapedTensor& tensor);

}  // namespace model
