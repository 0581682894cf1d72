// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/observed.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

struct nlattr;
struct nlmsghdr;

// What one rtnetlink message says, as values. Nothing here asks the kernel anything.
namespace sluice::runtime {

struct LinkNews {
  int interface = 0;
  bool up = false;       // as the administrator wants it
  bool carrier = false;  // as it is
  bool gone = false;
};

struct AddressNews {
  model::KernelAddress address;
  bool gone = false;
};

// What makes two routes stand beside each other and not for each other. `table` counts the local
// one before the main one, as the kernel asks them.
struct RouteKey {
  IpPrefix prefix;
  std::uint8_t table = 0;
  std::uint32_t metric = 0;

  friend auto operator<=>(const RouteKey&, const RouteKey&) = default;
};

// One next hop of a route.
struct Way {
  model::KernelRoute::Kind kind = model::KernelRoute::Kind::kUnicast;
  int interface = 0;
  std::optional<IpAddress> gateway;

  friend bool operator==(const Way&, const Way&) = default;
};

struct RouteNews {
  enum class Verb { kPrepend, kAppend, kReplace, kDelete };
  Verb verb = Verb::kAppend;
  RouteKey key;
  std::vector<Way> ways;
};

using NeighbourKey = std::pair<int, IpAddress>;

struct NeighbourNews {
  model::KernelNeighbour neighbour;
  bool fixed = false;    // permanent, or of a link without resolution: the kernel never probes
  bool managed = false;  // NTF_EXT_MANAGED
  bool gone = false;
};

using News = std::variant<std::monostate, LinkNews, AddressNews, RouteNews, NeighbourNews>;

// std::monostate for what the gateway has no use for: other families, other tables, routes by
// source or service class, routes of the kernel's own making for groups and broadcast, proxies.
[[nodiscard]] News decode(nlmsghdr* message);

// Of an attribute that holds an address, in a message of this family (AF_INET, AF_INET6); nothing
// when it is absent (null) or of another length.
std::optional<IpAddress> address_of(int family, const nlattr* attribute);

}  // namespace sluice::runtime
