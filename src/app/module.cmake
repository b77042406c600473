find_package(CLI11 REQUIRED)
target_link_libraries(nautile_app PUBLIC CLI11::CLI11)
# CLI11 costs ten seconds a file otherwise; every verb includes it.
target_precompile_headers(nautile_app PRIVATE <CLI/CLI.hpp>)
find_library(SECCOMP seccomp REQUIRED)
target_link_libraries(nautile_app PRIVATE ${SECCOMP})

execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} describe --always --abbrev=12 --dirty=+
                OUTPUT_VARIABLE NAUTILE_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT NAUTILE_COMMIT)
  set(NAUTILE_COMMIT unknown)
endif()
set(NAUTILE_COMPILER "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
set_property(SOURCE ${CMAKE_SOURCE_DIR}/src/app/build_info.cc PROPERTY COMPILE_DEFINITIONS
  "NAUTILE_VERSION=\"${PROJECT_VERSION}\"" "NAUTILE_COMMIT=\"${NAUTILE_COMMIT}\""
  "NAUTILE_COMPILER=\"${NAUTILE_COMPILER}\""
  "NAUTILE_FLAGS=\"${CMAKE_CXX_FLAGS_RELEASE} ${CMAKE_CXX_FLAGS}\"")
