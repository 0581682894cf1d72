// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::bench {

// The services of the bench as a provider keeps them: each with a VIP of its own, one UDP port and
// the same number of endpoints, every endpoint an address of its own, with the fields that a
// Kubernetes adapter fills in.
class Fleet {
 public:
  static constexpr const char* kProvider = "bench";
  static constexpr std::uint16_t kPort = 80;

  Fleet(std::uint32_t services, std::uint32_t endpoints_each);

  [[nodiscard]] std::uint32_t services() const { return static_cast<std::uint32_t>(all_.size()); }
  [[nodiscard]] std::uint64_t endpoints() const {
    return std::uint64_t{services()} * endpoints_each_;
  }
  // 172.16.0.0/12, host order.
  [[nodiscard]] static std::uint32_t vip(std::uint32_t service) { return 0xac100001U + service; }

  // Everything, in transactions of `each` services.
  [[nodiscard]] std::vector<v1::ApplyRequest> everything(std::uint32_t each) const;
  // A transaction in which `count` services have one endpoint changed, one after the other in an
  // order that skips about: turn by turn it becomes unready, ready again, or another pod takes its
  // place. Services are sent whole, as the API has them.
  [[nodiscard]] v1::ApplyRequest next_changes(std::uint32_t count);

 private:
  struct Endpoint {
    std::uint32_t address = 0;  // host order
    bool ready = true;
  };
  using Service = std::vector<Endpoint>;
  std::uint32_t change_one();
  void fill(std::uint32_t service, v1::Service& message) const;

  std::uint32_t endpoints_each_;
  std::vector<Service> all_;
  std::uint32_t next_address_;
  std::uint64_t changes_ = 0;
};

}  // namespace sluice::bench
