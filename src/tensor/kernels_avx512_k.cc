// The AVX-512 kernels of types whose blocks have 256 weights.
#include "tensor/kernels_avx512.inc"

namespace tensor {

PanelKernel avx512_kernel_of_superblock(Dtype dtype) {
  switch (dtype) {
    case Dtype::q2_k:
      return panel<Dtype::q2_k>;
    case Dtype::q3_k:
      return panel<Dtype::q3_k>;
    case Dtype::q4_k:
      return panel<Dtype::q4_k>;
    case Dtype::q5_k:
      return panel<Dtype::q5_k>;
    case Dtype::q6_k:
      return panel<Dtype::q6_k>;
    case Dtype::iq4_xs:
      return panel<Dtype::iq4_xs>;
    default:
      return nullptr;
  }
}

}  // namespace tensor
