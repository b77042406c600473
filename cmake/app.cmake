# The program itself: src/app/main.cc plus every module.
if(EXISTS ${CMAKE_SOURCE_DIR}/src/app/main.cc)
  add_executable(nautile ${CMAKE_SOURCE_DIR}/src/app/main.cc)
  target_link_libraries(nautile PRIVATE nautile_app)
endif()
