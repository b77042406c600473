# Boost is header-only here (Asio) and stays behind net/*.cc. libboost1.81-dev: 1.74 lacks what we
# use, and the two packages conflict.
find_package(Boost 1.81 REQUIRED)
target_include_directories(nautile_net SYSTEM PRIVATE ${Boost_INCLUDE_DIRS})
target_compile_definitions(nautile_net PRIVATE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_HEADER_ONLY)
# Asio fences where a mutex already orders; TSan warns that it does not see fences.
if(NAUTILE_SANITIZE MATCHES thread)
  target_compile_options(nautile_net PRIVATE -Wno-tsan)
endif()
# TLS of the client (`nautile pull`), through asio::ssl.
find_package(OpenSSL REQUIRED)
target_link_libraries(nautile_net PRIVATE OpenSSL::SSL OpenSSL::Crypto)
