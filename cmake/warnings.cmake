# SPDX-License-Identifier: Apache-2.0
# `sluice_options`: what every target of ours is compiled with. Generated protobuf code is not.
add_library(sluice_options INTERFACE)
target_include_directories(sluice_options INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(sluice_options INTERFACE
  -march=${SLUICE_MARCH} -fno-omit-frame-pointer
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wcast-align -Wnull-dereference -Werror
  # g++ 12 sees overlaps in std::string concatenation that are not there (PR 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # To clang -Wconversion means this too.
  $<$<CXX_COMPILER_ID:Clang>:-Wno-sign-conversion>)
if(SLUICE_SANITIZE)
  # -Wnull-dereference and -Wmaybe-uninitialized see ghosts in instrumented code.
  add_compile_options(-fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SLUICE_SANITIZE})
  target_compile_options(sluice_options INTERFACE
    -Wno-null-dereference $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()

# sluice_room(NAME SOURCES... ) makes the static library of one room.
function(sluice_room name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC sluice_options)
endfunction()
