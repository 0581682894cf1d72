// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/generator.h"

#include "bench/pktgen/inspect.h"
#include "bench/pktgen/run_delay.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::pktgen {
namespace {

constexpr unsigned kMessageBuffers = 1'023;
// At a rate as many packets are sent together as fall due in this time, for the price of a burst.
constexpr double kBatchSeconds = 2e-6;

std::string first_line_of(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

}  // namespace

Generator::Generator(const Traffic& traffic, const Port& client, const Port& backend,
                     const GeneratorSettings& settings)
    : traffic_(traffic),
      client_(&client),
      backend_(&backend),
      settings_(settings),
      schedule_(traffic, settings.seed),
      reader_(traffic),
      queue_choice_(traffic, client.queues()),
      clients_{traffic.client, traffic.clients, traffic.client_mac},
      backends_{traffic.backend, traffic.backends, traffic.backend_mac},
      size_round_(size_round(traffic.sizes)),
      pool_(make_pool(settings.name + "_send", settings.send_buffers)),
      message_pool_(make_pool(settings.name + "_neighbour", kMessageBuffers)),
      sender_(schedule_),
      request_walk_(schedule_),
      reply_walk_(schedule_) {
  set_gateway(traffic.client_gateway);
}

void Generator::set_gateway(const MacAddress& mac) {
  traffic_.client_gateway = mac;
  writers_.clear();
  syn_writers_.clear();
  for (const FrameShare& share : traffic_.sizes) {
    writers_.emplace_back(traffic_, share.bytes, traffic_.syn_only ? kTcpSyn : kTcpAck);
    syn_writers_.emplace_back(traffic_, share.bytes, kTcpSyn);
  }
}

void Generator::begin(const TrialPlan& plan) {
  first_sequence_ += sender_.packet;
  result_ = TrialResult{};
  result_.plan = plan;
  double opens = traffic_.syn_only ? 1 : 0;
  if (plan.new_flows_per_s > 0 && plan.rate_pps > 0) {
    opens = plan.new_flows_per_s / plan.rate_pps;
  }
  schedule_.begin(opens, sender_.packet);
  sender_ = Sender(schedule_);
  request_walk_ = Walk(schedule_);
  reply_walk_ = Walk(schedule_);
  requests_.begin(first_sequence_, schedule_.flows());
  replies_.begin(first_sequence_, plan.replies ? schedule_.flows() : 1);
  answer_ = plan.replies ? Answer::kAll : Answer::kNone;
  packets_per_cycle_ = plan.rate_pps / static_cast<double>(rte_get_tsc_hz());
  batch_ = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(plan.rate_pps * kBatchSeconds), 1,
                                     kBurst);
}

TrialResult Generator::run(const TrialPlan& plan, const Tick& tick) {
  begin(plan);
  const std::uint64_t delay = run_delay_ns("");
  const std::string thread = first_line_of(settings_.watched_thread_file);
  const std::uint64_t watched = thread.empty() ? 0 : run_delay_ns(thread);
  const auto hz = static_cast<double>(rte_get_tsc_hz());
  const auto length = static_cast<std::uint64_t>(plan.seconds * hz);
  const auto tick_every = static_cast<std::uint64_t>(hz / 4);
  begun_ = last_ours_ = rte_rdtsc();
  std::uint64_t next_tick = begun_ + tick_every;
  for (std::uint64_t now = begun_; now - begun_ < length; now = rte_rdtsc()) {
    send_due(now);
    receive();
    if (tick && now >= next_tick) {
      tick(static_cast<double>(now - begun_) / static_cast<double>(length));
      next_tick += tick_every;
    }
  }
  const std::uint64_t ended = rte_rdtsc();
  if (plan.rate_pps > 0) {
    const auto due = static_cast<std::uint64_t>(static_cast<double>(length) * packets_per_cycle_);
    result_.unsent = due > sender_.packet ? due - sender_.packet : 0;
    // Less than a batch is not late, it was not due yet.
    result_.unsent = result_.unsent <= batch_ ? 0 : result_.unsent;
  }
  drain(rte_get_tsc_hz() / 5);
  result_.preempted_ns = run_delay_ns("") - delay;
  result_.watched_preempted_ns = thread.empty() ? 0 : run_delay_ns(thread) - watched;
  result_.seconds = static_cast<double>(std::max(ended, last_ours_) - begun_) / hz;
  result_.forwarded = requests_.received();
  result_.reordered = requests_.reordered();
  result_.replied = replies_.received();
  result_.replies_reordered = replies_.reordered();
  result_.stale = requests_.stale() + replies_.stale();
  return std::exchange(result_, {});
}

// All that the port took in this trial has come, and the answers of it.
bool Generator::is_complete() const {
  return answer_ != Answer::kHandshake && requests_.received() >= result_.offered &&
         (answer_ == Answer::kNone || replies_.received() >= result_.offered);
}

// Receives until all is there or nothing has come for `patience` cycles, a second at most: an lcore
// that lost its core for a while has lost no packet.
void Generator::drain(std::uint64_t patience) {
  const std::uint64_t began = rte_rdtsc();
  std::uint64_t last = began;
  for (std::uint64_t now = began;
       !is_complete() && now - last < patience && now - began < rte_get_tsc_hz();
       now = rte_rdtsc()) {
    if (receive()) {
      last = now;
    }
  }
}

// ---- sending

void Generator::send_due(std::uint64_t now) {
  if (result_.plan.rate_pps <= 0) {
    if (now < sender_.hold_until) {
      return;
    }
    const std::uint16_t sent = send(kBurst, now);
    result_.offered += sent;
    if (sent < kBurst) {
      // The gateway is behind: each look at its ring would take the line away from it.
      sender_.hold_until = now + rte_get_tsc_hz() / 1'000'000;
    }
    return;
  }
  const auto due =
      static_cast<std::uint64_t>(static_cast<double>(now - begun_) * packets_per_cycle_);
  if (due < sender_.packet + batch_) {
    return;
  }
  const auto count =
      static_cast<std::uint16_t>(std::min<std::uint64_t>(kBurst, due - sender_.packet));
  const std::uint16_t sent = send(count, now);
  result_.offered += sent;
  result_.refused += static_cast<std::uint64_t>(count - sent);
}

std::uint16_t Generator::send(std::uint16_t count, std::uint64_t now) {
  std::array<rte_mbuf*, kBurst> mbufs;
  if (rte_pktmbuf_alloc_bulk(pool_.get(), mbufs.data(), count) != 0) {
    sender_.packet += count;  // a card holds all buffers: as if its ring were full
    return 0;
  }
  for (std::uint16_t i = 0; i < count; ++i) {
    write(mbufs[i], now);
  }
  return transmit(*client_, true, mbufs.data(), count);
}

inline void Generator::write(rte_mbuf* mbuf, std::uint64_t now) {
  const std::uint64_t packet = sender_.packet++;
  const Schedule::Place place = sender_.walk.at(packet);
  std::size_t size = 0;
  if (size_round_.size() > 1) {
    size = size_round_[sender_.size_at];
    sender_.size_at = sender_.size_at + 1 < size_round_.size() ? sender_.size_at + 1 : 0;
  }
  const FrameWriter& writer = (place.opens ? syn_writers_ : writers_)[size];
  const auto sequence = static_cast<std::uint32_t>(first_sequence_ + packet);
  const bool timed = (sequence & (settings_.stamp_interval - 1)) == 0;
  writer.write(rte_pktmbuf_mtod(mbuf, std::uint8_t*), client_side(place.flow, traffic_.clients),
               {sequence, timed ? static_cast<std::uint32_t>(now) | 1U : 0});
  mbuf->data_len = writer.bytes();
  mbuf->pkt_len = writer.bytes();
}

// Frees what the port does not take. How many it took.
std::uint16_t Generator::transmit(const Port& port, bool of_clients, rte_mbuf** mbufs,
                                  std::uint16_t count) {
  if (port.queues() == 1) {
    const std::uint16_t sent = port.send(0, mbufs, count);
    if (sent < count) {
      rte_pktmbuf_free_bulk(mbufs + sent, count - sent);
    }
    return sent;
  }
  std::array<std::uint16_t, kBurst> queues;
  for (std::uint16_t i = 0; i < count; ++i) {
    const auto* frame = rte_pktmbuf_mtod(mbufs[i], const std::uint8_t*);
    queues[i] = of_clients ? queue_choice_.of_source(frame) : queue_choice_.of_destination(frame);
  }
  std::uint16_t sent = 0;
  for (std::uint16_t queue = 0; queue < port.queues(); ++queue) {
    std::array<rte_mbuf*, kBurst> batch;
    std::uint16_t batched = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
      batch[batched] = mbufs[i];
      batched = static_cast<std::uint16_t>(batched + (queues[i] == queue ? 1 : 0));
    }
    const std::uint16_t taken =
        batched == 0 ? std::uint16_t{0} : port.send(queue, batch.data(), batched);
    rte_pktmbuf_free_bulk(batch.data() + taken, batched - taken);
    sent = static_cast<std::uint16_t>(sent + taken);
  }
  return sent;
}

// ---- opening flows

void Generator::send_flow(std::uint32_t flow) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_.get());
  if (mbuf == nullptr) {
    return;
  }
  const FrameWriter& writer = syn_writers_.front();
  writer.write(rte_pktmbuf_mtod(mbuf, std::uint8_t*), client_side(flow, traffic_.clients),
               {static_cast<std::uint32_t>(first_sequence_ + flow), 0});
  mbuf->data_len = writer.bytes();
  mbuf->pkt_len = writer.bytes();
  transmit(*client_, true, &mbuf, 1);
}

std::uint32_t Generator::open_flows(double rate_pps) {
  constexpr int kRounds = 20;
  begin({});
  const std::uint32_t flows = schedule_.flows();
  confirmed_.assign(flows, false);
  unconfirmed_ = flows;
  answer_ = Answer::kHandshake;
  const double cycles_each = static_cast<double>(rte_get_tsc_hz()) / rate_pps;
  for (int round = 0; round < kRounds && unconfirmed_ > 0; ++round) {
    const std::uint64_t began = rte_rdtsc();
    double due = 0;
    for (std::uint32_t flow = 0; flow < flows; ++flow) {
      if (confirmed_[flow]) {
        continue;
      }
      do {
        receive();
      } while (static_cast<double>(rte_rdtsc() - began) < due);
      send_flow(flow);
      due += cycles_each;
    }
    drain(rte_get_tsc_hz() / 20);
  }
  sender_.packet = flows;  // their numbers are used up
  confirmed_.clear();
  return unconfirmed_;
}

// A reply while flows open. True: the frame is now the last packet of the handshake.
bool Generator::confirm(std::uint8_t* frame, Signature signature) {
  const std::uint32_t flow = signature.sequence - static_cast<std::uint32_t>(first_sequence_);
  if (flow >= confirmed_.size()) {
    return false;
  }
  if (!confirmed_[flow]) {
    confirmed_[flow] = true;
    --unconfirmed_;
  }
  if (traffic_.protocol != kProtocolTcp) {
    return false;
  }
  turn_round(frame);
  return true;
}

// ---- receiving

// True when anything came.
bool Generator::receive() {
  bool any = false;
  for (const Port* port : {backend_, client_}) {
    for (std::uint16_t queue = 0; queue < port->queues(); ++queue) {
      std::array<rte_mbuf*, kBurst> mbufs;
      const std::uint16_t count = port->receive(queue, mbufs.data());
      if (count == 0) {
        continue;
      }
      any = true;
      Sorted sorted;
      sort(*port, mbufs.data(), count, sorted);
      rte_pktmbuf_free_bulk(sorted.others, sorted.other_count);
      if (sorted.answer_count > 0) {
        const bool of_clients = port == client_ && client_ != backend_;
        const std::uint16_t sent = transmit(*port, of_clients, sorted.answers, sorted.answer_count);
        result_.answered += sent;
      }
    }
    if (client_ == backend_) {
      break;
    }
  }
  return any;
}

void Generator::sort(const Port& port, rte_mbuf** mbufs, std::uint16_t count, Sorted& sorted) {
  const std::uint64_t came = rte_rdtsc();
  const auto now = static_cast<std::uint32_t>(came);
  for (std::uint16_t i = 0; i < count; ++i) {
    rte_mbuf* mbuf = mbufs[i];
    const auto* frame = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
    bool answered = false;
    if (&port == client_ && reader_.is_reply(frame, mbuf->data_len)) {
      answered = take_reply(mbuf, now);
      last_ours_ = came;
    } else if (&port == backend_ && reader_.is_request(frame, mbuf->data_len)) {
      answered = take_request(mbuf, now);
      last_ours_ = came;
    } else {
      answer_neighbour(port, mbuf);
    }
    (answered ? sorted.answers[sorted.answer_count++] : sorted.others[sorted.other_count++]) = mbuf;
  }
}

// True: the frame is now its answer.
bool Generator::take_request(rte_mbuf* mbuf, std::uint32_t now) {
  auto* frame = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  const Signature signature = reader_.signature(frame);
  const bool syn =
      traffic_.protocol == kProtocolTcp && (frame[traffic_.transport_offset() + 13] & kTcpSyn) != 0;
  if (answer_ == Answer::kHandshake) {
    if (traffic_.protocol == kProtocolTcp && !syn) {
      return false;  // the client's ACK
    }
    turn_round(frame);
    return true;
  }
  std::uint64_t packet = 0;
  if (!requests_.place(signature.sequence, &packet)) {
    return false;
  }
  const Schedule::Place place = request_walk_.at(packet);
  requests_.see(signature.sequence, place.slot);
  if (signature.stamp != 0) {
    result_.latency.record(now - signature.stamp);
  }
  if (settings_.verify) {
    judge(fault_of_request({frame, mbuf->data_len}, traffic_,
                           client_side(place.flow, traffic_.clients)));
  }
  if (answer_ == Answer::kNone) {
    return false;
  }
  turn_round(frame);
  return true;
}

bool Generator::take_reply(rte_mbuf* mbuf, std::uint32_t now) {
  auto* frame = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  const Signature signature = reader_.signature(frame);
  if (answer_ == Answer::kHandshake) {
    return confirm(frame, signature);
  }
  std::uint64_t packet = 0;
  if (answer_ != Answer::kAll || !replies_.place(signature.sequence, &packet)) {
    return false;
  }
  const Schedule::Place place = reply_walk_.at(packet);
  replies_.see(signature.sequence, place.slot);
  if (signature.stamp != 0) {
    result_.round_trip.record(now - signature.stamp);
  }
  const ClientSide client = client_side(place.flow, traffic_.clients);
  if (settings_.verify) {
    judge(fault_of_reply({frame, mbuf->data_len}, traffic_, client));
  } else if (!reader_.is_for(frame, client)) {
    judge("destination is another client");
  }
  return false;
}

void Generator::judge(const char* fault) {
  if (fault != nullptr) {
    result_.fault = result_.mistranslated++ == 0 ? fault : result_.fault;
  }
}

// ---- neighbours

void Generator::answer_neighbour(const Port& port, rte_mbuf* mbuf) {
  const std::span<const std::uint8_t> frame{rte_pktmbuf_mtod(mbuf, const std::uint8_t*),
                                            mbuf->data_len};
  ++result_.foreign;
  for (const auto& [at, station] : {std::pair{client_, &clients_}, {backend_, &backends_}}) {
    if (at != &port) {
      continue;
    }
    if (const auto answer = answer_of(*station, frame)) {
      send_message(port, *answer);
    }
  }
  if (resolving_) {
    const auto told = mac_told(frame, *resolving_);
    resolved_ = told ? told : resolved_;
  }
}

void Generator::send_message(const Port& port, const NeighbourMessage& message) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(message_pool_.get());
  if (mbuf == nullptr) {
    return;
  }
  std::memcpy(rte_pktmbuf_append(mbuf, message.bytes), message.frame.data(), message.bytes);
  if (port.send(0, &mbuf, 1) == 0) {
    rte_pktmbuf_free(mbuf);
  }
}

std::optional<MacAddress> Generator::resolve(bool of_clients, const IpAddress& target) {
  // A minute: the target may be a VIP that its gateway is only being told of. Nothing is measured
  // yet, so that the CPU is left to whoever tells it.
  constexpr int kTries = 600;
  constexpr int kLooksPerTry = 100;
  resolving_ = target;
  resolved_.reset();
  for (int i = 0; i < kTries && !resolved_; ++i) {
    send_message(of_clients ? *client_ : *backend_,
                 ask_for(of_clients ? clients_ : backends_, target));
    for (int look = 0; look < kLooksPerTry && !resolved_; ++look) {
      receive();
      rte_delay_us_sleep(1000);
    }
  }
  resolving_.reset();
  return resolved_;
}

}  // namespace sluice::pktgen
