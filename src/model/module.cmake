# Synthetic model files, for tests and for benchmarks on shapes that nobody wants to download.
if(NAUTILE_TESTS)
  target_sources(model_test PRIVATE ${CMAKE_SOURCE_DIR}/bench/synth_gguf.cc)
  target_include_directories(model_test PRIVATE ${CMAKE_SOURCE_DIR})
endif()
add_executable(synth_gguf EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/synth_gguf.cc
               ${CMAKE_SOURCE_DIR}/bench/synth_gguf_main.cc)
target_include_directories(synth_gguf PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(synth_gguf PRIVATE nautile_tensor nautile_base)
