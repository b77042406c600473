# The decoders, behind the wall of media/*.cc; libseccomp for the keeper's own confinement.
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_library(WEBP webp REQUIRED)
find_library(SECCOMP seccomp REQUIRED)
target_link_libraries(nautile_media PRIVATE PNG::PNG JPEG::JPEG ${WEBP} ${SECCOMP})
if(NAUTILE_SANITIZE)
  # To look at an object's type this check opens a pipe, which the sealed child may not.
  target_compile_options(nautile_media PRIVATE -fno-sanitize=vptr)
endif()
# Not joined under sanitizers (cmake/modules.cmake): each calls its own parts by the same names.
foreach(file jpeg png webp)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/media/${file}.cc PROPERTIES
    SKIP_UNITY_BUILD_INCLUSION ON)
endforeach()
