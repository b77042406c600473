// For the scalar kernels only. Where the processor is not known to fuse a product into a sum, g++
// calls the C library for every std::fma, which is half of the scalar time. A function marked
// WITH_FMA is compiled twice, and the one that this processor can run is taken: the same numbers.
#pragma once

// Sanitizers and clang do without: their run time starts after the choice is made.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define WITH_FMA __attribute__((target_clones("fma", "default")))
#else
#define WITH_FMA
#endif
