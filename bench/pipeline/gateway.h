// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/pipeline.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace sluice::bench {

// Zeroed pages, huge ones where the kernel gives them.
class Pages {
 public:
  explicit Pages(std::size_t bytes);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  [[nodiscard]] std::span<std::byte> region() const { return region_; }

 private:
  std::span<std::byte> region_;
};

// A gateway with one VIP, 16 backends and 16 SNAT addresses, enough tuples for 16 million flows;
// no EAL, no ports. Flow number i is the client 10.x.y.z (or 2001:db8:c::x) with a port of its own.
class Gateway {
 public:
  static constexpr std::uint32_t kBackends = 16;
  static constexpr std::size_t kFrame = 60;   // bytes on the wire without FCS, IPv4
  static constexpr std::size_t kFrame6 = 78;  // headers and 16 bytes, IPv6

  // `flows`: capacity of the table of `family`; the other one is small.
  Gateway(Family family, std::uint8_t protocol, std::uint32_t flows);

  // Writes the packet of flow `i` from its client into `frame`, the IPv4 checksum right: a template
  // is copied and three fields are stamped, which is all the generator costs in a measurement.
  template <Family F>
  void write_packet(std::uint8_t* frame, std::uint32_t i) const {
    constexpr std::size_t kIp = sizeof(EthernetHeader);
    const Be16 port = Be16::from_host(static_cast<std::uint16_t>(1024 + (i & 0x7fffU)));
    if constexpr (F == Family::kIpv4) {
      std::memcpy(frame, template_.data(), kFrame);
      auto* ip = reinterpret_cast<Ipv4Header*>(frame + kIp);
      ip->source = Ipv4Address{Be32::from_host(0x0a00'0000U + i)};
      ip->checksum.raw = checksum_finish(template_sum_ + ip->source.value.raw);
      std::memcpy(frame + kIp + sizeof(Ipv4Header), &port, sizeof(port));
    } else {
      std::memcpy(frame, template_.data(), kFrame6);
      const Be32 number = Be32::from_host(i);
      std::memcpy(frame + kIp + offsetof(Ipv6Header, source) + 12, &number, sizeof(number));
      std::memcpy(frame + kIp + sizeof(Ipv6Header), &port, sizeof(port));
    }
  }
  void write_packet(std::uint8_t* frame, std::uint32_t i) const {
    family_ == Family::kIpv4 ? write_packet<Family::kIpv4>(frame, i)
                             : write_packet<Family::kIpv6>(frame, i);
  }
  // Opens flows [begin, end) through the pipeline; ends the program when one is refused.
  void open_flows(std::uint32_t begin, std::uint32_t end);
  // Forgets every flow at and past this index of the table.
  void erase_flows_from(std::uint32_t index);
  [[nodiscard]] std::size_t frame_bytes() const {
    return family_ == Family::kIpv4 ? kFrame : kFrame6;
  }

  Snapshot snapshot;
  LcoreCounters counters;
  Pages memory4;
  Pages memory6;
  LcoreState state;

 private:
  void make_services();
  void make_ways();
  void make_template();

  Family family_;
  std::uint8_t protocol_;
  IpAddress vip_;
  MacAddress mac_{{2, 0, 0, 0, 0, 1}};
  std::array<std::uint8_t, 128> template_{};
  ChecksumSum template_sum_ = 0;  // of the IPv4 header without source and checksum
};

}  // namespace sluice::bench
