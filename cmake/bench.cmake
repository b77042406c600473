# Programs under bench/: built on demand (`ninja NAME`), never by default.
#   bench/NAME.cc   a benchmark or helper of its own, linked with every module
#   llama_peer      llama.cpp through its C API; needs -DNAUTILE_PEER=DIR (tools/fetch.py peer)
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*.cc)
foreach(source ${bench_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} EXCLUDE_FROM_ALL ${source})
  target_link_libraries(${name} PRIVATE nautile_engine)
endforeach()

set(NAUTILE_PEER "" CACHE PATH "Directory of the fetched peer (headers and libraries)")
if(NAUTILE_PEER)
  set(peer_libraries ${NAUTILE_PEER}/package/bins/linux-x64)
  add_executable(llama_peer EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/peer/llama_peer.cc)
  target_include_directories(llama_peer PRIVATE ${NAUTILE_PEER}/include)
  file(GLOB peer_files ${peer_libraries}/libllama.v*.so ${peer_libraries}/libggml.v*.so
       ${peer_libraries}/libggml-base.so)
  target_link_libraries(llama_peer PRIVATE ${peer_files})
  target_link_options(llama_peer PRIVATE -Wl,--allow-shlib-undefined)
endif()
