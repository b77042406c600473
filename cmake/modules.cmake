# nautile_module(NAME DEPENDS ...): the static library nautile_NAME of src/NAME/*.cc but for what
# belongs to the program (main.cc, app's verb_*.cc: cmake/app.cmake), its test program NAME_test of
# *_test.cc, and a fuzz target for each *_fuzz.cc.
# src/NAME/module.cmake, if it exists, is included afterwards for what only that module needs
# (third-party libraries behind its wall, per-file flags).
set(NAUTILE_MODULES base tensor text media crypto net account pull chat format model engine api app)

if(NAUTILE_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
endif()

add_custom_target(unit_tests)
add_custom_target(fuzzers)

# Nearly every file includes these; parsed once for all modules and once for all test programs
# (other flags), they halve the time of a clean build.
set(NAUTILE_COMMON_HEADERS <algorithm> <functional> <memory> <string> <variant> <vector>
    <fmt/format.h> <tl/expected.hpp>)
file(WRITE ${CMAKE_BINARY_DIR}/generated/common_headers.cc "")

# nautile_common_headers(TARGET HEADER...): a target that only has the parsed headers.
function(nautile_common_headers target)
  add_library(${target} OBJECT ${CMAKE_BINARY_DIR}/generated/common_headers.cc)
  target_link_libraries(${target} PRIVATE fmt::fmt tl::expected Threads::Threads)
  target_precompile_headers(${target} PRIVATE ${NAUTILE_COMMON_HEADERS} ${ARGN})
endfunction()

# Under sanitizers the modules that compute nothing are compiled fast rather than well, which halves
# their share of that build.
set(NAUTILE_QUICK_MODULES crypto net account pull chat api app)
function(nautile_quick_flags target)
  target_compile_options(${target} PRIVATE -O0)
endfunction()

# Under sanitizers these modules are compiled eight files at once, which takes less than half the
# time: what inline functions become there is made once for the eight. No two of a module's files
# may give one name to different things; where that is natural, a file stays out
# (SKIP_UNITY_BUILD_INCLUSION).
set(NAUTILE_JOINED_MODULES base text media crypto net account chat model engine api app)

# A test runs once: compile it fast rather than well.
function(nautile_test_flags target)
  target_compile_options(${target} PRIVATE -O0 -U_FORTIFY_SOURCE)
  if(NAUTILE_FUZZ)  # no fuzzer runs tests: a quarter of their time to compile
    target_compile_options(${target} PRIVATE -fno-sanitize=fuzzer-no-link)
  endif()
  target_compile_definitions(${target} PRIVATE
    NAUTILE_SOURCE_DIR="${CMAKE_SOURCE_DIR}" NAUTILE_BINARY_DIR="${CMAKE_BINARY_DIR}")
endfunction()

function(nautile_module name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/src/${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${dir}/*.cc)
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER sources EXCLUDE REGEX
    "_(test|fuzz)\\.cc$|/main\\.cc$|_test_main\\.cc$|/app/verb_[a-z]+\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  set(deps "")
  foreach(dep ${ARG_DEPENDS})
    if(dep IN_LIST NAUTILE_MODULES)
      list(APPEND deps nautile_${dep})
    else()
      list(APPEND deps ${dep})
    endif()
  endforeach()
  if(sources)
    add_library(nautile_${name} STATIC ${sources})
    target_include_directories(nautile_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(nautile_${name} PUBLIC ${deps})
    if(NAUTILE_SANITIZE AND name IN_LIST NAUTILE_JOINED_MODULES)
      set_target_properties(nautile_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    endif()
    if(NAUTILE_SANITIZE AND name IN_LIST NAUTILE_QUICK_MODULES)
      nautile_quick_flags(nautile_${name})
      target_precompile_headers(nautile_${name} REUSE_FROM nautile_quick_headers)
    else()
      target_precompile_headers(nautile_${name} REUSE_FROM nautile_headers)
    endif()
  else()
    add_library(nautile_${name} INTERFACE)
    target_include_directories(nautile_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(nautile_${name} INTERFACE ${deps})
  endif()
  if(NAUTILE_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE nautile_${name} GTest::gtest GTest::gtest_main)
    nautile_test_flags(${name}_test)
    target_precompile_headers(${name}_test REUSE_FROM nautile_test_headers)
    add_dependencies(unit_tests ${name}_test)
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  endif()
  if(NAUTILE_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(target ${fuzzer} NAME_WE)
      add_executable(${target} ${fuzzer})
      target_link_libraries(${target} PRIVATE nautile_${name})
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
      set_target_properties(${target} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
      add_dependencies(fuzzers ${target})
    endforeach()
  endif()
  if(EXISTS ${dir}/module.cmake)
    include(${dir}/module.cmake)
  endif()
endfunction()
