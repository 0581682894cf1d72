// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/views.h"

#include <fmt/format.h>

namespace sluice::cli {
namespace {

std::string used(std::uint64_t count, std::uint32_t bound) {
  return bound == 0 ? std::to_string(count) : fmt::format("{}/{}", count, bound);
}

// Of a provider, or of a namespace.
template <typename Holder>
Row row_of(const std::string& provider, const std::string& space, std::uint64_t revision,
           const Holder& holder, bool counts_traffic, bool wide) {
  Row row{provider};
  if (wide) {
    row.push_back(space);
  }
  row.push_back(std::to_string(revision));
  row.push_back(used(holder.services(), holder.quota().services()));
  row.push_back(used(holder.addresses(), holder.quota().addresses()));
  row.push_back(used(holder.frontends(), holder.quota().frontends()));
  row.push_back(counts_traffic ? used(holder.flows(), holder.quota().flows()) : "-");
  row.push_back(counts_traffic ? used(holder.snat_ports(), holder.quota().snat_ports()) : "-");
  return row;
}

}  // namespace

Table table_of(const v1::ListProvidersResponse& response, bool wide) {
  Table table{{"NAME", "REVISION", "SERVICES", "ADDRESSES", "FRONTENDS", "FLOWS", "SNAT-PORTS"},
              {}};
  if (wide) {
    table.header.insert(table.header.begin() + 1, "NAMESPACE");
  }
  for (const auto& provider : response.providers()) {
    table.rows.push_back(row_of(provider.name(), "<all>", provider.revision(), provider,
                                provider.has_flows(), wide));
    for (const auto& space : provider.namespaces()) {
      if (wide) {
        table.rows.push_back(
            row_of(provider.name(), space.namespace_(), provider.revision(), space, true, wide));
      }
    }
  }
  return table;
}

}  // namespace sluice::cli
