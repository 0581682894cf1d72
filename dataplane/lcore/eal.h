// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace sluice {

// The arguments rte_eal_init gets for these settings; pure. `cpus`: the calling process's affinity.
// The main lcore is a number above all CPUs, mapped to all of them, so that it takes no core away.
std::vector<std::string> eal_arguments(const DataplaneSettings& settings,
                                       std::span<const unsigned> cpus);

// "0000:03:00.0" and the like, against a virtual device with its arguments.
[[nodiscard]] bool is_pci_address(const std::string& device);

// DPDK's environment for the life of this object; one a process, once.
class Eal {
 public:
  // Throws StartFault. The CPU affinity of the calling thread is as before on return.
  explicit Eal(const DataplaneSettings& settings);
  ~Eal();
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;

  // What DPDK logged last; it logs nothing else anywhere.
  [[nodiscard]] static std::string last_message();
};

// Zeroed memory aligned to 64 bytes for a flow table: from DPDK's hugepages, or anonymous pages
// when there are none. Throws StartFault naming `setting` when there is not enough.
class TableMemory {
 public:
  // On NUMA node `socket`: hugepages are taken there, other pages where they are touched first.
  TableMemory(std::size_t bytes, bool hugepages, const std::string& setting, int socket = -1);
  ~TableMemory();
  TableMemory(const TableMemory&) = delete;
  TableMemory& operator=(const TableMemory&) = delete;
  [[nodiscard]] std::span<std::byte> region() const {
    return {static_cast<std::byte*>(address_), bytes_};
  }

 private:
  void* address_ = nullptr;
  std::size_t bytes_;
  bool hugepages_;
};

}  // namespace sluice
