// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/headers.h"

#include <cstdint>
#include <string>
#include <vector>

// Frames for packet tests, and a judge of them that shares no code with the dataplane: lengths and
// checksums are computed here word by word, the slow way.
namespace sluice::testing {

using Frame = std::vector<std::uint8_t>;

struct FrameSpec {
  MacAddress from_mac{};
  MacAddress to_mac{};
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint8_t tcp_flags = 0;
  std::uint8_t ttl = 64;
  std::size_t payload = 11;  // bytes; their values count up
  bool udp_checksum = true;
};

// A complete TCP or UDP frame, all checksums right.
Frame make_frame(const FrameSpec& spec);
// ICMP or ICMPv6 echo (or any other type with 8 bytes of header) and `payload` bytes.
Frame make_icmp(const FrameSpec& spec, std::uint8_t type, std::uint8_t code = 0);
Frame make_arp_request(const MacAddress& from_mac, const IpAddress& sender,
                       const IpAddress& target);
// A neighbour solicitation to the target's solicited-node group, with the source option unless the
// source is unspecified.
Frame make_solicitation(const MacAddress& from_mac, const IpAddress& source,
                        const IpAddress& target);

// An ICMP or ICMPv6 error that quotes the first `quoted` bytes of the packet in `about`.
Frame make_error(const FrameSpec& outer, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                 const Frame& about, std::size_t quoted);
// The IP packet of a frame, without padding; and what an ICMP error quotes.
Frame ip_of(const Frame& frame);
Frame quote_of(const Frame& error);
// The 32 bits after the checksum of an ICMP message.
std::uint32_t icmp_rest_of(const Frame& frame);

// The packet of a frame cut into fragments with at most `piece` octets (a multiple of 8) of it
// each, as its sender would; and back, for a judge. IPv6 ones have a fragment header, which goes
// again.
std::vector<Frame> split(const Frame& frame, std::size_t piece, std::uint32_t identification);
Frame join(const std::vector<Frame>& fragments);
// Of a fragment.
std::uint32_t identification_of(const Frame& fragment);
std::size_t offset_of(const Frame& fragment);
// The same IPv6 frame with extension headers before its transport: each begins with the type of the
// next, which is filled in; `first` is the type of the first.
Frame with_extensions(const Frame& frame, std::uint8_t first,
                      std::vector<std::vector<std::uint8_t>> headers,
                      const std::vector<std::uint8_t>& following = {});
// Its extension headers gone again; `plain` is the frame that was made longer by them.
Frame without_extensions(const Frame& frame, const Frame& plain);
// The same IPv4 frame with options, padded to a multiple of four.
Frame with_options(const Frame& frame, std::vector<std::uint8_t> options);

// What a frame says, read byte by byte.
struct FrameFacts {
  MacAddress from_mac{};
  MacAddress to_mac{};
  std::uint16_t ether_type = 0;
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint8_t ttl = 0;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint8_t icmp_type = 0;
  std::vector<std::uint8_t> payload;  // behind the transport header
  std::string fault;                  // a wrong length or checksum, or empty
};
FrameFacts read_frame(const Frame& frame);

// Recomputes every checksum of an IPv4 or IPv6 frame; for tests that change bytes of one.
void fix_checksums(Frame& frame);
// Only that of the IPv4 header, if it has one.
Frame ip_checksum_fixed(Frame frame);

}  // namespace sluice::testing
