// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/endian.h"

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace sluice {

// The numbers are the IP version field, so that a parsed nibble is a Family.
enum class Family : std::uint8_t { kIpv4 = 4, kIpv6 = 6 };

struct MacAddress {
  std::array<std::uint8_t, 6> bytes;

  [[nodiscard]] constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }
  [[nodiscard]] constexpr bool is_zero() const { return bytes == std::array<std::uint8_t, 6>{}; }
  // Two loads; the default would call memcmp for every packet.
  friend constexpr bool operator==(const MacAddress& a, const MacAddress& b) {
    if (std::is_constant_evaluated()) {
      return a.bytes == b.bytes;
    }
    std::uint32_t head[2];
    std::uint16_t tail[2];
    std::memcpy(&head[0], a.bytes.data(), sizeof(head[0]));
    std::memcpy(&head[1], b.bytes.data(), sizeof(head[1]));
    std::memcpy(&tail[0], a.bytes.data() + 4, sizeof(tail[0]));
    std::memcpy(&tail[1], b.bytes.data() + 4, sizeof(tail[1]));
    return head[0] == head[1] && tail[0] == tail[1];
  }
};
inline constexpr MacAddress kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

struct Ipv4Address {
  Be32 value;

  friend constexpr bool operator==(Ipv4Address, Ipv4Address) = default;
  friend constexpr auto operator<=>(Ipv4Address a, Ipv4Address b) { return a.value <=> b.value; }
};

struct Ipv6Address {
  std::array<std::uint8_t, 16> bytes;

  [[nodiscard]] constexpr bool is_multicast() const { return bytes[0] == 0xff; }
  [[nodiscard]] constexpr bool is_link_local() const {
    return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  }
  friend constexpr bool operator==(const Ipv6Address&, const Ipv6Address&) = default;
  friend constexpr auto operator<=>(const Ipv6Address&, const Ipv6Address&) = default;
};

// An address of either family for tables and control. IPv4 lies in the first four bytes and the
// rest is zero, so equal addresses have equal bytes and hashing may go over all of them.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  Family family = Family::kIpv4;

  constexpr IpAddress() = default;
  explicit IpAddress(Ipv4Address address) : family(Family::kIpv4) {
    std::memcpy(bytes.data(), &address, sizeof(address));
  }
  explicit IpAddress(const Ipv6Address& address) : bytes(address.bytes), family(Family::kIpv6) {}

  // The caller has checked `family`.
  [[nodiscard]] Ipv4Address v4() const {
    Ipv4Address address{};
    std::memcpy(&address, bytes.data(), sizeof(address));
    return address;
  }
  [[nodiscard]] Ipv6Address v6() const { return Ipv6Address{bytes}; }
  [[nodiscard]] constexpr bool is_ipv4() const { return family == Family::kIpv4; }
  [[nodiscard]] constexpr std::uint8_t bits() const { return is_ipv4() ? 32 : 128; }
  // Bit by bit; of this family.
  [[nodiscard]] IpAddress masked(const IpAddress& mask) const {
    IpAddress kept = *this;
    store(kept.bytes.data(), word(0) & mask.word(0));
    store(kept.bytes.data() + 8, word(1) & mask.word(1));
    return kept;
  }
  [[nodiscard]] bool is_unspecified() const;
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_multicast() const;
  [[nodiscard]] bool is_link_local() const;

  // Two words instead of sixteen bytes: tables compare addresses for every new flow.
  friend constexpr bool operator==(const IpAddress& a, const IpAddress& b) {
    if (std::is_constant_evaluated()) {
      return a.family == b.family && a.bytes == b.bytes;
    }
    return a.family == b.family && ((a.word(0) ^ b.word(0)) | (a.word(1) ^ b.word(1))) == 0;
  }
  // IPv4 before IPv6, then by numeric value.
  friend constexpr std::strong_ordering operator<=>(const IpAddress& a, const IpAddress& b) {
    if (a.family != b.family) {
      return a.family <=> b.family;
    }
    if (std::is_constant_evaluated()) {
      return a.bytes <=> b.bytes;
    }
    const std::size_t differs = a.word(0) == b.word(0) ? 1 : 0;
    return __builtin_bswap64(a.word(differs)) <=> __builtin_bswap64(b.word(differs));
  }

 private:
  // As it lies in memory.
  [[nodiscard]] std::uint64_t word(std::size_t nth) const {
    return load<std::uint64_t>(bytes.data() + 8 * nth);
  }
};

// A CIDR prefix; host bits of `address` are zero (parse_prefix refuses others).
struct IpPrefix {
  IpAddress address;
  std::uint8_t length = 0;

  [[nodiscard]] bool contains(const IpAddress& other) const;
  friend constexpr bool operator==(const IpPrefix&, const IpPrefix&) = default;
  friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

// Text forms: dotted quad, RFC 5952 for IPv6, colon-separated MAC. The parsers take exactly one
// value and no surrounding space; std::nullopt for anything else (zone ids included).
std::optional<IpAddress> parse_ip(std::string_view text);
std::optional<MacAddress> parse_mac(std::string_view text);
// "ADDRESS/LENGTH" with host bits zero.
std::optional<IpPrefix> parse_prefix(std::string_view text);
std::string to_string(const IpAddress& address);
std::string to_string(const IpPrefix& prefix);
std::string to_string(const MacAddress& mac);
// "IPv4", "IPv6".
std::string to_string(Family family);
// "192.0.2.1:80", "[2001:db8::1]:80".
std::string to_string(const IpAddress& address, std::uint16_t port);
// The prefix of `length` bits that holds `address` (host bits cleared). length <= address.bits().
IpPrefix prefix_of(const IpAddress& address, std::uint8_t length);
// The highest address of a prefix (all host bits set).
IpAddress last_of(const IpPrefix& prefix);

// 64-bit mix of an address for hash tables of the control plane and the miss path; not keyed.
[[nodiscard]] inline std::uint64_t hash_of(const IpAddress& address) {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::memcpy(&low, address.bytes.data(), 8);
  std::memcpy(&high, address.bytes.data() + 8, 8);
  const auto product = static_cast<Uint128>(low ^ 0x9e3779b97f4a7c15ULL) *
                       (high ^ 0xd6e8feb86659fd93ULL ^ static_cast<std::uint64_t>(address.family));
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace sluice

template <>
struct std::hash<sluice::IpAddress> {
  std::size_t operator()(const sluice::IpAddress& address) const noexcept {
    return sluice::hash_of(address);
  }
};
