// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/flow_key.h"
#include "dataplane/snapshot/backends.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace sluice {

// Which endpoint the clients of services with session affinity go to: one lcore's part of it, which
// are the clients that Ownership::of_client gives it.
//
//   (client, service port id) --keyed hash--> bucket of 4 entries: | client | service | slot,
//                                                                 | incarnation | since | timeout |
//
// A full bucket gives up its oldest entry, so the table is bounded and never refuses; what it gave
// up before its time is counted by the caller. An entry names a binding with its incarnation, so
// one that outlived its endpoint is found out by whoever asks (decisions.h). All memory is taken
// when it is made.
class Affinity {
 public:
  // Room for about `clients` of them (rounded up to a power of two), 32 bytes each.
  explicit Affinity(std::uint32_t clients = 1024, const HashSecret& secret = {});

  // Nothing when the client has none, or had it longer than `timeout_ms` ago.
  [[nodiscard]] std::optional<BindingRef> find(const IpAddress& client, std::uint32_t service_port,
                                               std::uint32_t now_ms,
                                               std::uint32_t timeout_ms) const;
  // From now on. True when another client's had to go before its time. timeout_ms > 0.
  bool remember(const IpAddress& client, std::uint32_t service_port, BindingRef where,
                std::uint32_t now_ms, std::uint32_t timeout_ms);

 private:
  static constexpr std::size_t kWays = 4;
  struct Entry {
    std::array<std::uint8_t, 16> client{};
    std::uint32_t service_port = 0;  // of one family only, so the address needs none
    BindingRef where;
    std::uint32_t since_ms = 0;
    std::uint32_t timeout_ms = 0;  // 0: the entry is empty
  };
  static_assert(sizeof(Entry) == 32);
  using Bucket = std::array<Entry, kWays>;

  [[nodiscard]] std::size_t bucket_of(const IpAddress& client, std::uint32_t service_port) const;

  std::vector<Bucket> buckets_;
  HashSecret secret_;
};

}  // namespace sluice
