# The decoders, behind the wall of media/*.cc; libseccomp for the keeper's own confinement.
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_library(WEBP webp REQUIRED)
find_library(SECCOMP seccomp REQUIRED)
target_link_libraries(nautile_media PRIVATE PNG::PNG JPEG::JPEG ${WEBP} ${SECCOMP})
