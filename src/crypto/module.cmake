find_library(SODIUM sodium REQUIRED)
find_package(OpenSSL REQUIRED)
target_link_libraries(nautile_crypto PRIVATE ${SODIUM} OpenSSL::Crypto)
