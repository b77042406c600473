find_library(SODIUM sodium REQUIRED)
target_link_libraries(nautile_crypto PRIVATE ${SODIUM})
