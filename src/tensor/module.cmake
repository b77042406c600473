# Instrumenting fully unrolled kernels takes a compiler minutes a file; their bounds are those of
# the scalar reference, which is instrumented and which they equal bit for bit.
set(uninstrumented "")
if(NAUTILE_SANITIZE)
  set(uninstrumented -fno-sanitize=all)
  if(TARGET tensor_test)
    # The emulated AVX-512 kernels likewise; the optimised build runs them.
    get_target_property(sources tensor_test SOURCES)
    list(FILTER sources EXCLUDE REGEX "kernels_avx512_test")
    set_target_properties(tensor_test PROPERTIES SOURCES "${sources}")
  endif()
endif()

set(kernel_files "")
foreach(file kernels_avx2 kernels_avx2_32 kernels_avx2_k kernels_avx2_book kernels_avx512
        kernels_avx512_32 kernels_avx512_k kernels_avx512_book
        kernels_amx dense_avx2 dense_avx512 dense_amx)
  list(APPEND kernel_files ${CMAKE_SOURCE_DIR}/src/tensor/${file}.cc)
endforeach()

# Precompiled headers carry the instrumentation that these files go without.
set_source_files_properties(
  ${kernel_files}
  ${CMAKE_SOURCE_DIR}/src/tensor/attention_avx2.cc
  ${CMAKE_SOURCE_DIR}/src/tensor/attention_avx512.cc
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON)

# Kernel files: GCC's reassociation would turn a running sum of products into a tree, and its
# expression replacement would move all sums behind all products; either way the products go
# through memory instead of registers (seen with g++ 12, half the speed). Its own AVX-512 headers
# raise "uninitialized" falsely.
set_source_files_properties(
  ${kernel_files}
  PROPERTIES COMPILE_OPTIONS
  "$<$<CXX_COMPILER_ID:GNU>:-fno-tree-reassoc;-fno-tree-ter;-Wno-uninitialized>;${uninstrumented}")
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/attention_avx512.cc
  PROPERTIES COMPILE_OPTIONS
  "$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>;${uninstrumented}")
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/attention_avx2.cc PROPERTIES COMPILE_OPTIONS "${uninstrumented}")
# Vectors of 64 bytes pass through functions of this file's own only.
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/kernels_avx512_test.cc
  PROPERTIES COMPILE_OPTIONS "-O1;-Wno-psabi;-Wno-unused-function")
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/src/tensor/dense_wide_test.cc
  PROPERTIES COMPILE_OPTIONS "-Wno-psabi;-Wno-unused-function")
