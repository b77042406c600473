// What this machine can do right now: the two limits that a speed is held against.
#pragma once

#include "base/pool.h"
#include "tensor/linear.h"

namespace app {

// Stream read of memory in 2 MiB pages by all threads of the pool, GB/s: the median of `repeat`.
double stream_read_gb_per_s(base::Pool& pool, int repeat = 5);
// Peak of the int8 dot product of `isa` with operands in registers, GOP/s of all threads; for amx
// that of AVX-512, so that machines compare.
double int8_peak_gop_per_s(base::Pool& pool, tensor::Isa isa, int repeat = 5);

}  // namespace app
