# Not joined under sanitizers (cmake/modules.cmake): filters and methods have the same names.
foreach(file jinja_lexer jinja_list_filters jinja_methods jinja_text_filters tool_parser)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/text/${file}.cc PROPERTIES
    SKIP_UNITY_BUILD_INCLUSION ON)
endforeach()
