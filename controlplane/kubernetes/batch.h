// SPDX-License-Identifier: Apache-2.0
// One write of differences, and what a gateway's answer says of its parts.
#pragma once

#include "controlplane/client/error.h"
#include "controlplane/model/service.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sluice/v1/gateway.pb.h"

namespace sluice::kubernetes {

using model::ServiceName;

// Equal messages have equal prints; never 0, which so stands for a form that is not known. `bytes`
// grows by the message's.
[[nodiscard]] std::uint64_t print_of(const google::protobuf::Message& message, std::size_t& bytes);

struct Batch {
  struct Upsert {
    ServiceName name;
    v1::Service service;
    std::uint64_t print = 0;
    [[nodiscard]] std::vector<std::string> vips() const;
  };
  std::vector<Upsert> upserts;  // by their place in the request
  std::vector<ServiceName> gone;
  std::size_t bytes = 0;  // of the upserts

  [[nodiscard]] bool empty() const { return upserts.empty() && gone.empty(); }
  [[nodiscard]] std::size_t size() const { return upserts.size() + gone.size(); }
  [[nodiscard]] v1::ApplyRequest request() const;
  // Deletions first: an address that goes from one service to another is free by then.
  [[nodiscard]] std::pair<Batch, Batch> halves() &&;
};

// About the services themselves, so that without the faulty ones the others can be had.
[[nodiscard]] bool is_about_services(const client::Error& error);
// Which upserts of the batch the answer is about, in their order; empty: it does not say.
[[nodiscard]] std::vector<std::size_t> culprits(const client::Error& error, const Batch& batch);
// Which deletions the answer says are of nothing, in their order.
[[nodiscard]] std::vector<std::size_t> gone_already(const client::Error& error, const Batch& batch);
// What the answer says of the upsert at `place`; never empty.
[[nodiscard]] std::string refusal_of(const client::Error& error, std::size_t place);
// The VIP of the upsert at `place` that the answer says is not to be had; empty: none.
[[nodiscard]] std::string refused_vip_of(const client::Error& error, std::size_t place,
                                         const v1::Service& service);

}  // namespace sluice::kubernetes
