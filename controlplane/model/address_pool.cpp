// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/address_pool.h"

#include <algorithm>

namespace sluice::model {
namespace {

std::size_t bytes_of(const IpAddress& address) {
  return address.bits() / 8U;
}

bool names(const std::vector<std::string>& list, const std::string& name) {
  return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

std::optional<IpAddress> next_address(const IpAddress& address) {
  IpAddress next = address;
  for (std::size_t i = bytes_of(next); i-- > 0;) {
    if (++next.bytes[i] != 0) {
      return next;
    }
  }
  return std::nullopt;
}

std::optional<AddressRange> parse_address_range(std::string_view text) {
  if (const auto prefix = parse_prefix(text)) {
    return AddressRange{prefix->address, last_of(*prefix)};
  }
  const std::size_t dash = text.find('-');
  const auto first = parse_ip(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_ip(text.substr(dash + 1));
  if (!first || !last || first->family != last->family || *last < *first) {
    return std::nullopt;
  }
  return AddressRange{*first, *last};
}

std::string to_string(const AddressRange& range) {
  const std::string first = sluice::to_string(range.first);
  return range.first == range.last ? first : first + "-" + sluice::to_string(range.last);
}

bool AddressPool::contains(const IpAddress& address) const {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const AddressRange& range) { return range.contains(address); });
}

bool AddressPool::serves(const std::string& provider, const Service& service) const {
  return names(providers, provider) && names(namespaces, service.name.space) &&
         std::all_of(service_selector.begin(), service_selector.end(), [&](const auto& wanted) {
           const auto label = service.labels.find(wanted.first);
           return label != service.labels.end() && label->second == wanted.second;
         });
}

}  // namespace sluice::model
