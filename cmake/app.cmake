# The program itself: src/app/main.cc and the verbs, plus every module; its manual pages and
# completions, printed by the program so that they cannot differ from --help; and where
# `cmake --install` puts them.
file(GLOB verb_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/app/verb_*.cc)
add_executable(nautile ${CMAKE_SOURCE_DIR}/src/app/main.cc ${verb_sources})
target_link_libraries(nautile PRIVATE nautile_app)
target_precompile_headers(nautile REUSE_FROM nautile_headers)
if(EXISTS ${CMAKE_SOURCE_DIR}/src/api/service.h)
  target_link_libraries(nautile_app PUBLIC nautile_web)
endif()

include(GNUInstallDirs)
set(verbs serve run image pull list show rm ps tokenize detokenize template logits perplexity embed
    quantize verify bench doctor config completion version)
set(share ${CMAKE_BINARY_DIR}/share)
set(manuals ${share}/man/man1/nautile.1)
set(print_manuals COMMAND sh -c "'$<TARGET_FILE:nautile>' man > ${share}/man/man1/nautile.1")
foreach(verb ${verbs})
  list(APPEND manuals ${share}/man/man1/nautile-${verb}.1)
  list(APPEND print_manuals
       COMMAND sh -c "'$<TARGET_FILE:nautile>' man ${verb} > ${share}/man/man1/nautile-${verb}.1")
endforeach()
add_custom_command(
  OUTPUT ${manuals} ${share}/nautile.bash ${share}/_nautile ${share}/nautile.fish
  COMMAND ${CMAKE_COMMAND} -E make_directory ${share}/man/man1
  ${print_manuals}
  COMMAND sh -c "'$<TARGET_FILE:nautile>' completion bash > ${share}/nautile.bash"
  COMMAND sh -c "'$<TARGET_FILE:nautile>' completion zsh > ${share}/_nautile"
  COMMAND sh -c "'$<TARGET_FILE:nautile>' completion fish > ${share}/nautile.fish"
  DEPENDS nautile VERBATIM)
add_custom_target(manuals ALL DEPENDS ${manuals})

# Reference vectors of `nautile verify`, where the program looks for them in a build folder too.
file(GLOB vectors CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/share/vectors/*.json)
add_custom_command(
  OUTPUT ${share}/vectors/.stamp
  COMMAND ${CMAKE_COMMAND} -E make_directory ${share}/vectors
  COMMAND ${CMAKE_COMMAND} -E copy_if_different ${vectors} ${share}/vectors
  COMMAND ${CMAKE_COMMAND} -E touch ${share}/vectors/.stamp
  DEPENDS ${vectors} VERBATIM)
add_custom_target(vectors ALL DEPENDS ${share}/vectors/.stamp)
add_dependencies(nautile vectors)
install(FILES ${vectors} DESTINATION ${CMAKE_INSTALL_DATADIR}/nautile/vectors)

install(TARGETS nautile RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${manuals} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${share}/nautile.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME nautile)
install(FILES ${share}/_nautile DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${share}/nautile.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${CMAKE_SOURCE_DIR}/packaging/nautile.service DESTINATION lib/systemd/system)
