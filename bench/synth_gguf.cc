// usage: synth_gguf SHAPE QUANTIZATION OUT.gguf   (see synth_gguf.h)
#include <cstdio>

#include "model/synthetic.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: synth_gguf SHAPE QUANTIZATION OUT.gguf\n");
    return 2;
  }
  const auto shape = model::named_shape(argv[1]);
  const auto result = shape ? model::write_synthetic_gguf(argv[3], *shape, argv[2], 1)
                            : base::Result<void>(base::fail(shape.error()));
  if (result) return 0;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  return 1;
}
