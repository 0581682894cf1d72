// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_malloc.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <regex>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

namespace sluice {
namespace {

constexpr unsigned kMainLcore = RTE_MAX_LCORE - 1;

std::mutex log_mutex;
std::string log_line;

ssize_t keep_line(void* /*cookie*/, const char* text, std::size_t length) {
  const std::lock_guard lock(log_mutex);
  std::string line(text, std::min<std::size_t>(length, 300));
  line.erase(std::find(line.begin(), line.end(), '\n'), line.end());
  if (!line.empty()) {
    log_line = std::move(line);
  }
  return static_cast<ssize_t>(length);
}

void quieten_log() {
  cookie_io_functions_t functions{};
  functions.write = keep_line;
  std::FILE* stream = fopencookie(nullptr, "w", functions);
  if (stream != nullptr) {
    std::setvbuf(stream, nullptr, _IOLBF, 512);
    rte_openlog_stream(stream);
  }
}

std::vector<unsigned> affinity(const cpu_set_t& set) {
  std::vector<unsigned> cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) {
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

std::uint64_t free_hugepage_bytes() {
  std::uint64_t bytes = 0;
  for (const auto& [name, size] : {std::pair{"2048kB", 2ULL << 20U}, {"1048576kB", 1ULL << 30U}}) {
    std::ifstream file(std::string("/sys/kernel/mm/hugepages/hugepages-") + name +
                       "/free_hugepages");
    std::uint64_t pages = 0;
    if (file >> pages) {
      bytes += pages * size;
    }
  }
  return bytes;
}

// The driver in DPDK 22.11 closes the file of EAL's own memory when such a port connects. The next
// one, or a peer that comes back, is then handed whatever file has the number, and EAL resizes it.
void check_memif(const DataplaneSettings& settings) {
  for (std::size_t i = 0; i < settings.ports.size(); ++i) {
    const std::string& device = settings.ports[i].device;
    if (device.rfind("net_memif", 0) == 0 &&
        (device + ",").find(",zero-copy=yes,") != std::string::npos) {
      throw StartFault("ports[" + std::to_string(i) + "].device: zero-copy=yes does not work in " +
                       "DPDK 22.11: its memif closes the memory it shares; leave it out");
    }
  }
}

void check_hugepages(const DataplaneSettings& settings) {
  const std::uint64_t free = free_hugepage_bytes();
  if (settings.hugepages && free < settings.memory_bytes) {
    throw StartFault(
        "dataplane.memory: " + std::to_string(settings.memory_bytes >> 20U) +
        " MiB of hugepages are needed and " + std::to_string(free >> 20U) +
        " MiB are free; reserve more with deploy/host-setup, or set dataplane.no_hugepages: true");
  }
}

void check_lcores(const DataplaneSettings& settings, std::span<const unsigned> cpus) {
  for (std::size_t i = 0; i < settings.lcores.size(); ++i) {
    const unsigned lcore = settings.lcores[i];
    if (std::find(cpus.begin(), cpus.end(), lcore) == cpus.end() || lcore >= kMainLcore) {
      throw StartFault("dataplane.lcores[" + std::to_string(i) + "]: CPU " + std::to_string(lcore) +
                       " is not one this process may run on; name one that is online and allowed");
    }
  }
}

// DPDK makes one for each --file-prefix and leaves it. Only an empty one goes.
void remove_runtime_directory() {
  rmdir(rte_eal_get_runtime_dir());
}

}  // namespace

bool is_pci_address(const std::string& device) {
  static const std::regex pattern("([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7](,.*)?");
  return std::regex_match(device, pattern);
}

namespace {

// Those that a port needs: its own, or those that net_bonding binds into one.
std::vector<std::string> pci_devices_of(const std::string& device) {
  if (is_pci_address(device)) {
    return {device};
  }
  std::vector<std::string> devices;
  const std::string key = ",slave=";
  for (std::size_t at = device.find(key); at != std::string::npos; at = device.find(key, at + 1)) {
    const std::size_t begin = at + key.size();
    const std::string slave = device.substr(begin, device.find(',', begin) - begin);
    if (is_pci_address(slave)) {
      devices.push_back(slave);
    }
  }
  return devices;
}

}  // namespace

std::vector<std::string> eal_arguments(const DataplaneSettings& settings,
                                       std::span<const unsigned> cpus) {
  std::string all;
  for (const unsigned cpu : cpus) {
    all += (all.empty() ? "" : ",") + std::to_string(cpu);
  }
  std::string lcores = std::to_string(kMainLcore) + "@(" + all + ")";
  for (const unsigned lcore : settings.lcores) {
    lcores += "," + std::to_string(lcore) + "@" + std::to_string(lcore);
  }
  std::vector<std::string> arguments{"sluiced",
                                     "--lcores=" + lcores,
                                     "--main-lcore=" + std::to_string(kMainLcore),
                                     "--no-telemetry",
                                     "--file-prefix=sluice-" + std::to_string(getpid()),
                                     "-m",
                                     std::to_string(settings.memory_bytes >> 20U)};
  if (settings.hugepages) {
    arguments.emplace_back("--in-memory");
  } else {
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
  }
  bool pci = false;
  for (const PortSettings& port : settings.ports) {
    for (const std::string& device : pci_devices_of(port.device)) {
      arguments.insert(arguments.end(), {"-a", device});
      pci = true;
    }
  }
  if (!pci) {
    arguments.emplace_back("--no-pci");
  }
  arguments.insert(arguments.end(), settings.eal_arguments.begin(), settings.eal_arguments.end());
  return arguments;
}

Eal::Eal(const DataplaneSettings& settings) {
  cpu_set_t before;
  CPU_ZERO(&before);
  sched_getaffinity(0, sizeof(before), &before);
  const std::vector<unsigned> cpus = affinity(before);
  check_lcores(settings, cpus);
  check_memif(settings);
  check_hugepages(settings);
  quieten_log();
  std::vector<std::string> arguments = eal_arguments(settings, cpus);
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  optind = 1;
  const int result = rte_eal_init(static_cast<int>(argv.size()) - 1, argv.data());
  sched_setaffinity(0, sizeof(before), &before);
  if (result < 0) {
    remove_runtime_directory();
    throw StartFault("dataplane: DPDK did not start: " + std::string(rte_strerror(rte_errno)) +
                     " (" + last_message() + "); look at dataplane.memory and " +
                     "dataplane.eal_arguments");
  }
}

Eal::~Eal() {
  rte_eal_cleanup();
  remove_runtime_directory();
}

std::string Eal::last_message() {
  const std::lock_guard lock(log_mutex);
  return log_line;
}

TableMemory::TableMemory(std::size_t bytes, bool hugepages, const std::string& setting, int socket)
    : bytes_(bytes), hugepages_(hugepages) {
  if (hugepages_) {
    address_ = rte_zmalloc_socket("flow table", bytes_, RTE_CACHE_LINE_SIZE, socket);
    if (address_ == nullptr) {
      address_ = rte_zmalloc("flow table", bytes_, RTE_CACHE_LINE_SIZE);
    }
  } else {
    void* mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped != MAP_FAILED) {
      address_ = mapped;
      madvise(address_, bytes_, MADV_HUGEPAGE);
    }
  }
  if (address_ == nullptr) {
    throw StartFault(setting + ": no room for a table of " + std::to_string(bytes_ >> 20U) +
                     " MiB; raise dataplane.memory or lower this setting");
  }
}

TableMemory::~TableMemory() {
  if (hugepages_) {
    rte_free(address_);
  } else {
    munmap(address_, bytes_);
  }
}

}  // namespace sluice
