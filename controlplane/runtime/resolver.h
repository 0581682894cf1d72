// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sluice::runtime {

// What is known of a name.
struct ResolvedName {
  std::string name;
  std::vector<IpAddress> addresses;  // sorted; the last that were found
  std::string fault;                 // why they are not of now; empty: they are

  friend bool operator==(const ResolvedName&, const ResolvedName&) = default;
};

// Follows the addresses of names by DNS (c-ares): asks again when the shortest time to live of the
// answer is over, 1 s at least and an hour at most, and every 5 s while there is none. A family
// without an answer keeps what it had; so does a name that has no address any more, since a broken
// zone is likelier than a service that has moved to nowhere. One thread of its own.
class Resolver {
 public:
  // Called on its thread, when something is different. Must not block.
  using Tell = std::function<void(const ResolvedName&)>;

  // `servers`: "ADDRESS:PORT"; none: those of resolv.conf. Throws std::runtime_error.
  Resolver(const std::vector<std::string>& servers, Tell tell);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Any thread; never blocks. A name that is followed already is asked for at once.
  void follow(const std::string& name);
  void forget(const std::string& name);

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace sluice::runtime
