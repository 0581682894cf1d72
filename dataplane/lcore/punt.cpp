// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/punt.h"

#include "dataplane/lcore/claim.h"
#include "dataplane/lcore/dataplane.h"
#include "dataplane/stages/pipeline.h"

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <algorithm>
#include <chrono>
#include <poll.h>

namespace sluice {
namespace {

constexpr int kPollMs = 1;
constexpr unsigned kBatch = 64;

std::uint64_t clock_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

Ring make_ring(const std::string& name, unsigned size, unsigned flags) {
  rte_ring* ring = rte_ring_create(name.c_str(), size, SOCKET_ID_ANY, flags);
  if (ring == nullptr) {
    throw StartFault("dataplane.memory: no room for the ring " + name + "; raise it");
  }
  return Ring(ring);
}

void drain(rte_ring* ring) {
  void* mbuf = nullptr;
  while (rte_ring_dequeue(ring, &mbuf) == 0) {
    rte_pktmbuf_free(static_cast<rte_mbuf*>(mbuf));
  }
}

}  // namespace

void FreeRing::operator()(rte_ring* ring) const {
  rte_ring_free(ring);
}

Punt::Punt(rte_mempool* pool)
    : pool_(pool),
      wanted_ring_(rte_ring_create_elem("wanted", sizeof(WantedNeighbour), kRingSize, SOCKET_ID_ANY,
                                        RING_F_SC_DEQ)) {
  if (wanted_ring_ == nullptr) {
    throw StartFault("dataplane.memory: no room for the ring of wanted neighbours; raise it");
  }
}

Punt::~Punt() {
  stop();
  for (const auto& ends : ports_) {
    drain(ends->to_kernel.get());
    drain(ends->from_kernel.get());
    drain(ends->announcements.get());
  }
}

void Punt::add_port(std::unique_ptr<Twin> twin, const MacAddress& mac) {
  const std::string number = std::to_string(ports_.size());
  auto ends = std::make_unique<PortEnds>();
  ends->twin = std::move(twin);
  ends->mac = mac;
  ends->to_kernel = make_ring("to_kernel_" + number, kRingSize, RING_F_SC_DEQ);
  ends->from_kernel = make_ring("from_kernel_" + number, kRingSize, RING_F_SP_ENQ | RING_F_SC_DEQ);
  ends->announcements = make_ring("announce_" + number, kRingSize, RING_F_SP_ENQ | RING_F_SC_DEQ);
  ports_.push_back(std::move(ends));
}

void Punt::start(Wanted wanted, Claimed claimed) {
  tell_ = std::move(wanted);
  claimed_ = std::move(claimed);
  for (const auto& ends : ports_) {
    if (ends->twin != nullptr) {
      ends->twin->keep();
    }
  }
  stop_.store(false, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
}

void Punt::stop() {
  stop_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Punt::announce(std::uint8_t port, const IpAddress& address) {
  const std::lock_guard lock(announcements_mutex_);
  announcements_.push_back({address, port, 3, clock_ms()});
}

void Punt::set_answered(const IpAddress& address, std::uint16_t ports) {
  const std::lock_guard lock(announcements_mutex_);
  const auto known = answered_.find(address);
  if (known != answered_.end() && (known->second & ~ports) != 0) {
    std::erase_if(announcements_, [&](const Announcement& announcement) {
      return announcement.address == address && (ports >> announcement.port & 1U) == 0;
    });
  }
  if (ports == 0) {
    answered_.erase(address);
  } else {
    answered_[address] = ports;
  }
}

void Punt::run() {
  std::vector<pollfd> polled;
  for (const auto& ends : ports_) {
    polled.push_back({ends->twin == nullptr ? -1 : ends->twin->fd(), POLLIN, 0});
  }
  bool moved = false;
  while (!stop_.load(std::memory_order_relaxed)) {
    wait(polled, moved ? 0 : kPollMs);
    moved = false;
    for (std::size_t port = 0; port < ports_.size(); ++port) {
      if (ports_[port]->twin != nullptr) {
        moved = move_from_kernel(*ports_[port]) || moved;
        moved = move_to_kernel(static_cast<std::uint8_t>(port)) || moved;
      }
    }
    send_announcements();
    tell_wanted();
  }
}

// Wakes early for frames only where there is room for them: without it they stay in the twin's own
// queue, which holds the kernel's senders back.
void Punt::wait(std::vector<pollfd>& polled, int timeout_ms) const {
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    const bool room = !pool_empty_ && rte_ring_full(ports_[i]->from_kernel.get()) == 0;
    polled[i].events = room ? POLLIN : 0;
  }
  poll(polled.data(), polled.size(), timeout_ms);
  for (pollfd& twin : polled) {
    if ((twin.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
      twin.fd = -1;  // somebody has deleted it; poll() would return at once for ever
    }
  }
}

// What others claim passes here anyway: the lcores leave such frames to the kernel.
void Punt::look_for_claim(std::uint8_t port, std::span<const std::uint8_t> frame) {
  const auto claim = read_claim(frame);
  const auto is_own = [&](const auto& ends) { return ends->mac == claim->mac; };
  if (!claim || !claimed_ || std::any_of(ports_.begin(), ports_.end(), is_own)) {
    return;
  }
  bool ours = false;
  {
    const std::lock_guard lock(announcements_mutex_);
    const auto at = answered_.find(claim->address);
    ours = at != answered_.end() && (at->second >> port & 1U) != 0;
  }
  if (ours) {
    claimed_(port, claim->address, claim->mac);
  }
}

bool Punt::move_to_kernel(std::uint8_t port) {
  PortEnds& ends = *ports_[port];
  void* burst[kBatch];
  const unsigned count = rte_ring_dequeue_burst(ends.to_kernel.get(), burst, kBatch, nullptr);
  for (unsigned i = 0; i < count; ++i) {
    auto* mbuf = static_cast<rte_mbuf*>(burst[i]);
    // A frame of several segments would be a jumbo one; the copy is off the packet path.
    std::vector<std::uint8_t> whole;
    const std::uint8_t* frame = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
    if (mbuf->nb_segs > 1) {
      whole.resize(mbuf->pkt_len);
      frame =
          static_cast<const std::uint8_t*>(rte_pktmbuf_read(mbuf, 0, mbuf->pkt_len, whole.data()));
    }
    look_for_claim(port, {frame, mbuf->pkt_len});
    if (ends.twin->write({frame, mbuf->pkt_len})) {
      ends.punted.add(1);
    }
    rte_pktmbuf_free(mbuf);
  }
  return count == kBatch;
}

bool Punt::move_from_kernel(PortEnds& ends) {
  pool_empty_ = false;
  const unsigned room = std::min(kBatch, rte_ring_free_count(ends.from_kernel.get()));
  for (unsigned i = 0; i < room; ++i) {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
    if (mbuf == nullptr) {
      pool_empty_ = true;
      return false;
    }
    const std::size_t length =
        ends.twin->read({rte_pktmbuf_mtod(mbuf, std::uint8_t*), rte_pktmbuf_tailroom(mbuf)});
    if (length == 0 || rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(length)) == nullptr ||
        rte_ring_enqueue(ends.from_kernel.get(), mbuf) != 0) {
      rte_pktmbuf_free(mbuf);
      return false;
    }
    ends.injected.add(1);
  }
  return room == kBatch;
}

void Punt::send_announcements() {
  const std::lock_guard lock(announcements_mutex_);
  const std::uint64_t now = clock_ms();
  for (Announcement& announcement : announcements_) {
    if (announcement.due_ms > now) {
      continue;
    }
    PortEnds& ends = *ports_[announcement.port];
    rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
    if (mbuf == nullptr) {
      continue;  // tried again at the next turn
    }
    if (!write_announcement(mbuf, ends.mac, announcement.address) ||
        rte_ring_enqueue(ends.announcements.get(), mbuf) != 0) {
      rte_pktmbuf_free(mbuf);
      continue;
    }
    --announcement.left;
    announcement.due_ms = now + 1000;
  }
  std::erase_if(announcements_, [](const Announcement& done) { return done.left == 0; });
}

void Punt::tell_wanted() {
  WantedNeighbour wanted;
  while (rte_ring_dequeue_elem(wanted_ring_.get(), &wanted, sizeof(wanted)) == 0) {
    tell_(wanted.port, wanted.address);
  }
}

}  // namespace sluice
