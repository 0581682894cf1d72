// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/state/drop.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

struct rte_mbuf;

namespace sluice {

// What names a fragmented packet: RFC 791 §3.2; IPv6 has no protocol in it (RFC 8200 §4.5), so it
// is 0 there.
struct DatagramKey {
  IpAddress source;
  IpAddress destination;
  std::uint32_t identification = 0;
  std::uint8_t protocol = 0;

  friend constexpr bool operator==(const DatagramKey&, const DatagramKey&) = default;
};

// A fragment's part of its datagram, in octets behind the headers that each fragment repeats.
struct FragmentRange {
  std::uint32_t offset = 0;  // a multiple of 8
  std::uint32_t length = 0;  // of all but the last a multiple of 8
  bool more = false;         // not the last
};

// What later fragments borrow from the first.
struct LentPorts {
  Be16 source;
  Be16 destination;
  std::uint8_t protocol;  // 0: of a packet that nobody here has a use for
};

// A fragment that came before its first one, in a buffer of the pool for them.
struct HeldFragment {
  rte_mbuf* mbuf = nullptr;
  std::uint8_t port = 0;  // Snapshot::ports index it arrived on
  bool from_host = false;
  LentPorts lent{};                  // once released, as is
  std::uint32_t identification = 0;  // this
  Drop drop{};                       // once discarded: why
  std::uint16_t next = 0;
};

// Virtual reassembly (RFC 4787 REQ-14, RFC 6146 §3.4): fragments are translated one by one, as soon
// as the first one has shown the ports, in whatever order they come. One lcore's part of the
// datagrams under way:
//
//   key --keyed hash--> chain --> datagram: | lent ports | new identification | which octets came |
//                                                                             | held fragments |
//
// A datagram is forgotten when all of it has come, or kPatienceMs after its first packet. Beyond
// kDatagramsPerClient a client's new one ends its own oldest, beyond kDatagrams in all the oldest
// of all; fragments that wait are bounded per client and in all as well. Clients are told apart by
// a keyed hash: two that meet in it, one chance in 8192, share their quota. Overlapping fragments
// kill their datagram (RFC 5722 §4). A repetition is dropped alone: an exact one as RFC 8200 §4.5
// allows, and, beyond it, one that lies within what has come, since which octets came is known but
// not their boundaries; none of its octets goes on, so nothing is overwritten. Every datagram gets a new identification, unique among all lcores: behind a NAT those of
// different senders would meet (RFC 6864 §5.3.1).
//
// All memory is taken when it is made. Nothing here sends or frees: fragments to go on and
// fragments to drop are lists that the worker empties.
class Fragments {
 public:
  static constexpr std::uint32_t kDatagrams = 4096;
  static constexpr std::uint32_t kDatagramsPerClient = 256;
  static constexpr std::uint32_t kHeld = 512;
  static constexpr std::uint32_t kHeldPerClient = 128;
  static constexpr std::uint32_t kPatienceMs = 5'000;
  static constexpr std::uint32_t kOctetsMax = 65'535;

  // `number` of `lcores`: whose it is. `datagrams`: at most kDatagrams.
  explicit Fragments(std::uint8_t number = 0, std::uint8_t lcores = 1,
                     const HashSecret& secret = {}, std::uint32_t datagrams = kDatagrams);

  // Takes note of a fragment; `first`: the ports it shows, for offset 0. The reason to drop it, or
  // kNone; then known() has its datagram until forget_complete().
  [[nodiscard]] Drop take(const DatagramKey& key, const FragmentRange& range,
                          const std::optional<LentPorts>& first, std::uint32_t now_ms);

  struct Known {
    std::uint16_t datagram = 0;
    std::uint32_t identification = 0;  // the new one; of IPv4 the low 16 bits
    std::optional<LentPorts> lent;     // once the first fragment has come
    bool overlapped = false;
  };
  [[nodiscard]] std::optional<Known> known(const DatagramKey& key) const;

  // After each burst, before anything is held.
  void forget_complete();

  // Takes a fragment of an unresolved `datagram` in. False when there are too many already.
  [[nodiscard]] bool hold(std::uint16_t datagram, const HeldFragment& fragment);
  // Forgets the datagrams whose time is over.
  void expire(std::uint32_t now_ms);

  // Forgets all of them, before the end.
  void clear();

  // Fragments that go on, beginning anew, and such as have to be freed and counted. The worker
  // takes all of them and clears the list.
  [[nodiscard]] std::vector<HeldFragment>& released() { return released_; }
  [[nodiscard]] std::vector<HeldFragment>& discarded() { return discarded_; }

  [[nodiscard]] std::uint32_t datagrams() const { return all_.count; }
  [[nodiscard]] std::uint32_t held() const { return all_.held; }

  // For a datagram that we fragment ourselves.
  [[nodiscard]] std::uint32_t next_identification();

 private:
  static constexpr std::uint16_t kNil = 0xffff;
  static constexpr std::uint32_t kClients = 8192;
  static constexpr std::uint32_t kUnits = (kOctetsMax + 1) / 8;

  // Places in a list, by age.
  struct Links {
    std::uint16_t older = kNil;
    std::uint16_t newer = kNil;
  };
  struct List {
    std::uint16_t oldest = kNil;
    std::uint16_t newest = kNil;
    std::uint16_t count = 0;
    std::uint16_t held = 0;  // fragments that wait, of all its datagrams
  };
  struct Datagram {
    DatagramKey key;
    std::optional<LentPorts> lent;
    std::uint32_t identification = 0;
    std::uint32_t since_ms = 0;
    std::uint32_t units = 0;     // of 8 octets that have come
    std::uint32_t highest = 0;   // octet that has come, plus one
    std::uint32_t end = 0;       // octets in all; 0: not known yet
    std::uint16_t client = 0;    // index of clients_
    std::uint16_t chain = kNil;  // the next with the same hash
    Links by_age;
    Links by_client;
    std::uint16_t held = kNil;  // first and last of those that wait
    std::uint16_t held_last = kNil;
    bool overlapped = false;
    bool complete = false;
    std::array<std::uint64_t, kUnits / 64> came{};  // a bit for each 8 octets
  };

  [[nodiscard]] std::size_t hash_of(const DatagramKey& key) const;
  [[nodiscard]] std::uint16_t client_of(const IpAddress& source) const;
  [[nodiscard]] std::uint16_t find(const DatagramKey& key) const;
  std::uint16_t open(const DatagramKey& key, std::uint32_t now_ms);
  void close(std::uint16_t index, Drop why);
  void append(std::uint16_t index, List& list, Links Datagram::*links);
  void remove(std::uint16_t index, List& list, Links Datagram::*links);
  [[nodiscard]] static Drop note(Datagram& datagram, const FragmentRange& range);
  void drain(Datagram& datagram, std::vector<HeldFragment>& into, Drop why);

  HashSecret secret_;
  std::vector<Datagram> datagrams_;
  std::vector<std::uint16_t> free_;
  std::vector<std::uint16_t> chains_;
  std::vector<std::uint16_t> complete_;
  std::vector<List> clients_;
  List all_;
  std::vector<HeldFragment> held_;
  std::vector<std::uint16_t> held_free_;
  std::vector<HeldFragment> released_;
  std::vector<HeldFragment> discarded_;
  std::uint32_t next_ = 0;
  std::uint8_t number_;
  std::uint8_t lcores_;
};

}  // namespace sluice
