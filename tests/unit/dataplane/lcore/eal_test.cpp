// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/eal.h"

#include <rte_eal.h>
#include <rte_lcore.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sched.h>
#include <unistd.h>

namespace sluice {
namespace {

using Arguments = std::vector<std::string>;

constexpr std::array<unsigned, 3> kCpus{0, 2, 5};

DataplaneSettings small_settings() {
  DataplaneSettings settings;
  settings.lcores = {2};
  settings.memory_bytes = 64ULL << 20U;
  return settings;
}

PortSettings port_on(const std::string& device) {
  PortSettings port;
  port.device = device;
  return port;
}

bool has(const Arguments& arguments, const std::string& wanted) {
  return std::find(arguments.begin(), arguments.end(), wanted) != arguments.end();
}

// The argument behind each `option`.
Arguments values_of(const Arguments& arguments, const std::string& option) {
  Arguments values;
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    if (arguments[i] == option) {
      values.push_back(arguments[i + 1]);
    }
  }
  return values;
}

// What start-up says, or "started".
std::string fault_of(const DataplaneSettings& settings) {
  try {
    const Eal eal(settings);
    return "started";
  } catch (const StartFault& fault) {
    return fault.what();
  }
}

unsigned this_cpu() {
  return static_cast<unsigned>(sched_getcpu());
}

TEST(EalArguments, MapTheMainLcoreToAllCpusAndEachWorkerToItsOwn) {
  DataplaneSettings settings = small_settings();
  settings.lcores = {2, 5};
  const Arguments arguments = eal_arguments(settings, kCpus);
  const std::string main = std::to_string(RTE_MAX_LCORE - 1);
  EXPECT_TRUE(has(arguments, "--lcores=" + main + "@(0,2,5),2@2,5@5"));
  EXPECT_TRUE(has(arguments, "--main-lcore=" + main));
}

TEST(EalArguments, AskForTheMemoryInMebibytes) {
  EXPECT_EQ(values_of(eal_arguments(small_settings(), kCpus), "-m"), Arguments{"64"});
}

TEST(EalArguments, OnHugepagesLeaveNoFilesBehind) {
  const Arguments arguments = eal_arguments(small_settings(), kCpus);
  EXPECT_TRUE(has(arguments, "--in-memory"));
  EXPECT_FALSE(has(arguments, "--no-huge"));
}

TEST(EalArguments, WithoutHugepagesSaySo) {
  DataplaneSettings settings = small_settings();
  settings.hugepages = false;
  const Arguments arguments = eal_arguments(settings, kCpus);
  EXPECT_TRUE(has(arguments, "--no-huge"));
  EXPECT_TRUE(has(arguments, "--no-shconf"));
  EXPECT_FALSE(has(arguments, "--in-memory"));
}

TEST(EalArguments, AllowOnlyThePciDevicesThatArePorts) {
  DataplaneSettings settings = small_settings();
  settings.ports = {port_on("0000:03:00.0"), port_on("net_null0,size=64"), port_on("04:00.1")};
  const Arguments arguments = eal_arguments(settings, kCpus);
  EXPECT_EQ(values_of(arguments, "-a"), (Arguments{"0000:03:00.0", "04:00.1"}));
  EXPECT_FALSE(has(arguments, "--no-pci"));
}

TEST(EalArguments, AllowTheDevicesThatAreBoundIntoOne) {
  DataplaneSettings settings = small_settings();
  settings.ports = {port_on("net_bonding0,mode=4,slave=0000:03:00.0,slave=0000:03:00.1")};
  const Arguments arguments = eal_arguments(settings, kCpus);
  EXPECT_EQ(values_of(arguments, "-a"), (Arguments{"0000:03:00.0", "0000:03:00.1"}));
  EXPECT_FALSE(has(arguments, "--no-pci"));
}

TEST(EalArguments, TouchNoPciBusForVirtualDevices) {
  DataplaneSettings settings = small_settings();
  settings.ports = {port_on("net_af_packet0,iface=eth1")};
  const Arguments arguments = eal_arguments(settings, kCpus);
  EXPECT_TRUE(has(arguments, "--no-pci"));
  EXPECT_TRUE(values_of(arguments, "-a").empty());
  // The port makes its device itself, once its interface has been looked at.
  EXPECT_FALSE(std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument.find("net_af_packet") != std::string::npos;
  }));
}

TEST(EalArguments, EndWithTheOperatorsOwn) {
  DataplaneSettings settings = small_settings();
  settings.eal_arguments = {"--iova-mode=va", "--log-level=8"};
  const Arguments arguments = eal_arguments(settings, kCpus);
  EXPECT_EQ(Arguments(arguments.end() - 2, arguments.end()), settings.eal_arguments);
}

TEST(IsPciAddress, TellsAddressesFromVirtualDevices) {
  const std::vector<std::pair<std::string, bool>> cases{
      {"0000:03:00.0", true},
      {"03:00.0", true},
      {"ABCD:ef:1f.7", true},
      {"0000:03:00.0,dv_flow_en=2", true},
      {"0000:03:00.8", false},
      {"0000:03:00", false},
      {"000:03:00.0", false},
      {"0000:03:00.0 ", false},
      {"net_af_packet0,iface=eth1", false},
      {"net_null0", false},
      {"eth1", false},
      {"", false},
  };
  for (const auto& [device, expected] : cases) {
    EXPECT_EQ(is_pci_address(device), expected) << "'" << device << "'";
  }
}

TEST(EalFault, OfACpuThatIsNotThereNamesItsPlaceInTheList) {
  DataplaneSettings settings = small_settings();
  settings.hugepages = false;
  settings.lcores = {this_cpu(), 100'000};
  const std::string fault = fault_of(settings);
  EXPECT_EQ(fault.rfind("dataplane.lcores[1]: CPU 100000 is not one this process may run on; ", 0),
            0U)
      << fault;
}

TEST(EalFault, OfMissingHugepagesTellsBothNumbersAndTheWayOut) {
  DataplaneSettings settings = small_settings();
  settings.lcores = {this_cpu()};
  settings.memory_bytes = 1ULL << 40U;
  const std::string fault = fault_of(settings);
  EXPECT_EQ(fault.rfind("dataplane.memory: 1048576 MiB of hugepages are needed and ", 0), 0U)
      << fault;
  EXPECT_NE(fault.find(" MiB are free"), std::string::npos) << fault;
  EXPECT_NE(fault.find("deploy/host-setup"), std::string::npos) << fault;
  EXPECT_NE(fault.find("dataplane.no_hugepages: true"), std::string::npos) << fault;
}

TEST(EalFault, OfAZeroCopyMemifNamesThePortAndTheWayOut) {
  for (const char* device :
       {"net_memif0,role=client,zero-copy=yes", "net_memif1,zero-copy=yes,role=client,id=1"}) {
    DataplaneSettings settings = small_settings();
    settings.lcores = {this_cpu()};
    settings.ports = {port_on("net_null0"), port_on(device)};
    EXPECT_EQ(fault_of(settings),
              "ports[1].device: zero-copy=yes does not work in DPDK 22.11: its memif closes the "
              "memory it shares; leave it out");
  }
}

// What follows starts EAL, which a process can do once: each in a process of its own.
int refuses_an_argument() {
  DataplaneSettings settings = small_settings();
  settings.lcores = {this_cpu()};
  settings.hugepages = false;
  settings.eal_arguments = {"--no-such-option"};
  if (std::freopen("/dev/null", "w", stdout) == nullptr) {  // DPDK prints its usage there
    return 2;
  }
  const std::string fault = fault_of(settings);
  std::fputs(fault.c_str(), stderr);
  return fault.find("dataplane.eal_arguments") == std::string::npos ? 1 : 0;
}

int starts_and_leaves_no_trace() {
  DataplaneSettings settings = small_settings();
  settings.lcores = {this_cpu()};
  settings.hugepages = false;
  cpu_set_t before;
  cpu_set_t during;
  sched_getaffinity(0, sizeof(before), &before);
  std::string directory;
  {
    const Eal eal(settings);
    sched_getaffinity(0, sizeof(during), &during);
    directory = rte_eal_get_runtime_dir();
    if (CPU_EQUAL(&before, &during) == 0) {
      return 1;
    }
    if (rte_lcore_count() != 2 || rte_lcore_is_enabled(settings.lcores[0]) == 0) {
      return 2;
    }
  }
  return std::filesystem::exists(directory) ? 3 : 0;
}

TEST(EalDeathTest, AnArgumentDpdkDoesNotKnowIsAFaultThatNamesTheSetting) {
  EXPECT_EXIT(std::_Exit(refuses_an_argument()), ::testing::ExitedWithCode(0),
              "dataplane: DPDK did not start: .*dataplane\\.eal_arguments");
}

TEST(EalDeathTest, StartsAndKeepsTheCallersCpusAndLeavesNoRuntimeDirectory) {
  EXPECT_EXIT(std::_Exit(starts_and_leaves_no_trace()), ::testing::ExitedWithCode(0), "");
}

TEST(TableMemory, WithoutHugepagesIsZeroedAndAligned) {
  const TableMemory memory(1U << 20U, false, "dataplane.flows_ipv4");
  ASSERT_EQ(memory.region().size(), 1U << 20U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.region().data()) % 64, 0U);
  EXPECT_TRUE(std::all_of(memory.region().begin(), memory.region().end(),
                          [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST(TableMemory, ThatIsNotThereIsAFaultThatNamesTheSetting) {
  try {
    const TableMemory memory(std::size_t{1} << 60U, false, "dataplane.flows_ipv6");
    FAIL() << "an exbibyte was found";
  } catch (const StartFault& fault) {
    EXPECT_EQ(std::string(fault.what()).rfind("dataplane.flows_ipv6: no room for a table of ", 0),
              0U)
        << fault.what();
  }
}

}  // namespace
}  // namespace sluice
