// SPDX-License-Identifier: Apache-2.0
// Whatever arrives, in whatever order: parse to refuse under the address and undefined behaviour
// sanitizers, with what must hold after each step checked by judges that share no code with the
// stages: what is transmitted, what a packet is cut into, that each has one verdict and every
// buffer goes back to its pool. An input is a Script. `make fuzz` runs it; a file given as argument
// is replayed.
#include "dataplane/lcore/eal.h"
#include "dataplane/lcore/fragmentation.h"
#include "tests/support/script.h"
#include "tests/support/world.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <sanitizer/asan_interface.h>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace sluice::testing {
namespace {

constexpr std::size_t kStepsMax = 64;
constexpr std::size_t kTogetherMax = 16;
constexpr std::size_t kSegmentMin = 14;  // octets in a buffer of a frame in several
constexpr std::uint16_t kNarrowMtu = 1300;

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "pipeline_fuzz: does not hold: %s\n", what);
    std::abort();
  }
}

// EAL without hugepages, for the life of the program.
void start_eal() {
  DataplaneSettings settings;
  settings.memory_bytes = 128ULL << 20U;
  settings.hugepages = false;
  static const Eal eal(settings);
}

// Behind each buffer lies what a sanitizer lets nobody touch.
rte_mempool* pool() {
  constexpr std::uint16_t kFence = 64;
  constexpr unsigned kBuffers = 8191;  // all frames of a script in the smallest segments
  static rte_mempool* made = [] {
    start_eal();
    rte_mempool* fresh = rte_pktmbuf_pool_create(
        "fuzz", kBuffers, 0, 0, RTE_PKTMBUF_HEADROOM + 2048 + kFence, SOCKET_ID_ANY);
    require(fresh != nullptr, "there is room for a packet pool");
    rte_mempool_obj_iter(
        fresh,
        [](rte_mempool*, void*, void* object, unsigned) {
          auto* mbuf = static_cast<rte_mbuf*>(object);
          mbuf->buf_len = static_cast<std::uint16_t>(mbuf->buf_len - kFence);
          ASAN_POISON_MEMORY_REGION(static_cast<char*>(mbuf->buf_addr) + mbuf->buf_len, kFence);
        },
        nullptr);
    return fresh;
  }();
  return made;
}

// As the worker does it.
std::vector<Frame> cut(rte_mbuf* mbuf, std::uint16_t mtu) {
  rte_mbuf* made[kFragmentsMax];
  const std::uint32_t count = fragment(mbuf, mtu, pool(), made);
  std::vector<Frame> pieces;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto* begin = rte_pktmbuf_mtod(made[i], const std::uint8_t*);
    require(made[i]->nb_segs == 1 && made[i]->pkt_len == made[i]->data_len,
            "a piece is in one buffer");
    pieces.emplace_back(begin, begin + made[i]->data_len);
    rte_pktmbuf_free(made[i]);
  }
  return pieces;
}

WorldOptions options_of(const Script& script) {
  WorldOptions options;
  options.lcores = script.two_lcores ? 2 : 1;
  options.flows = 16;
  options.datagrams = 4;
  options.snat_port_end = options.snat_port_begin + 64;
  options.lan_mtu = script.narrow ? kNarrowMtu : std::uint16_t{1500};
  options.mode = script.dnat ? ForwardingMode::kDnat : ForwardingMode::kFullNat;
  options.refuse = script.refuses;
  options.tailroom = script.tailroom ? 256 : 0;
  options.transit_to_kernel = true;
  options.pool = pool();
  options.cut = cut;
  return options;
}

template <Family F, typename Belongs>
void check_list(const FlowTable<F>& flows, FlowList list, Belongs belongs) {
  std::uint32_t index = flows.oldest(list);
  for (std::uint32_t i = 0; i < flows.count(list); ++i) {
    require(belongs(flows.hot(index)), "a list has those in it that belong there");
    const std::uint32_t next = flows.cold(index).newer;
    require(i + 1 == flows.count(list) || flows.cold(next).older == index, "a list is linked");
    index = next;
  }
}

// Entries that are in use are found by their keys, and are as many as the table says; those that
// have counted packets will be folded.
template <Family F>
void check_flows(const FlowTable<F>& flows) {
  std::uint32_t used = 0;
  std::uint32_t listed = 0;
  for (std::uint32_t i = 0; i < flows.high_water(); ++i) {
    const FlowHot<F>& flow = flows.hot(i);
    if (flow.state == FlowState::kFree) {
      continue;
    }
    ++used;
    listed += flow.state == FlowState::kTcpHalfOpen || flow.state == FlowState::kTcpTimeWait ||
                      flow.state == FlowState::kQuarantine
                  ? 1
                  : 0;
    const bool marked = (flows.unfolded(i / flows.kWordFlows) >> i % flows.kWordFlows & 1U) != 0;
    require(marked || flow.packets == decltype(flow.packets){}, "a flow that counted is folded");
    const FlowRef back = flows.find(flow.reply_key());
    require(back.valid() && back.index() == i, "a flow is found by its answers' tuple");
    if (flow.state != FlowState::kQuarantine) {
      const FlowRef there = flows.find(flow.client_key());
      require(there.valid() && there.index() == i, "a flow is found by its client's tuple");
    }
  }
  require(used == flows.size(), "the flow table counts its entries");
  check_list(flows, FlowList::kHalfOpen,
             [](const FlowHot<F>& flow) { return flow.state == FlowState::kTcpHalfOpen; });
  check_list(flows, FlowList::kEnded, [](const FlowHot<F>& flow) {
    return flow.state == FlowState::kTcpTimeWait ||
           (flow.state == FlowState::kQuarantine && (flow.flags & kFlowEvicted) == 0);
  });
  check_list(flows, FlowList::kEvicted, [](const FlowHot<F>& flow) {
    return flow.state == FlowState::kQuarantine && (flow.flags & kFlowEvicted) != 0;
  });
  require(listed == flows.count(FlowList::kHalfOpen) + flows.count(FlowList::kEnded) +
                        flows.count(FlowList::kEvicted),
          "every flow that belongs into a list is in one");
  require(flows.size() <= flows.capacity(), "the flow table is bounded");
}

std::size_t word_at(const Frame& frame, std::size_t at) {
  return static_cast<std::size_t>(frame[at] << 8U | frame[at + 1]);
}
std::size_t header_of(const Frame& frame) {
  return (frame[14] & 0xfU) * std::size_t{4};
}

// RFC 791 §3.2: the pieces follow each other without a gap, are the frame's octets, and the last
// one is as much a last one as the frame was.
void judge_pieces(const Frame& frame, const std::vector<Frame>& pieces, std::size_t mtu) {
  require(pieces.size() > 1, "what is cut is cut into pieces");
  std::size_t at = 14 + header_of(frame);
  const std::size_t end = 14 + word_at(frame, 16);
  std::size_t offset = word_at(frame, 20) & 0x1fffU;
  for (const Frame& piece : pieces) {
    require(has_ipv4_header(piece) && ip_checksum_fixed(piece) == piece, "a piece has its header");
    const std::size_t length = word_at(piece, 16);
    require(length <= mtu && 14 + length == piece.size(), "a piece fits the way out");
    require(word_at(piece, 18) == word_at(frame, 18), "pieces have one identification");
    require((word_at(piece, 20) & 0x1fffU) == offset, "a piece goes on where the last one ended");
    const std::size_t octets = length - header_of(piece);
    require(at + octets <= end &&
                std::equal(piece.end() - static_cast<std::ptrdiff_t>(octets), piece.end(),
                           frame.begin() + static_cast<std::ptrdiff_t>(at)),
            "a piece has its octets");
    at += octets;
    offset += octets / 8;
    const bool more = at != end || (word_at(frame, 20) & 0x2000U) != 0;
    require(more == ((word_at(piece, 20) & 0x2000U) != 0) && (!more || octets % 8 == 0),
            "only the last piece ends the datagram");
  }
  require(at == end, "the pieces are all of it");
}

class Run {
 public:
  Run(const Script& script, World& world) : script_(script), world_(world) {}

  void all() {
    std::size_t count = 0;
    for (const Step& step : script_.steps) {
      if (++count > kStepsMax) {
        break;
      }
      take(step);
    }
    arrive();
    world_.advance(Fragments::kPatienceMs);
    settle();
    require(world_.held() == 0, "no fragment waits for ever");
    require(rte_mempool_in_use_count(pool()) == 0, "no buffer is lost");
  }

 private:
  struct Arrival {
    Frame frame;
    std::uint8_t port;
    bool from_host;
    std::size_t segment;  // octets in each buffer; 0: all
  };

  void take(const Step& step) {
    switch (step.kind) {
      case Step::Kind::kFrame:
        add(step, step.frame);
        break;
      case Step::Kind::kAnswer:
        arrive();
        if (is_judgeable(last_)) {
          Step answer = step;
          answer.port = World::kLan;
          answer.from_host = false;
          add(answer, make_frame(world_.answer_to(last_, step.value)));
        }
        break;
      case Step::Kind::kError:
        arrive();
        if (is_judgeable(last_)) {
          Step error = step;
          error.port = World::kLan;
          error.from_host = false;
          add(error, make_error(world_.answer_to(last_), step.value & 0xfU, step.value >> 4U, 1280,
                                last_, 80));
        }
        break;
      case Step::Kind::kTime:
        arrive();
        world_.advance(std::uint32_t{step.value} * 100);
        world_.age();
        settle();
        check_tables();
        break;
      case Step::Kind::kBinding:
        arrive();
        change_binding(step.value);
        break;
      case Step::Kind::kCount:
        break;
    }
  }

  void change_binding(std::uint8_t value) {
    const std::uint32_t slot =
        (value & 4U) != 0 ? World::web_slot(value % 3) : World::dns_slot(value % 3);
    constexpr BindingState kStates[]{BindingState::kActive, BindingState::kDraining,
                                     BindingState::kRemoved, BindingState::kFree};
    world_.set_binding(slot, kStates[value >> 3U & 3U], value >> 5U);
  }

  void add(const Step& step, const Frame& frame) {
    const std::size_t segment = step.in_segments ? kSegmentMin + step.value : 0;
    if (!burst_.empty() && (burst_[0].port != step.port || burst_[0].from_host != step.from_host ||
                            burst_[0].segment != segment)) {
      arrive();
    }
    burst_.push_back({frame, step.port, step.from_host, segment});
    if (!step.together || burst_.size() == kTogetherMax) {
      arrive();
    }
  }

  void arrive() {
    if (burst_.empty()) {
      return;
    }
    std::vector<Frame> frames;
    for (const Arrival& arrival : burst_) {
      frames.push_back(arrival.frame);
    }
    const std::uint64_t before = all_drops();
    world_.set_segments(burst_[0].segment);
    const std::vector<Outcome> outcomes =
        world_.run_all(frames, burst_[0].port, burst_[0].from_host);
    std::uint64_t dropped = 0;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      judge(outcomes[i], &burst_[i]);
      dropped += outcomes[i].drop != Drop::kNone ? 1 : 0;
    }
    burst_.clear();
    dropped += settle();
    require(all_drops() == before + dropped, "every drop is counted once, under one name");
    check_tables();
  }

  // What was held and is no longer; how many of them were dropped.
  std::uint64_t settle() {
    std::uint64_t dropped = 0;
    for (const Outcome& outcome : world_.take_held()) {
      judge(outcome, nullptr);
      dropped += outcome.drop != Drop::kNone ? 1 : 0;
    }
    return dropped;
  }

  void judge(const Outcome& outcome, const Arrival* arrival) {
    require(outcome.verdict != Verdict::kPending && outcome.verdict != Verdict::kHandOver,
            "every packet gets a verdict");
    require(outcome.verdict != Verdict::kDrop || outcome.drop != Drop::kNone,
            "every drop has a reason");
    require(arrival != nullptr || outcome.verdict != Verdict::kHoldFragment,
            "no fragment waits twice");
    if (outcome.verdict != Verdict::kTransmit && outcome.verdict != Verdict::kFragment) {
      return;
    }
    const Frame& frame = outcome.frame;
    require(outcome.out_port < 2, "what is sent has a port");
    const bool passes_by = arrival != nullptr && arrival->from_host && frame == arrival->frame;
    if (!passes_by) {
      judge_sent(outcome, arrival);
    }
    if (outcome.out_port == World::kLan) {
      last_ = frame;
    }
  }

  void judge_sent(const Outcome& outcome, const Arrival* arrival) {
    const Frame& frame = outcome.frame;
    const bool arp = frame.size() >= 14 && frame[12] == 0x08 && frame[13] == 0x06;
    if (arp) {
      return;
    }
    require(frame.size() >= 34, "what is sent is IP");
    if (has_ipv4_header(frame)) {
      require(ip_checksum_fixed(frame) == frame, "its IPv4 header checksum is right");
    }
    const std::size_t length = has_ipv4_header(frame)
                                   ? static_cast<std::size_t>(frame[16] << 8U | frame[17])
                                   : 40 + static_cast<std::size_t>(frame[18] << 8U | frame[19]);
    require(14 + length <= frame.size(), "its IP length is within the frame");
    const std::size_t mtu = outcome.out_port == World::kLan && script_.narrow ? kNarrowMtu : 1500;
    const bool crosses = arrival == nullptr || arrival->port != outcome.out_port;
    if (outcome.verdict == Verdict::kFragment) {
      require(has_ipv4_header(frame) && length > mtu && (frame[20] & 0x40U) == 0,
              "only IPv4 that is too large and may be cut is cut");
      judge_pieces(frame, outcome.pieces, mtu);
    } else if (crosses) {
      require(length <= mtu, "it fits the way out");
    }
    const bool was_right = arrival != nullptr && is_judgeable(arrival->frame) &&
                           read_frame(arrival->frame).fault.empty();
    if ((was_right || outcome.answered) && is_judgeable(frame)) {
      const std::string fault = read_frame(frame).fault;
      require(fault.empty(), fault.c_str());
    }
  }

  void check_tables() {
    std::uint32_t held = 0;
    for (const auto& lcore : world_.lcores) {
      check_flows(lcore->state.flows4);
      check_flows(lcore->state.flows6);
      held += lcore->state.fragments.held();
      require(lcore->state.fragments.datagrams() <= 4, "datagrams under way are bounded");
    }
    require(held == world_.held(), "every fragment that waits is known, and no other");
    require(rte_mempool_in_use_count(pool()) == world_.held_buffers(), "no buffer is lost");
  }

  [[nodiscard]] std::uint64_t all_drops() const {
    std::uint64_t sum = 0;
    for (const Counter& counter : world_.counters.drops) {
      sum += counter.get();
    }
    return sum;
  }

  const Script& script_;
  World& world_;
  std::vector<Arrival> burst_;
  Frame last_;
};

// One World for each kind of script, made new in all that packets change.
World& world_of(const Script& script) {
  static std::map<std::uint8_t, std::unique_ptr<World>> worlds;
  Script kind = script;
  kind.steps.clear();
  std::unique_ptr<World>& world = worlds[encode_script(kind)[0]];
  if (world == nullptr) {
    world =
        std::make_unique<World>(script.ipv6 ? Family::kIpv6 : Family::kIpv4, options_of(script));
    world->snapshot.refuse_unknown_ports = script.refuses;
    world->remember();
  }
  world->reset();
  return *world;
}

// Often with the checksums right again: with wrong ones nothing gets far.
void mutate_frame(Frame& frame, std::minstd_rand& random) {
  frame.resize(LLVMFuzzerMutate(frame.data(), frame.size(), frame.size()));
  if (random() % 8 == 0) {
    return;
  }
  if (is_judgeable(frame)) {
    fix_checksums(frame);
  } else if (has_ipv4_header(frame)) {
    frame = ip_checksum_fixed(frame);
  }
}

void mutate_step(Script& script, std::minstd_rand& random) {
  Step& step = script.steps[random() % script.steps.size()];
  if (step.kind == Step::Kind::kFrame && !step.frame.empty() && random() % 4 != 0) {
    mutate_frame(step.frame, random);
    return;
  }
  switch (random() % 6) {
    case 4:
      step.in_segments = !step.in_segments;
      break;
    case 0:
      step.value = static_cast<std::uint8_t>(random());
      break;
    case 1:
      step.together = !step.together;
      break;
    case 2:
      script.steps.push_back(step);
      break;
    case 3:
      std::swap(step, script.steps[random() % script.steps.size()]);
      break;
    default: {
      Step other;
      other.kind = static_cast<Step::Kind>(1 + random() % 4);
      other.value = static_cast<std::uint8_t>(random());
      script.steps.insert(
          script.steps.begin() + static_cast<std::ptrdiff_t>(random() % script.steps.size()),
          other);
    }
  }
}

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::testing;
  const Script script = decode_script({data, size});
  Run(script, world_of(script)).all();
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  using namespace sluice::testing;
  std::minstd_rand random(seed);
  Script script = decode_script({data, size});
  if (script.steps.empty() || random() % 32 == 0) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  mutate_step(script, random);
  std::vector<std::uint8_t> bytes = encode_script(script);
  if (random() % 16 == 0) {
    bytes[0] ^= static_cast<std::uint8_t>(1U << (random() % 6));  // what kind of World
  }
  const std::size_t length = std::min(bytes.size(), max_size);
  std::memcpy(data, bytes.data(), length);
  return length;
}
