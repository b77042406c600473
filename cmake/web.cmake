# nautile_web: the built site as data (web/site_files.h). With NAUTILE_WEB=OFF the table is empty,
# and the pages say so. npm and vite run only when their sources changed; vite writes into the
# build directory, npm's packages stand in web/node_modules (shared by all build directories).
set(web ${CMAKE_SOURCE_DIR}/web)
set(web_build ${CMAKE_BINARY_DIR}/web)
set(web_dist ${web_build}/dist)

if(NAUTILE_WEB)
  find_program(NPM npm)
  find_program(NODE NAMES node nodejs)
  if(NOT NPM OR NOT NODE)
    message(FATAL_ERROR "The site needs Node.js (18.20 or later) and npm. On Debian: "
                        "apt-get install nodejs npm. Without the site: -DNAUTILE_WEB=OFF")
  endif()
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  file(GLOB_RECURSE web_sources CONFIGURE_DEPENDS ${web}/src/*.ts ${web}/src/*.tsx
       ${web}/src/*.css ${web}/public/*)
  list(FILTER web_sources EXCLUDE REGEX "_test\\.tsx?$")
  list(APPEND web_sources ${web}/index.html ${web}/sw.js ${web}/vite.config.ts)
  set(web_packages ${web}/node_modules/.nautile-packages)
  add_custom_command(
    OUTPUT ${web_packages}
    COMMAND ${NPM} ci --no-audit --no-fund --silent
    COMMAND ${CMAKE_COMMAND} -E touch ${web_packages}
    DEPENDS ${web}/package.json ${web}/package-lock.json ${web}/.npmrc
    WORKING_DIRECTORY ${web}
    COMMENT "Fetching the packages of the site (npm ci)"
    VERBATIM)
  add_custom_command(
    OUTPUT ${web_build}/vite.stamp
    COMMAND ${NODE} ${web}/node_modules/vite/bin/vite.js build --outDir ${web_dist} --emptyOutDir
            --logLevel warn
    COMMAND ${CMAKE_COMMAND} -E touch ${web_build}/vite.stamp
    DEPENDS ${web_packages} ${web_sources}
    WORKING_DIRECTORY ${web}
    COMMENT "Building the site"
    VERBATIM)
  set(web_made ${web_build}/vite.stamp)
else()
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(web_made)
  set(web_dist ${web_build}/none)
endif()

add_custom_command(
  OUTPUT ${web_build}/site_files.cc
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tools/embed_web.py ${web_dist}
          ${web_build}/site_files.cc
  COMMAND ${CMAKE_COMMAND} -E touch ${web_build}/site_files.cc
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/embed_web.py ${web_made}
  COMMENT "Embedding the site"
  VERBATIM)
add_library(nautile_web STATIC EXCLUDE_FROM_ALL ${web_build}/site_files.cc ${web}/site_files.h)
target_include_directories(nautile_web PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(nautile_web PUBLIC nautile_api)
