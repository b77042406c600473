// Janus as one GGUF file, a form of this program's own: docs/janus-gguf.md has its keys, tensors
// and types.
#pragma once

#include "base/result.h"
#include "format/gguf_keys.h"
#include "format/gguf_writer.h"
#include "format/model_files.h"

namespace format {

// What the keys state of the parts that see and draw; complete_janus() holds it against the
// tensors.
base::Result<JanusConfig> read_gguf_janus(const GgufKeys& keys);

void add_janus_keys(const JanusConfig& janus, GgufWriter& out);

}  // namespace format
