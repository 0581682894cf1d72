// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/snapshot.h"

namespace sluice {

std::shared_ptr<const Snapshot> Snapshot::empty() {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->addresses = std::make_shared<AddressTable>();
  snapshot->bindings = std::make_shared<BindingTable>();
  snapshot->next_hops = std::make_shared<NextHopTable>();
  snapshot->routes = std::make_shared<RouteTable>();
  return snapshot;
}

}  // namespace sluice
