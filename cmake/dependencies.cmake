# SPDX-License-Identifier: Apache-2.0
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(NL REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

# libdpdk.pc carries -march=corei7, which CMake puts after ours, and the last one wins: filtered
# here, and tests/unit/tidy_test.py reads compile_commands.json to see that it stays so.
pkg_check_modules(DPDK REQUIRED IMPORTED_TARGET libdpdk)
get_target_property(dpdk_options PkgConfig::DPDK INTERFACE_COMPILE_OPTIONS)
list(FILTER dpdk_options EXCLUDE REGEX "^-march=")
set_target_properties(PkgConfig::DPDK PROPERTIES INTERFACE_COMPILE_OPTIONS "${dpdk_options}")
