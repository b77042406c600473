# Kernel files: GCC's reassociation would turn a running sum of products into a tree, and its
# expression replacement would move all sums behind all products; either way the products go
# through memory instead of registers (seen with g++ 12, half the speed). Its own AVX-512 headers
# raise "uninitialized" falsely.
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/kernels_avx2.cc ${CMAKE_SOURCE_DIR}/src/tensor/kernels_avx512.cc
  PROPERTIES COMPILE_OPTIONS
  "$<$<CXX_COMPILER_ID:GNU>:-fno-tree-reassoc;-fno-tree-ter;-Wno-uninitialized>")
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/attention_avx512.cc
  PROPERTIES COMPILE_OPTIONS
  "$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>")
# Vectors of 64 bytes pass through functions of this file's own only.
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/kernels_avx512_test.cc
  PROPERTIES COMPILE_OPTIONS "-O1;-Wno-psabi;-Wno-unused-function")
