// SPDX-License-Identifier: Apache-2.0
// The part of a service that says how its clients and their flows are treated.
#include "controlplane/model/config.h"
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

constexpr std::uint32_t kAffinityDefaultSeconds = 10'800;
constexpr std::int64_t kAffinityMaxSeconds = 86'400;
constexpr std::uint32_t kMssMin = 536;  // RFC 9293 §3.7.1: what every IPv4 host takes
constexpr std::uint32_t kMssMax = 8'960;

std::uint32_t check_affinity(const ServiceInput& input, const std::string& spec, Faults& faults) {
  const std::string& word = input.session_affinity;
  const std::string config = spec + ".sessionAffinityConfig";
  if (word.empty() || word == "None") {
    if (input.has_affinity_config) {
      faults.add(config, "it is for sessionAffinity: ClientIP only; leave one of them out");
    }
    return 0;
  }
  if (word != "ClientIP") {
    faults.add(spec + ".sessionAffinity", "'" + word + "' is unknown; use 'None' or 'ClientIP'");
    return 0;
  }
  const std::int64_t seconds = input.affinity_seconds.value_or(kAffinityDefaultSeconds);
  if (seconds < 1 || seconds > kAffinityMaxSeconds) {
    faults.add(config + ".clientIP.timeoutSeconds",
               std::to_string(seconds) + " is out of range; use 1 to 86400");
    return 0;
  }
  return static_cast<std::uint32_t>(seconds);
}

struct Bounds {
  std::uint64_t low_ms;
  std::uint64_t high_ms;
};
constexpr std::uint64_t kHourMs = 3'600'000;
constexpr Bounds kUdpBounds{1'000, 24 * kHourMs};
constexpr Bounds kEstablishedBounds{10'000, 168 * kHourMs};
constexpr Bounds kTransitoryBounds{1'000, kHourMs};
constexpr Bounds kDrainBounds{1'000, 24 * kHourMs};

std::uint32_t check_duration(const std::string& text, const Bounds& bounds, const std::string& path,
                             Faults& faults) {
  if (text.empty()) {
    return 0;
  }
  const auto us = parse_duration_us(text);
  if (!us || *us % 1'000 != 0 || *us / 1'000 < bounds.low_ms || *us / 1'000 > bounds.high_ms) {
    faults.add(path, "'" + text + "' is not a duration of " + duration_text(bounds.low_ms) +
                         " to " + duration_text(bounds.high_ms) + "; write it like 90s or 2h4m");
    return 0;
  }
  return static_cast<std::uint32_t>(*us / 1'000);
}

// Against the defaults (state/flow.h) where only one of them is given.
void check_timers(const ServiceInput& input, const std::string& path, ServiceOptions& options,
                  Faults& faults) {
  constexpr std::uint32_t kEstablishedMs = 7'440'000;
  constexpr std::uint32_t kTransitoryMs = 240'000;
  options.udp_ms = check_duration(input.udp_timer, kUdpBounds, path + ".udp", faults);
  options.tcp_established_ms = check_duration(input.tcp_established_timer, kEstablishedBounds,
                                              path + ".tcpEstablished", faults);
  options.tcp_transitory_ms = check_duration(input.tcp_transitory_timer, kTransitoryBounds,
                                             path + ".tcpTransitory", faults);
  const auto or_default = [](std::uint32_t given, std::uint32_t otherwise) {
    return given == 0 ? otherwise : given;
  };
  const std::uint32_t established = or_default(options.tcp_established_ms, kEstablishedMs);
  const std::uint32_t transitory = or_default(options.tcp_transitory_ms, kTransitoryMs);
  if (established < transitory) {
    faults.add(path + ".tcpEstablished",
               "'" + duration_text(established) + "' is shorter than tcpTransitory, which is " +
                   duration_text(transitory) + "; raise it, or lower tcpTransitory too");
  }
}

}  // namespace

ServiceOptions validate_options(const ServiceInput& input, const std::string& spec,
                                Faults& faults) {
  ServiceOptions options;
  options.source_ranges =
      check_ranges(input.source_ranges, spec + ".loadBalancerSourceRanges", faults);
  options.deny_source_ranges =
      check_ranges(input.deny_source_ranges, spec + ".forwarding.denySourceRanges", faults);
  options.affinity_seconds = check_affinity(input, spec, faults);
  check_timers(input, spec + ".forwarding.timers", options, faults);
  if (input.mss_clamp != 0 && (input.mss_clamp < kMssMin || input.mss_clamp > kMssMax)) {
    faults.add(spec + ".forwarding.mssClamp",
               std::to_string(input.mss_clamp) + " is out of range; use 536 to 8960");
  }
  options.mss_clamp = static_cast<std::uint16_t>(input.mss_clamp);
  options.drain_deadline_ms = check_duration(input.drain_deadline, kDrainBounds,
                                             spec + ".forwarding.drainDeadline", faults);
  options.reset_on_removal = input.on_endpoint_removal == "reset";
  return options;
}

}  // namespace sluice::model
