// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/traffic.h"
#include "dataplane/net/checksum.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice::pktgen {

template <typename T>
[[nodiscard]] inline T load(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
template <typename T>
inline void store(std::uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}

// Client packets of one size and kind, made from a template: what differs between flows is four
// bytes of address and a port, and both checksums follow from sums that are taken once.
class FrameWriter {
 public:
  // `tcp_flags`: of TCP only. `bytes` >= traffic.frame_bytes_min().
  FrameWriter(const Traffic& traffic, std::uint16_t bytes, std::uint8_t tcp_flags);

  [[nodiscard]] std::uint16_t bytes() const { return bytes_; }

  // Writes the headers; what is behind them is not touched and must be zero.
  void write(std::uint8_t* frame, ClientSide client, Signature signature) const {
    if (short_) {
      std::memcpy(frame, template_.data(), 64);
    } else {
      std::memcpy(frame, template_.data(), template_.size());
    }
    const auto address = Be32::from_host(client_base_ + client.address_offset).raw;
    const auto port = Be16::from_host(client.port).raw;
    store(frame + address_at_, address);
    store(frame + transport_at_, port);
    store(frame + signature_at_, signature);
    const auto checksum =
        checksum_finish(transport_sum_ + address + port + signature.sequence + signature.stamp);
    // RFC 768: a sum of 0 is sent as all ones, and 0 says that there is none.
    store(frame + checksum_at_,
          static_cast<std::uint16_t>((checksum == 0 ? 0xffff : checksum) & checksum_mask_));
    if (ipv4_) {
      store(frame + kIpv4ChecksumAt, checksum_finish(ip_sum_ + address));
    }
  }

 private:
  static constexpr std::size_t kIpv4ChecksumAt = sizeof(EthernetHeader) + 10;

  void write_ip(const Traffic& traffic);
  void write_transport(const Traffic& traffic, std::uint8_t tcp_flags);

  alignas(64) std::array<std::uint8_t, 96> template_{};
  ChecksumSum transport_sum_ = 0;
  ChecksumSum ip_sum_ = 0;
  std::uint32_t client_base_ = 0;  // the last four bytes of the first client's address
  std::uint32_t address_at_ = 0;
  std::uint32_t transport_at_ = 0;
  std::uint32_t signature_at_ = 0;
  std::uint32_t checksum_at_ = 0;
  std::uint16_t checksum_mask_ = 0xffff;  // 0: UDP without a checksum
  std::uint16_t bytes_;
  bool ipv4_;
  bool short_;  // all headers are in the first 64 bytes
};

// Tells our packets, which came through the gateway, from others by a few loads.
class FrameReader {
 public:
  explicit FrameReader(const Traffic& traffic);

  // From the client side: to some backend's target port.
  [[nodiscard]] bool is_request(const std::uint8_t* frame, std::uint32_t length) const {
    return length >= length_min_ && is_kind(frame) &&
           load<std::uint16_t>(frame + transport_at_ + 2) == target_port_;
  }
  // From a backend: from the VIP and its port.
  [[nodiscard]] bool is_reply(const std::uint8_t* frame, std::uint32_t length) const {
    return length >= length_min_ && is_kind(frame) &&
           load<std::uint16_t>(frame + transport_at_) == vip_port_ &&
           load<std::uint32_t>(frame + source_at_) == vip_low_;
  }
  // A reply reached the client that the flow belongs to.
  [[nodiscard]] bool is_for(const std::uint8_t* frame, ClientSide client) const {
    return load<std::uint32_t>(frame + destination_at_) ==
               Be32::from_host(client_base_ + client.address_offset).raw &&
           load<std::uint16_t>(frame + transport_at_ + 2) == Be16::from_host(client.port).raw;
  }
  [[nodiscard]] Signature signature(const std::uint8_t* frame) const {
    return load<Signature>(frame + signature_at_);
  }

 private:
  [[nodiscard]] bool is_kind(const std::uint8_t* frame) const {
    return load<std::uint16_t>(frame + 12) == ether_type_ && frame[protocol_at_] == protocol_;
  }

  std::uint32_t length_min_;
  std::uint32_t transport_at_;
  std::uint32_t signature_at_;
  std::uint32_t protocol_at_;
  std::uint32_t source_at_;       // of the last four bytes of an address
  std::uint32_t destination_at_;  // likewise
  std::uint32_t vip_low_;
  std::uint32_t client_base_;
  std::uint16_t ether_type_;
  std::uint16_t target_port_;
  std::uint16_t vip_port_;
  std::uint8_t protocol_;
};

// Makes the answer to a frame of ours where it lies: both ends exchanged at all layers, which
// changes no checksum, and the next step of a TCP handshake taken.
void turn_round(std::uint8_t* frame);

// The last four bytes of an address, in host order.
[[nodiscard]] std::uint32_t low_word(const IpAddress& address);
// `offset` addresses further.
[[nodiscard]] IpAddress advanced(const IpAddress& address, std::uint32_t offset);

}  // namespace sluice::pktgen
