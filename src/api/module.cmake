# openapi.json is compiled in: the program is one file.
set(openapi_source ${CMAKE_SOURCE_DIR}/src/api/openapi.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${openapi_source})
file(READ ${openapi_source} OPENAPI_JSON)
configure_file(${CMAKE_SOURCE_DIR}/src/api/openapi.cc.in ${CMAKE_BINARY_DIR}/generated/openapi.cc
               @ONLY)
target_sources(nautile_api PRIVATE ${CMAKE_BINARY_DIR}/generated/openapi.cc)

# A server with the real HTTP front and a scripted engine, for the browser journeys and for http
# tests in which timing matters. Built with the tests only; never installed.
file(GLOB scripted_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/scripted/*.cc)
if(NAUTILE_TESTS AND scripted_sources)
  add_executable(scripted_serve ${scripted_sources})
  target_include_directories(scripted_serve PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(scripted_serve PRIVATE nautile_api nautile_net nautile_account)
endif()
