// SPDX-License-Identifier: Apache-2.0
// Random clients, backends and operators against a NAT that is as simple as one can write it: maps
// that know no lcores, no tables, no bursts. What the gateway does with a packet must be what the
// model says. Two lcores; every packet arrives on each of them in turn.
//
// SLUICE_SEED=n replays a run, SLUICE_PROPERTY_STEPS=n makes it longer.
#include "dataplane/state/aging.h"
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>

namespace sluice::testing {
namespace {

constexpr std::uint32_t kAffinityMs = 30'000;

unsigned number_from(const char* name, unsigned otherwise) {
  const char* wanted = std::getenv(name);
  return wanted == nullptr ? otherwise : static_cast<unsigned>(std::atoi(wanted));
}

// --- the model

struct Endpoint {
  BindingState state = BindingState::kActive;
  std::uint8_t incarnation = 0;
};

enum class Tcp : std::uint8_t { kHalfOpen, kEstablished, kClosing, kTimeWait, kReset };

struct Client {
  std::uint8_t protocol = 0;
  std::uint32_t address = 0;
  std::uint16_t port = 0;
  friend auto operator<=>(const Client&, const Client&) = default;
};

struct Flow {
  std::uint32_t backend = 0;
  std::uint8_t incarnation = 0;
  std::uint32_t seen_ms = 0;
  Tcp tcp = Tcp::kHalfOpen;
  bool replied = false;
  bool client_ended = false;
  bool backend_ended = false;
  bool client_goes_on = false;
  bool backend_goes_on = false;
  Frame at_backend;  // the last packet that went there
};

std::uint32_t timeout_of(const Client& client, const Flow& flow) {
  if (client.protocol == kProtocolUdp) {
    return 120'000;
  }
  switch (flow.tcp) {
    case Tcp::kEstablished:
      return 7'440'000;
    case Tcp::kTimeWait:
      return 60'000;
    case Tcp::kReset:
      return 10'000;
    case Tcp::kHalfOpen:
    case Tcp::kClosing:
      break;
  }
  return 240'000;
}

// RFC 5382 and RFC 7857 in a few lines; see state/tcp_state.h for why.
void follow(Flow& flow, bool from_client, std::uint8_t flags) {
  const bool opens = (flags & kTcpSyn) != 0;
  if (flow.tcp == Tcp::kTimeWait) {
    return;
  }
  if ((flags & kTcpRst) != 0) {
    flow.tcp = Tcp::kReset;
    flow.client_goes_on = flow.backend_goes_on = false;
  } else if ((flags & kTcpFin) != 0 && !opens) {
    (from_client ? flow.client_ended : flow.backend_ended) = true;
    if (flow.tcp != Tcp::kReset) {
      flow.tcp = flow.client_ended && flow.backend_ended ? Tcp::kTimeWait : Tcp::kClosing;
    }
  } else if (flow.tcp == Tcp::kHalfOpen) {
    if (!from_client) {
      flow.replied = true;
    } else if (flow.replied && !(opens && (flags & kTcpAck) == 0)) {
      flow.tcp = Tcp::kEstablished;
    }
  } else if (flow.tcp == Tcp::kReset && !opens) {
    (from_client ? flow.client_goes_on : flow.backend_goes_on) = true;
    if (flow.client_goes_on && flow.backend_goes_on) {
      flow.tcp = Tcp::kEstablished;
      flow.client_goes_on = flow.backend_goes_on = false;
    }
  }
}

struct Affinity {
  std::uint32_t backend = 0;
  std::uint8_t incarnation = 0;
  std::uint32_t since_ms = 0;
};

// What may become of a packet: dropped for one of these reasons, or carried to this backend.
struct Expected {
  std::vector<Drop> drops;
  std::optional<std::uint32_t> backend;  // nothing: any that takes new flows
  bool opens = false;
};

// --- the test

using Given = std::tuple<Family, ForwardingMode, bool>;

class Property : public ::testing::TestWithParam<Given> {
 protected:
  static constexpr std::uint32_t kClients = 5;
  static constexpr std::uint16_t kPorts = 4;

  Property()
      : world(std::get<0>(GetParam()),
              {.lcores = 2, .flows = 1024, .mode = std::get<1>(GetParam())}),
        affine(std::get<2>(GetParam())),
        seed(number_from("SLUICE_SEED", 20261123)),
        engine(seed) {
    for (const std::uint32_t id : {World::kDnsId, World::kWebId}) {
      world.change_service(id, [&](ServicePort& s) { s.affinity_ms = affine ? kAffinityMs : 0; });
    }
  }

  std::uint32_t draw(std::uint32_t below) { return static_cast<std::uint32_t>(engine() % below); }
  [[nodiscard]] std::uint32_t now() const { return world.state.now_ms; }
  [[nodiscard]] bool dnat() const { return std::get<1>(GetParam()) == ForwardingMode::kDnat; }

  [[nodiscard]] IpAddress address_of(const Client& client) const {
    IpAddress address = world.client;
    address.bytes[address.is_ipv4() ? 3 : 15] = static_cast<std::uint8_t>(100 + client.address);
    return address;
  }
  Client any_client(std::uint8_t protocol) {
    return {protocol, draw(kClients), static_cast<std::uint16_t>(4000 + draw(kPorts))};
  }
  [[nodiscard]] FrameSpec spec_of(const Client& client, std::uint8_t flags) const {
    FrameSpec spec = world.from_client(client.protocol, client.port, flags);
    spec.source = address_of(client);
    return spec;
  }
  [[nodiscard]] std::vector<Endpoint>& endpoints_of(std::uint8_t protocol) {
    return protocol == kProtocolTcp ? web : dns;
  }
  [[nodiscard]] bool serves(std::uint8_t protocol) {
    const auto& all = endpoints_of(protocol);
    return std::any_of(all.begin(), all.end(), [](const Endpoint& endpoint) {
      return endpoint.state == BindingState::kActive;
    });
  }
  [[nodiscard]] bool is_stale(const Client& client, const Flow& flow) {
    const Endpoint& endpoint = endpoints_of(client.protocol)[flow.backend];
    return endpoint.state == BindingState::kFree || endpoint.incarnation != flow.incarnation;
  }
  [[nodiscard]] bool is_removed(const Client& client, const Flow& flow) {
    return endpoints_of(client.protocol)[flow.backend].state == BindingState::kRemoved;
  }

  // What the model says to a packet from a client; flows that end by it are gone afterwards.
  Expected expect(const Client& client, std::uint8_t flags) {
    const auto at = flows.find(client);
    if (denied.contains(client.address)) {
      flows.erase(client);
      return {{Drop::kSourceDenied}, {}, false};
    }
    if (at != flows.end() && is_stale(client, at->second)) {
      flows.erase(client);
      return expect(client, flags);
    }
    const bool udp = client.protocol == kProtocolUdp;
    const bool syn = (flags & (kTcpSyn | kTcpAck | kTcpRst)) == kTcpSyn;
    if (at != flows.end()) {
      const Flow& flow = at->second;
      const bool moves = udp && is_removed(client, flow) && serves(client.protocol);
      const bool unanswered =
          flow.tcp == Tcp::kHalfOpen && !flow.replied && is_removed(client, flow);
      const bool anew = !udp && syn &&
                        (flow.tcp == Tcp::kClosing || flow.tcp == Tcp::kTimeWait ||
                         flow.tcp == Tcp::kReset || unanswered);
      if (!moves && !anew) {
        return {{}, flow.backend, false};
      }
      if (serves(client.protocol)) {
        flows.erase(client);
      }
    } else if (!udp && !syn) {
      return {{Drop::kTcpNoFlow, Drop::kEndpointGone}, {}, false};
    }
    if (!serves(client.protocol)) {
      return {{Drop::kNoBackend}, {}, false};
    }
    const auto pinned = affinities.find({client.protocol, client.address, 0});
    if (affine && pinned != affinities.end() && now() - pinned->second.since_ms < kAffinityMs) {
      const Endpoint& endpoint = endpoints_of(client.protocol)[pinned->second.backend];
      if (endpoint.state == BindingState::kActive &&
          endpoint.incarnation == pinned->second.incarnation) {
        return {{}, pinned->second.backend, true};
      }
    }
    return {{}, {}, true};
  }

  void open(const Client& client, std::uint32_t backend) {
    const Endpoint& endpoint = endpoints_of(client.protocol)[backend];
    ASSERT_EQ(endpoint.state, BindingState::kActive) << "a new flow to one that takes none";
    Flow flow;
    flow.backend = backend;
    flow.incarnation = endpoint.incarnation;
    flows[client] = flow;
    affinities[{client.protocol, client.address, 0}] = {backend, endpoint.incarnation, now()};
  }

  // A packet of the client, whole or in shuffled fragments.
  void client_sends(const Client& client, std::uint8_t flags) {
    if (dnat() && client.protocol == kProtocolTcp && (flags & kTcpSyn) == 0 &&
        (!flows.contains(client) || is_stale(client, flows[client]))) {
      return;  // Maglev takes such a segment up again
    }
    FrameSpec spec = spec_of(client, flags);
    const bool pieces = client.protocol == kProtocolUdp && draw(4) == 0;
    spec.payload = pieces ? 700 : 20;
    const Frame frame = make_frame(spec);
    std::vector<Frame> frames{frame};
    if (pieces) {
      frames = split(frame, 200, ++identification);
      std::shuffle(frames.begin(), frames.end(), engine);
    }
    const Expected expected = expect(client, flags);
    std::vector<Outcome> outcomes = world.run_all(frames, World::kWan, false);
    for (const Outcome& held : world.take_held()) {
      outcomes.push_back(held);
    }
    std::erase_if(outcomes, [](const Outcome& o) { return o.verdict == Verdict::kHoldFragment; });
    ASSERT_EQ(outcomes.size(), frames.size());
    if (!expected.drops.empty()) {
      for (const Outcome& outcome : outcomes) {
        expect_dropped(outcome, expected.drops);
      }
      return;
    }
    std::vector<Frame> sent;
    for (const Outcome& outcome : outcomes) {
      ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
      ASSERT_EQ(outcome.out_port, World::kLan);
      sent.push_back(outcome.frame);
    }
    reached_backend(client, flags, expected, pieces ? join(sent) : sent[0]);
  }

  void reached_backend(const Client& client, std::uint8_t flags, const Expected& expected,
                       const Frame& frame) {
    const FrameFacts facts = read_frame(frame);
    ASSERT_EQ(facts.fault, "");
    const auto at = std::find(world.backends.begin(), world.backends.end(), facts.destination);
    ASSERT_NE(at, world.backends.end());
    const auto backend = static_cast<std::uint32_t>(at - world.backends.begin());
    if (expected.backend) {
      ASSERT_EQ(backend, *expected.backend);
    }
    if (expected.opens) {
      open(client, backend);
      EXPECT_EQ(facts.source, dnat() ? address_of(client) : world.snat);
    }
    Flow& flow = flows.at(client);
    if (!expected.opens) {
      const FrameFacts before = read_frame(flow.at_backend);
      EXPECT_EQ(facts.source, before.source) << "a flow keeps its tuple towards the backend";
      EXPECT_EQ(facts.source_port, before.source_port);
    }
    flow.at_backend = frame;
    flow.seen_ms = now();
    if (client.protocol == kProtocolTcp && !expected.opens) {
      follow(flow, true, flags);
    }
    for (const auto& [other, its] : flows) {
      if (other != client && other.protocol == client.protocol && !is_stale(other, its)) {
        const FrameFacts theirs = read_frame(its.at_backend);
        EXPECT_FALSE(theirs.source == facts.source && theirs.source_port == facts.source_port &&
                     theirs.destination == facts.destination)
            << "two live flows share a tuple towards a backend";
      }
    }
  }

  static void expect_dropped(const Outcome& outcome, const std::vector<Drop>& reasons) {
    EXPECT_TRUE(outcome.verdict == Verdict::kDrop || outcome.answered);
    const bool named = outcome.drop == Drop::kFragmentNoFlow ||
                       std::find(reasons.begin(), reasons.end(), outcome.drop) != reasons.end();
    EXPECT_TRUE(named) << name_of(outcome.drop) << " instead of " << name_of(reasons[0]);
  }

  // Something that went to a backend is answered, perhaps long after.
  void backend_sends(std::uint8_t flags) {
    if (flows.empty() && ended.empty()) {
      return;
    }
    const bool late = !ended.empty() && (flows.empty() || draw(4) == 0);
    const auto nth =
        std::next(flows.begin(), late ? 0 : draw(static_cast<std::uint32_t>(flows.size())));
    const Frame request =
        late ? ended[draw(static_cast<std::uint32_t>(ended.size()))] : nth->second.at_backend;
    const FrameFacts asked = read_frame(request);
    const auto live = std::find_if(flows.begin(), flows.end(), [&](const auto& entry) {
      const FrameFacts theirs = read_frame(entry.second.at_backend);
      return theirs.protocol == asked.protocol && theirs.source == asked.source &&
             theirs.source_port == asked.source_port && theirs.destination == asked.destination;
    });
    const Outcome outcome = world.run(make_frame(world.answer_to(request, flags)), World::kLan);
    if (live == flows.end()) {
      const bool transit = dnat() && outcome.verdict == Verdict::kPunt;
      EXPECT_TRUE(transit || outcome.drop == Drop::kFlowClosed ||
                  outcome.drop == Drop::kSnatNoFlow || outcome.drop == Drop::kTransit)
          << name_of(outcome.drop);
      return;
    }
    const Client client = live->first;
    Flow& flow = live->second;
    if (is_stale(client, flow) || denied.contains(client.address)) {
      expect_dropped(outcome, {Drop::kFlowClosed, Drop::kEndpointGone, Drop::kSourceDenied,
                               Drop::kSnatNoFlow, Drop::kTransit});
      end(client);
      return;
    }
    ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
    const FrameFacts facts = read_frame(outcome.frame);
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(outcome.out_port, World::kWan);
    EXPECT_EQ(facts.source, world.vip);
    EXPECT_EQ(facts.destination, address_of(client));
    EXPECT_EQ(facts.destination_port, client.port);
    flow.seen_ms = now();
    if (client.protocol == kProtocolTcp) {
      follow(flow, false, flags);
    }
  }

  // A router behind us complains about what went to a backend.
  void error_comes() {
    if (flows.empty()) {
      return;
    }
    const auto at = std::next(flows.begin(), draw(static_cast<std::uint32_t>(flows.size())));
    const auto& [client, flow] = *at;
    if (denied.contains(client.address) || is_stale(client, flow)) {
      return;
    }
    const bool ipv4 = world.family == Family::kIpv4;
    const Frame error =
        make_error(world.answer_to(flow.at_backend), ipv4 ? kIcmpUnreachable : kIcmp6Unreachable, 1,
                   0, flow.at_backend, 64);
    const Outcome outcome = world.run(error, World::kLan);
    ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
    const FrameFacts facts = read_frame(outcome.frame);
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(facts.source, world.vip);
    EXPECT_EQ(facts.destination, address_of(client));
  }

  void end(const Client& client) {
    ended.push_back(flows.at(client).at_backend);
    if (ended.size() > 50) {
      ended.erase(ended.begin());
    }
    flows.erase(client);
  }

  void time_passes() {
    constexpr std::uint32_t kSteps[]{100, 1'000, 5'000, 11'000, 31'000, 61'000, 130'000, 250'000};
    world.advance(kSteps[draw(8)]);
    for (std::size_t i = 0; i < world.lcores.size(); ++i) {
      LcoreState& state = world.lcores[i]->state;
      do {
        aging4[i].run(state.flows4, state.now_ms, state.counters);
        aging6[i].run(state.flows6, state.now_ms, state.counters);
      } while (aging4[i].behind() || aging6[i].behind());
      aging4[i].run(state.flows4, state.now_ms, state.counters);
      aging6[i].run(state.flows6, state.now_ms, state.counters);
    }
    std::vector<Client> over;
    for (const auto& [client, flow] : flows) {
      if (now() - flow.seen_ms >= timeout_of(client, flow)) {
        over.push_back(client);
      }
    }
    for (const Client& client : over) {
      end(client);
    }
  }

  void endpoint_changes() {
    const std::uint8_t protocol = draw(2) == 0 ? kProtocolTcp : kProtocolUdp;
    const std::uint32_t which = draw(3);
    Endpoint& endpoint = endpoints_of(protocol)[which];
    constexpr BindingState kStates[]{BindingState::kActive, BindingState::kActive,
                                     BindingState::kDraining, BindingState::kRemoved,
                                     BindingState::kFree};
    const BindingState next = kStates[draw(5)];
    if (endpoint.state == BindingState::kFree || (next == BindingState::kActive && draw(3) == 0)) {
      endpoint.incarnation = static_cast<std::uint8_t>((endpoint.incarnation + 1) % 64);
    }
    endpoint.state = next;
    world.set_binding(protocol == kProtocolTcp ? World::web_slot(which) : World::dns_slot(which),
                      next, endpoint.incarnation);
    std::vector<std::uint32_t> usable;
    for (std::uint32_t i = 0; i < 3; ++i) {
      if (endpoints_of(protocol)[i].state == BindingState::kActive) {
        usable.push_back(i);
      }
    }
    if (usable.empty()) {
      world.change_service(protocol == kProtocolTcp ? World::kWebId : World::kDnsId,
                           [](ServicePort& s) { s.maglev = nullptr; });
    } else if (protocol == kProtocolTcp) {
      world.set_web_backends(usable);
    } else {
      world.set_dns_backends(usable);
    }
  }

  void source_ranges_change() {
    const std::uint32_t client = draw(kClients);
    if (!denied.erase(client) && denied.size() < 2) {
      denied.insert(client);
    }
    std::vector<IpPrefix> prefixes;
    for (const std::uint32_t one : denied) {
      const IpAddress address = address_of({0, one, 0});
      prefixes.push_back({address, address.bits()});
    }
    for (const std::uint32_t id : {World::kDnsId, World::kWebId}) {
      world.change_service(id, [&](ServicePort& s) {
        s.denied = prefixes.empty() ? nullptr : std::make_shared<SourceRanges>(prefixes);
      });
    }
    ++world.snapshot.policy_epoch;
  }

  void operator_deletes() {
    FlowFilter filter;
    const Client one{0, draw(kClients), 0};
    filter.client = address_of(one);
    for (const auto& lcore : world.lcores) {
      delete_flows(filter, world.family, 0, 4096, lcore->state);
    }
    std::vector<Client> over;
    for (const auto& [client, flow] : flows) {
      if (client.address == one.address) {
        over.push_back(client);
      }
    }
    for (const Client& client : over) {
      end(client);
    }
  }

  void step() {
    constexpr std::uint8_t kClientFlags[]{kTcpSyn,           kTcpAck, kTcpAck, kTcpAck,
                                          kTcpFin | kTcpAck, kTcpRst, kTcpSyn};
    constexpr std::uint8_t kBackendFlags[]{kTcpSyn | kTcpAck, kTcpSyn | kTcpAck, kTcpAck,
                                           kTcpFin | kTcpAck, kTcpRst};
    switch (const std::uint32_t what = draw(100); what) {
      case 0:
      case 1:
      case 2:
        return endpoint_changes();
      case 3:
        return source_ranges_change();
      case 4:
        return operator_deletes();
      case 5:
      case 6:
      case 7:
      case 8:
        return time_passes();
      case 9:
      case 10:
      case 11:
        return error_comes();
      default:
        if (what < 40) {
          return backend_sends(kBackendFlags[draw(5)]);
        }
        if (what < 65) {
          return client_sends(any_client(kProtocolUdp), 0);
        }
        return client_sends(any_client(kProtocolTcp), kClientFlags[draw(7)]);
    }
  }

  World world;
  bool affine;
  unsigned seed;
  std::mt19937 engine;
  std::vector<Endpoint> dns{3};
  std::vector<Endpoint> web{3};
  std::map<Client, Flow> flows;
  std::map<Client, Affinity> affinities;
  std::vector<Frame> ended;
  std::set<std::uint32_t> denied;
  std::uint32_t identification = 0;
  std::array<Aging<Family::kIpv4>, 2> aging4;
  std::array<Aging<Family::kIpv6>, 2> aging6;
};

TEST_P(Property, TheGatewayDoesWhatTheModelSays) {
  const unsigned steps = number_from("SLUICE_PROPERTY_STEPS", 100'000);
  for (unsigned i = 0; i < steps; ++i) {
    world.advance(1);  // what ended in one turn keeps its entry for that turn
    step();
    if (HasFailure()) {
      FAIL() << "at step " << i << "; again with SLUICE_SEED=" << seed;
    }
  }
  EXPECT_FALSE(flows.empty() && ended.empty());
}

INSTANTIATE_TEST_SUITE_P(All, Property,
                         ::testing::Combine(::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Values(ForwardingMode::kFullNat,
                                                              ForwardingMode::kDnat),
                                            ::testing::Bool()));

}  // namespace
}  // namespace sluice::testing
