// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/frame.h"
#include "bench/pktgen/neighbours.h"
#include "bench/pktgen/port.h"
#include "bench/pktgen/rss.h"
#include "bench/pktgen/schedule.h"
#include "bench/pktgen/sequence.h"
#include "bench/pktgen/trial.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace sluice::pktgen {

struct GeneratorSettings {
  std::string name = "pktgen";        // of its pools: one each
  unsigned send_buffers = 8'191;      // of client packets; a card's ring holds some
  bool verify = false;                // judge each packet as a whole
  std::uint32_t stamp_interval = 64;  // a power of two: one packet of so many is timed
  std::string watched_thread_file;    // has PID/TID of whose run delay is told; or empty
  std::uint64_t seed = 1;
};

// Clients and backends at once, on one thread: sends what clients send, takes what the gateway
// made of it, answers it as backends would and takes the answers as clients. A turn of the loop
// sends at most one burst and receives at most one of each queue, so neither starves the other.
class Generator {
 public:
  using Tick = std::function<void(double share)>;

  // `client` and `backend` may be the same port. They outlive this object.
  Generator(const Traffic& traffic, const Port& client, const Port& backend,
            const GeneratorSettings& settings);

  // Whom clients send to, from now on.
  void set_gateway(const MacAddress& mac);

  // Opens every flow once, answers included, and repeats what got lost; for TCP the whole
  // handshake. How many flows did not open.
  std::uint32_t open_flows(double rate_pps);
  // `tick` is called a few times a second, or never when it is empty.
  TrialResult run(const TrialPlan& plan, const Tick& tick = {});

  // Asks until `target` has told its MAC, for a minute at most.
  std::optional<MacAddress> resolve(bool of_clients, const IpAddress& target);

 private:
  enum class Answer : std::uint8_t { kNone, kHandshake, kAll };

  struct Sender {
    explicit Sender(const Schedule& schedule) : walk(schedule) {}
    Walk walk;
    std::uint64_t packet = 0;  // next one of this trial
    std::uint64_t hold_until = 0;
    std::size_t size_at = 0;
  };

  // What a queue's burst is sorted into.
  struct Sorted {
    rte_mbuf* answers[kBurst];
    rte_mbuf* others[kBurst];
    std::uint16_t answer_count = 0;
    std::uint16_t other_count = 0;
  };

  void begin(const TrialPlan& plan);
  void send_due(std::uint64_t now);
  std::uint16_t send(std::uint16_t count, std::uint64_t now);
  void write(rte_mbuf* mbuf, std::uint64_t now);
  void send_flow(std::uint32_t flow);
  std::uint16_t transmit(const Port& port, bool of_clients, rte_mbuf** mbufs, std::uint16_t count);

  bool receive();
  void sort(const Port& port, rte_mbuf** mbufs, std::uint16_t count, Sorted& sorted);
  bool take_request(rte_mbuf* mbuf, std::uint32_t now);
  bool take_reply(rte_mbuf* mbuf, std::uint32_t now);
  bool confirm(std::uint8_t* frame, Signature signature);
  void answer_neighbour(const Port& port, rte_mbuf* mbuf);
  void send_message(const Port& port, const NeighbourMessage& message);
  void judge(const char* fault);
  [[nodiscard]] bool is_complete() const;
  void drain(std::uint64_t patience);

  Traffic traffic_;
  const Port* client_;
  const Port* backend_;
  GeneratorSettings settings_;
  Schedule schedule_;
  FrameReader reader_;
  QueueChoice queue_choice_;
  Station clients_;
  Station backends_;
  std::vector<FrameWriter> writers_;      // by size
  std::vector<FrameWriter> syn_writers_;  // likewise; what opens a flow
  std::vector<std::uint8_t> size_round_;
  Pool pool_;          // of client packets: zero behind what a template wrote
  Pool message_pool_;  // of ARP and neighbour discovery

  // Of the trial under way.
  TrialResult result_;
  Sender sender_;
  Walk request_walk_;
  Walk reply_walk_;
  SequenceAccount requests_;
  SequenceAccount replies_;
  Answer answer_ = Answer::kNone;
  std::uint64_t first_sequence_ = 1;
  std::uint64_t begun_ = 0;  // TSC
  std::uint64_t last_ours_ = 0;  // when what we had sent, or an answer to it, came last
  double packets_per_cycle_ = 0;
  std::uint64_t batch_ = 1;  // at a rate: as many are waited for

  // While flows open: who has been answered, by flow.
  std::vector<bool> confirmed_;
  std::uint32_t unconfirmed_ = 0;

  std::optional<IpAddress> resolving_;
  std::optional<MacAddress> resolved_;
};

}  // namespace sluice::pktgen
