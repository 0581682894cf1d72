// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/providers.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sluice::model {

// As whom the doctor probes: wherever somebody's endpoints may be, its may, for as long as it
// takes.
inline constexpr const char* kProbeProvider = "sluice-doctor";

// Whose the backends at an address are. The ranges of all providers are cut where one begins or
// ends, so that whoever lies within a piece lies within all of it:
//
//   west  |-----------|            pieces: |  w  | w,e  |  e  |
//   east        |------------|
//
// A look-up is one binary search, however many providers and ranges there are: a transaction may
// bring a million endpoints.
class BackendRanges {
 public:
  explicit BackendRanges(const std::vector<ProviderTerms>& providers = {});

  // Nobody declares any, so that everything is allowed.
  [[nodiscard]] bool empty() const { return pieces_.empty(); }
  [[nodiscard]] bool allows(const std::string& provider, const IpAddress& address) const;
  // Why the provider may not have a backend there, and the way out; empty: it may.
  [[nodiscard]] std::string why_not(const std::string& provider, const IpAddress& address) const;

 private:
  struct Owner {
    std::string name;
    std::string ranges;  // for people
  };
  struct Piece {
    IpAddress first;                  // up to the first of the next piece
    std::vector<std::size_t> owners;  // of owners_, ascending; may be none
  };
  [[nodiscard]] const std::vector<std::size_t>& owners_of(const IpAddress& address) const;
  [[nodiscard]] std::optional<std::size_t> owner(const std::string& provider) const;

  std::vector<Owner> owners_;  // who declares any
  std::map<std::string, std::size_t> by_name_;
  std::vector<Piece> pieces_;  // by first
};

}  // namespace sluice::model
