// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/fragments.h"

#include <algorithm>
#include <bit>

namespace sluice {

Fragments::Fragments(std::uint8_t number, std::uint8_t lcores, const HashSecret& secret,
                     std::uint32_t datagrams)
    : secret_(secret),
      datagrams_(datagrams),
      chains_(std::bit_ceil(std::size_t{datagrams}) * 2, kNil),
      clients_(kClients),
      held_(kHeld),
      next_(static_cast<std::uint32_t>(secret.words[5])),
      number_(number),
      lcores_(lcores) {
  const auto fill = [](std::vector<std::uint16_t>& list, std::size_t count) {
    for (std::size_t i = count; i > 0; --i) {
      list.push_back(static_cast<std::uint16_t>(i - 1));
    }
  };
  fill(free_, datagrams);
  fill(held_free_, kHeld);
  complete_.reserve(datagrams);
  released_.reserve(kHeld);
  discarded_.reserve(kHeld);
}

// The flow table's hash, of a tuple made of the same words.
std::size_t Fragments::hash_of(const DatagramKey& key) const {
  FlowKey6 tuple{};
  tuple.source.bytes = key.source.bytes;
  tuple.destination.bytes = key.destination.bytes;
  std::memcpy(&tuple.source_port, &key.identification, sizeof(key.identification));
  tuple.protocol = key.protocol;
  tuple.network = static_cast<NetworkId>(key.source.family);
  return hash_key(tuple, secret_) & (chains_.size() - 1);
}

std::uint16_t Fragments::client_of(const IpAddress& source) const {
  FlowKey6 tuple{};
  tuple.source.bytes = source.bytes;
  return static_cast<std::uint16_t>(hash_key(tuple, secret_) % kClients);
}

std::uint16_t Fragments::find(const DatagramKey& key) const {
  std::uint16_t index = chains_[hash_of(key)];
  while (index != kNil && datagrams_[index].key != key) {
    index = datagrams_[index].chain;
  }
  return index;
}

// Numbers of different lcores never meet: they are this one's modulo the lcores, in 16 bits too.
std::uint32_t Fragments::next_identification() {
  const std::uint32_t numbers = 0x1'0000U / lcores_;
  const std::uint32_t low = ++next_ % numbers * lcores_ + number_;
  return next_ / numbers << 16U | low;
}

void Fragments::append(std::uint16_t index, List& list, Links Datagram::*links) {
  datagrams_[index].*links = {list.newest, kNil};
  (list.newest == kNil ? list.oldest : (datagrams_[list.newest].*links).newer) = index;
  list.newest = index;
  ++list.count;
}

void Fragments::remove(std::uint16_t index, List& list, Links Datagram::*links) {
  const Links at = datagrams_[index].*links;
  (at.older == kNil ? list.oldest : (datagrams_[at.older].*links).newer) = at.newer;
  (at.newer == kNil ? list.newest : (datagrams_[at.newer].*links).older) = at.older;
  --list.count;
}

std::uint16_t Fragments::open(const DatagramKey& key, std::uint32_t now_ms) {
  const std::uint16_t client = client_of(key.source);
  if (clients_[client].count >= kDatagramsPerClient) {
    close(clients_[client].oldest, Drop::kFragmentLimit);
  } else if (free_.empty()) {
    close(all_.oldest, Drop::kFragmentLimit);
  }
  const std::uint16_t index = free_.back();
  free_.pop_back();
  Datagram& datagram = datagrams_[index];
  // Only what the one before has touched: most datagrams are short.
  std::fill_n(datagram.came.begin(), (datagram.highest + 511) / 512, 0);
  datagram.key = key;
  datagram.lent.reset();
  datagram.identification = next_identification();
  datagram.since_ms = now_ms;
  datagram.units = datagram.highest = datagram.end = 0;
  datagram.overlapped = datagram.complete = false;
  datagram.client = client;
  std::uint16_t& head = chains_[hash_of(key)];
  datagram.chain = head;
  head = index;
  append(index, all_, &Datagram::by_age);
  append(index, clients_[client], &Datagram::by_client);
  return index;
}

void Fragments::close(std::uint16_t index, Drop why) {
  Datagram& datagram = datagrams_[index];
  drain(datagram, discarded_, why);
  std::uint16_t* link = &chains_[hash_of(datagram.key)];
  while (*link != index) {
    link = &datagrams_[*link].chain;
  }
  *link = datagram.chain;
  remove(index, all_, &Datagram::by_age);
  remove(index, clients_[datagram.client], &Datagram::by_client);
  datagram.complete = false;
  free_.push_back(index);
}

namespace {

// Calls with each word that holds bits [first, last), and the mask of them.
template <typename Words, typename Call>
void for_each_word(Words& words, std::uint32_t first, std::uint32_t last, Call&& call) {
  for (std::uint32_t at = first; at < last;) {
    const std::uint32_t bit = at % 64;
    const std::uint32_t bits = std::min(64 - bit, last - at);
    call(words[at / 64], ~0ULL >> (64 - bits) << bit);
    at += bits;
  }
}

}  // namespace

// RFC 5722 §4; repetitions, also of a part of what has come, are no overlaps (see the header).
Drop Fragments::note(Datagram& datagram, const FragmentRange& range) {
  const std::uint32_t end = range.offset + range.length;
  const std::uint32_t first = range.offset / 8;
  const std::uint32_t last = (end + 7) / 8;  // one past
  std::uint32_t known = 0;
  for_each_word(datagram.came, first, last, [&](std::uint64_t word, std::uint64_t mask) {
    known += static_cast<std::uint32_t>(std::popcount(word & mask));
  });
  if (known == last - first && end <= datagram.highest) {
    return Drop::kFragmentDuplicate;
  }
  const bool other_end =
      datagram.end != 0 && (range.more ? end >= datagram.end : end != datagram.end);
  if (known != 0 || other_end || (!range.more && end < datagram.highest)) {
    return Drop::kFragmentOverlap;
  }
  for_each_word(datagram.came, first, last,
                [](std::uint64_t& word, std::uint64_t mask) { word |= mask; });
  datagram.units += last - first;
  datagram.highest = std::max(datagram.highest, end);
  datagram.end = range.more ? datagram.end : end;
  return Drop::kNone;
}

Drop Fragments::take(const DatagramKey& key, const FragmentRange& range,
                     const std::optional<LentPorts>& first, std::uint32_t now_ms) {
  std::uint16_t index = find(key);
  if (index == kNil) {
    index = open(key, now_ms);
  }
  Datagram& datagram = datagrams_[index];
  if (datagram.overlapped) {
    return Drop::kFragmentOverlap;
  }
  const Drop fault = note(datagram, range);
  if (fault == Drop::kFragmentOverlap) {
    datagram.overlapped = true;
    drain(datagram, discarded_, Drop::kFragmentOverlap);
  }
  if (fault != Drop::kNone) {
    return fault;
  }
  if (first) {
    datagram.lent = first;
    drain(datagram, released_, Drop::kNone);
  }
  if (datagram.end != 0 && datagram.units == (datagram.end + 7) / 8) {
    datagram.complete = true;
    complete_.push_back(index);
  }
  return Drop::kNone;
}

std::optional<Fragments::Known> Fragments::known(const DatagramKey& key) const {
  const std::uint16_t index = find(key);
  if (index == kNil) {
    return std::nullopt;
  }
  const Datagram& datagram = datagrams_[index];
  return Known{index, datagram.identification, datagram.lent, datagram.overlapped};
}

void Fragments::forget_complete() {
  for (const std::uint16_t index : complete_) {
    if (datagrams_[index].complete) {  // it may have made room for another meanwhile
      close(index, Drop::kNone);
    }
  }
  complete_.clear();
}

bool Fragments::hold(std::uint16_t index, const HeldFragment& fragment) {
  Datagram& datagram = datagrams_[index];
  List& client = clients_[datagram.client];
  if (held_free_.empty() || client.held >= kHeldPerClient) {
    return false;
  }
  const std::uint16_t slot = held_free_.back();
  held_free_.pop_back();
  held_[slot] = fragment;
  held_[slot].next = kNil;
  (datagram.held == kNil ? datagram.held : held_[datagram.held_last].next) = slot;
  datagram.held_last = slot;
  ++client.held;
  ++all_.held;
  return true;
}

// In the order in which they came.
void Fragments::drain(Datagram& datagram, std::vector<HeldFragment>& into, Drop why) {
  while (datagram.held != kNil) {
    const std::uint16_t slot = datagram.held;
    datagram.held = held_[slot].next;
    held_free_.push_back(slot);
    --clients_[datagram.client].held;
    --all_.held;
    into.push_back(held_[slot]);
    into.back().drop = why;
    into.back().lent = datagram.lent.value_or(LentPorts{});
    into.back().identification = datagram.identification;
  }
  datagram.held_last = kNil;
}

void Fragments::expire(std::uint32_t now_ms) {
  while (all_.oldest != kNil && now_ms - datagrams_[all_.oldest].since_ms >= kPatienceMs) {
    close(all_.oldest, Drop::kFragmentExpired);
  }
}

void Fragments::clear() {
  while (all_.oldest != kNil) {
    close(all_.oldest, Drop::kFragmentExpired);
  }
}

}  // namespace sluice
