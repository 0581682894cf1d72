// SPDX-License-Identifier: Apache-2.0
// The part of a configuration that says what each provider may have.
#include "controlplane/model/providers.h"
#include "controlplane/model/validate.h"

#include <set>

namespace sluice::model {
namespace {

void check_name(const std::string& name, const std::string& what, const std::string& path,
                std::set<std::string>& seen, Faults& faults) {
  if (!is_label(name)) {
    faults.add(path, "'" + name + "' is not a name; use 1 to 63 of a-z, 0-9 and '-'");
  } else if (!seen.insert(name).second) {
    faults.add(path, "'" + name + "' names two " + what + "; write one entry with all of it");
  }
}

std::vector<AddressRange> check_backend_ranges(const std::vector<std::string>& given,
                                               const std::string& path, Faults& faults) {
  std::vector<AddressRange> ranges;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::string at = path + "[" + std::to_string(i) + "]";
    const auto range = parse_address_range(given[i]);
    if (!range) {
      faults.add(at, "'" + given[i] + "' is no range of addresses; write it like 10.244.0.0/16, " +
                         "10.0.0.11-10.0.0.19 or 2001:db8::/64, without host bits");
      continue;
    }
    for (const AddressRange& other : ranges) {
      if (other.first <= range->last && range->first <= other.last) {
        faults.add(at, "'" + given[i] + "' overlaps with " + to_string(other) +
                           " of this provider; write each address once");
      }
    }
    ranges.push_back(*range);
  }
  return ranges;
}

}  // namespace

std::vector<ProviderTerms> validate_providers(const std::vector<ProviderInput>& input,
                                              Faults& faults) {
  std::vector<ProviderTerms> providers;
  std::set<std::string> names;
  for (std::size_t i = 0; i < input.size(); ++i) {
    const ProviderInput& given = input[i];
    const std::string path = "providers[" + std::to_string(i) + "]";
    check_name(given.name, "providers", path + ".name", names, faults);
    std::set<std::string> spaces;
    for (std::size_t n = 0; n < given.namespace_quotas.size(); ++n) {
      check_name(given.namespace_quotas[n].space, "namespaces of this provider",
                 path + ".namespaceQuotas[" + std::to_string(n) + "].namespace", spaces, faults);
    }
    providers.push_back(
        {given.name, check_backend_ranges(given.backend_ranges, path + ".backendRanges", faults),
         given.quota, given.namespace_quotas});
  }
  std::size_t quotas = providers.size();
  for (const ProviderTerms& terms : providers) {
    quotas += terms.namespace_quotas.size();
  }
  if (quotas > kQuotasMax) {
    faults.add("providers", std::to_string(quotas) + " providers and namespaces with quotas; " +
                                std::to_string(kQuotasMax) + " are the most");
  }
  return providers;
}

TrafficQuotas::TrafficQuotas(const std::vector<ProviderTerms>& providers) {
  const auto add = [this](const Quota& quota) {
    limits_.push_back(quota.traffic);
    return static_cast<std::uint16_t>(limits_.size());
  };
  for (const ProviderTerms& terms : providers) {
    providers_[terms.name] = add(terms.quota);
    for (const NamespaceQuota& space : terms.namespace_quotas) {
      spaces_[{terms.name, space.space}] = add(space.quota);
    }
  }
}

QuotaIds TrafficQuotas::of(const std::string& provider, const std::string& space) const {
  const auto all = providers_.find(provider);
  if (all == providers_.end()) {
    return {};
  }
  const auto own = spaces_.find({provider, space});
  return {all->second, own == spaces_.end() ? std::uint16_t{0} : own->second};
}

}  // namespace sluice::model
