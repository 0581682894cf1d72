// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/backend_ranges.h"

#include <algorithm>
#include <set>

namespace sluice::model {
namespace {

// Enough to see which kind of address was meant; an error is bounded.
constexpr std::size_t kRangesTold = 3;

std::string told(const std::vector<AddressRange>& ranges) {
  std::string text;
  for (std::size_t i = 0; i < std::min(ranges.size(), kRangesTold); ++i) {
    text += (i == 0 ? "" : ", ") + to_string(ranges[i]);
  }
  return ranges.size() > kRangesTold
             ? text + " and " + std::to_string(ranges.size() - kRangesTold) + " more"
             : text;
}

// Where it is over. The last IPv4 address is followed by the first IPv6 one, as they are ordered.
std::optional<IpAddress> end_of(const AddressRange& range) {
  const auto next = next_address(range.last);
  return next || !range.last.is_ipv4() ? next : std::optional(IpAddress(Ipv6Address{}));
}

}  // namespace

BackendRanges::BackendRanges(const std::vector<ProviderTerms>& providers) {
  struct Turn {
    std::set<std::size_t> ends;
    std::set<std::size_t> begins;
  };
  std::map<IpAddress, Turn> turns;
  for (const ProviderTerms& provider : providers) {
    for (const AddressRange& range : provider.backend_ranges) {
      turns[range.first].begins.insert(owners_.size());
      if (const auto end = end_of(range)) {
        turns[*end].ends.insert(owners_.size());
      }
    }
    if (!provider.backend_ranges.empty()) {
      by_name_[provider.name] = owners_.size();
      owners_.push_back({provider.name, told(provider.backend_ranges)});
    }
  }
  std::set<std::size_t> present;
  for (const auto& [address, turn] : turns) {
    // A range may begin where another of the same provider ends.
    for (const std::size_t owner : turn.ends) {
      present.erase(owner);
    }
    present.insert(turn.begins.begin(), turn.begins.end());
    pieces_.push_back({address, {present.begin(), present.end()}});
  }
}

const std::vector<std::size_t>& BackendRanges::owners_of(const IpAddress& address) const {
  static const std::vector<std::size_t> kNobody;
  const auto after =
      std::upper_bound(pieces_.begin(), pieces_.end(), address,
                       [](const IpAddress& at, const Piece& piece) { return at < piece.first; });
  return after == pieces_.begin() ? kNobody : std::prev(after)->owners;
}

std::optional<std::size_t> BackendRanges::owner(const std::string& provider) const {
  const auto at = by_name_.find(provider);
  return at == by_name_.end() ? std::nullopt : std::optional(at->second);
}

bool BackendRanges::allows(const std::string& provider, const IpAddress& address) const {
  const auto own = owner(provider);
  const std::vector<std::size_t>& owners = owners_of(address);
  return own ? owners == std::vector{*own} : owners.empty();
}

std::string BackendRanges::why_not(const std::string& provider, const IpAddress& address) const {
  if (allows(provider, address)) {
    return "";
  }
  const auto own = owner(provider);
  const std::vector<std::size_t>& owners = owners_of(address);
  const std::string text = "'" + sluice::to_string(address) + "' is ";
  if (!own) {
    return text + "in the backend ranges of provider '" + owners_[owners.front()].name +
           "', and provider '" + provider +
           "' declares none; use another address, or give it backendRanges under providers";
  }
  if (std::find(owners.begin(), owners.end(), *own) == owners.end()) {
    return text + "outside the backend ranges of provider '" + provider +
           "'; use an address of them, or add it to its backendRanges under providers (" +
           owners_[*own].ranges + ")";
  }
  const std::size_t other = owners[owners.front() == *own ? 1 : 0];
  return text + "in the backend ranges of provider '" + provider + "' and of provider '" +
         owners_[other].name +
         "', so nobody could say whose it is; deliver to nodes (sluice.dev/delivery: node), or "
         "give the clusters distinct ranges";
}

}  // namespace sluice::model
