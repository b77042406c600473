# Kernel files: GCC's reassociation would turn a running sum of products into a tree, and its
# expression replacement would move all sums behind all products; either way the products go
# through memory instead of registers (seen with g++ 12, half the speed).
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/kernels_avx2.cc
  PROPERTIES COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:GNU>:-fno-tree-reassoc;-fno-tree-ter>")

# g++ 12's AVX-512 headers leave registers undefined on purpose and warn about it.
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/attention_avx512.cc
  PROPERTIES COMPILE_OPTIONS
  "$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>")
