# Compiler flags. No -ffast-math and no -march=native: one binary dispatches at run time, and the
# reduction order that the invariance promise rests on is the one that the source states.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")

add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -ffp-contract=off
                    -fstack-protector-strong -fno-plt
                    -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # g++ 12 sees uninitialised members in every moved std::variant (base::Json).
  add_compile_options(-Wno-maybe-uninitialized)
endif()
if(NAUTILE_SANITIZE)
  add_compile_options(-fsanitize=${NAUTILE_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${NAUTILE_SANITIZE})
else()
  add_compile_options($<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
if(NAUTILE_FUZZ)  # the modules themselves must report their branches to the fuzzer
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
add_link_options(-Wl,-z,relro,-z,now)
find_program(LLD ld.lld)
if(LLD)
  add_link_options(-fuse-ld=lld)
endif()
