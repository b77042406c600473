// The AVX2 kernels of types whose blocks have 32 weights.
#include "tensor/kernels_avx2.inc"

namespace tensor {

PanelKernel avx2_kernel_of_block32(Dtype dtype) {
  switch (dtype) {
    case Dtype::q4_0:
      return panel<Dtype::q4_0>;
    case Dtype::q4_1:
      return panel<Dtype::q4_1>;
    case Dtype::q5_0:
      return panel<Dtype::q5_0>;
    case Dtype::q5_1:
      return panel<Dtype::q5_1>;
    case Dtype::q8_0:
      return panel<Dtype::q8_0>;
    case Dtype::iq4_nl:
      return panel<Dtype::iq4_nl>;
    case Dtype::mxfp4:
      return panel<Dtype::mxfp4>;
    default:
      return nullptr;
  }
}

}  // namespace tensor
