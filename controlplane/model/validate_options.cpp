// SPDX-License-Identifier: Apache-2.0
// The part of a service that says how its clients and their flows are treated.
#include "controlplane/model/validate.h"
#include "dataplane/snapshot/source_ranges.h"

#include <charconv>

namespace sluice::model {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  const std::size_t last = text.find_last_not_of(" \t");
  return first == std::string_view::npos ? "" : text.substr(first, last - first + 1);
}

// As Kubernetes reads them: spaces around are dropped, and so are host bits.
std::optional<IpPrefix> parse_range(std::string_view text) {
  const std::string_view range = trimmed(text);
  const std::size_t slash = range.find('/');
  const auto address = parse_ip(range.substr(0, slash));
  if (!address || slash == std::string_view::npos) {
    return std::nullopt;
  }
  std::uint8_t length = 0;
  const char* end = range.data() + range.size();
  const auto [stop, error] = std::from_chars(range.data() + slash + 1, end, length);
  if (error != std::errc{} || stop != end || length > address->bits()) {
    return std::nullopt;
  }
  return prefix_of(*address, length);
}

std::vector<IpPrefix> check_ranges(const std::vector<std::string>& given, const std::string& path,
                                   Faults& faults) {
  std::vector<IpPrefix> ranges;
  if (given.size() > SourceRanges::kPrefixesMax) {
    faults.add(path, std::to_string(given.size()) + " prefixes are given; a list has at most " +
                         std::to_string(SourceRanges::kPrefixesMax));
    return ranges;
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto range = parse_range(given[i]);
    if (range) {
      ranges.push_back(*range);
    } else {
      faults.add(
          path + "[" + std::to_string(i) + "]",
          "'" + given[i] + "' is not a prefix; write it like 192.0.2.0/24 or " + "2001:db8::/32");
    }
  }
  return ranges;
}

}  // namespace

ServiceOptions validate_options(const ServiceInput& input, const std::string& spec,
                                Faults& faults) {
  ServiceOptions options;
  options.source_ranges =
      check_ranges(input.source_ranges, spec + ".loadBalancerSourceRanges", faults);
  options.deny_source_ranges =
      check_ranges(input.deny_source_ranges, spec + ".forwarding.denySourceRanges", faults);
  return options;
}

}  // namespace sluice::model
