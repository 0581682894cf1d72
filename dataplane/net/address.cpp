// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/address.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>

namespace sluice {

bool IpAddress::is_unspecified() const {
  return (word(0) | word(1)) == 0;
}

bool IpAddress::is_loopback() const {
  if (is_ipv4()) {
    return bytes[0] == 127;
  }
  std::array<std::uint8_t, 16> loopback{};
  loopback[15] = 1;
  return bytes == loopback;
}

bool IpAddress::is_multicast() const {
  return is_ipv4() ? (bytes[0] & 0xf0) == 0xe0 : bytes[0] == 0xff;
}

bool IpAddress::is_link_local() const {
  return is_ipv4() ? bytes[0] == 169 && bytes[1] == 254 : v6().is_link_local();
}

bool IpPrefix::contains(const IpAddress& other) const {
  return other.family == address.family && prefix_of(other, length).address == address;
}

IpPrefix prefix_of(const IpAddress& address, std::uint8_t length) {
  IpPrefix prefix{address, length};
  for (unsigned word = 0; word < 2; ++word) {
    const unsigned kept = length <= 64 * word ? 0 : std::min(64U, length - 64 * word);
    const std::uint64_t mask = kept == 0 ? 0 : ~0ULL << (64 - kept);
    std::uint8_t* at = prefix.address.bytes.data() + std::size_t{8} * word;
    store(at, load<std::uint64_t>(at) & __builtin_bswap64(mask));
  }
  return prefix;
}

IpAddress last_of(const IpPrefix& prefix) {
  IpAddress last = prefix.address;
  for (unsigned bit = prefix.length; bit < last.bits(); ++bit) {
    last.bytes[bit / 8] = static_cast<std::uint8_t>(last.bytes[bit / 8] | 0x80U >> bit % 8);
  }
  return last;
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  const std::string terminated(text);
  if (terminated.size() != text.size() || terminated.find('\0') != std::string::npos) {
    return std::nullopt;
  }
  Ipv4Address v4{};
  if (inet_pton(AF_INET, terminated.c_str(), &v4) == 1) {
    return IpAddress(v4);
  }
  Ipv6Address v6{};
  if (inet_pton(AF_INET6, terminated.c_str(), &v6) == 1) {
    return IpAddress(v6);
  }
  return std::nullopt;
}

std::optional<IpPrefix> parse_prefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto address = parse_ip(text.substr(0, slash));
  const std::string_view digits = text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), length);
  if (!address || error != std::errc{} || end != digits.end() || length > address->bits()) {
    return std::nullopt;
  }
  const IpPrefix prefix = prefix_of(*address, static_cast<std::uint8_t>(length));
  if (prefix.address != *address) {
    return std::nullopt;
  }
  return prefix;
}

std::optional<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac{};
  if (text.size() != 17) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < 6; ++i) {
    const std::string_view digits = text.substr(i * 3, 2);
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), mac.bytes[i], 16);
    if (error != std::errc{} || end != digits.end() || (i < 5 && text[i * 3 + 2] != ':')) {
      return std::nullopt;
    }
  }
  return mac;
}

std::string to_string(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = address.is_ipv4() ? AF_INET : AF_INET6;
  inet_ntop(family, address.bytes.data(), text.data(), text.size());
  return text.data();
}

std::string to_string(const IpPrefix& prefix) {
  return to_string(prefix.address) + "/" + std::to_string(prefix.length);
}

std::string to_string(Family family) {
  return family == Family::kIpv4 ? "IPv4" : "IPv6";
}

std::string to_string(const MacAddress& mac) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : mac.bytes) {
    if (!text.empty()) {
      text += ':';
    }
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string to_string(const IpAddress& address, std::uint16_t port) {
  const std::string text = to_string(address);
  return (address.is_ipv4() ? text : "[" + text + "]") + ":" + std::to_string(port);
}

}  // namespace sluice
