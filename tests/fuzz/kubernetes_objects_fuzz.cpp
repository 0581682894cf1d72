// SPDX-License-Identifier: Apache-2.0
// Whatever the objects of a cluster say: from the octets of a watch to what the gateways are told.
// An input is a watch stream, as one resource's or as all of them. What must hold: where a stream
// is cut means nothing; what becomes of it can be sent; and a service that the input does not name,
// in no string of any object, is told to the gateways as before.
#include "controlplane/kubernetes/cluster_state.h"
#include "controlplane/kubernetes/decode.h"
#include "controlplane/kubernetes/gateway_routes.h"
#include "controlplane/kubernetes/json_stream.h"
#include "controlplane/kubernetes/node_health.h"
#include "controlplane/kubernetes/translate.h"
#include "tests/fuzz/json_mutation.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace sluice::kubernetes {
namespace {

using Json = nlohmann::json;
using Strings = std::set<std::string>;

void require(bool holds, const char* what, const std::string& which = "") {
  if (!holds) {
    std::fprintf(stderr, "kubernetes_objects_fuzz: does not hold: %s\n%s\n", what, which.c_str());
    std::abort();
  }
}

// ---- a stream, cut anywhere

template <typename Splitter>
void feed(Splitter& splitter, std::string_view text, std::size_t piece_max, std::uint32_t seed) {
  std::minstd_rand random(seed);
  while (!text.empty()) {
    const std::size_t size = std::min(text.size(), 1 + random() % piece_max);
    splitter.feed(text.substr(0, size));
    text.remove_prefix(size);
  }
}

std::vector<std::string> events_of(std::string_view stream, std::size_t piece_max) {
  std::vector<std::string> events;
  EventSplitter splitter([&](std::string_view event) { events.emplace_back(event); });
  feed(splitter, stream, piece_max, static_cast<std::uint32_t>(stream.size()));
  return events;
}

// Its items, then what is left of it.
std::vector<std::string> items_of(std::string_view list, std::size_t piece_max) {
  std::vector<std::string> items;
  ListSplitter splitter([&](std::string_view item) { items.emplace_back(item); });
  feed(splitter, list, piece_max, static_cast<std::uint32_t>(list.size()));
  items.push_back(splitter.is_complete() ? splitter.envelope() : "");
  return items;
}

std::vector<std::string> check_splitting(std::string_view stream) {
  const std::vector<std::string> events = events_of(stream, stream.size() + 1);
  require(events == events_of(stream, 1), "an event is the same octet by octet");
  require(events == events_of(stream, 97), "an event is the same in pieces");
  require(items_of(stream, stream.size() + 1) == items_of(stream, 13),
          "an item is the same in pieces");
  return events;
}

// ---- a sound cluster

struct Sound {
  ServiceName name;
  Strings depends_on;  // who names none of these says nothing of it
};

constexpr const char* kSoundServices[] = {
    R"({"metadata":{"namespace":"sound","name":"sound-pods","uid":"1","resourceVersion":"1"},
"spec":{"type":"LoadBalancer","loadBalancerClass":"sluice.dev/gateway","clusterIP":"10.96.0.1",
"ipFamilies":["IPv4"],"externalIPs":["192.0.2.9"],"ports":[{"name":"http","port":80,"nodePort":30080},
{"name":"dns","protocol":"UDP","port":53,"nodePort":30053}]}})",
    R"({"metadata":{"namespace":"sound","name":"sound-local","uid":"2","resourceVersion":"1",
"annotations":{"sluice.dev/delivery":"node"}},"spec":{"type":"LoadBalancer",
"loadBalancerClass":"sluice.dev/gateway","clusterIP":"10.96.0.2","ipFamilies":["IPv4"],
"externalTrafficPolicy":"Local","healthCheckNodePort":30100,
"ports":[{"name":"http","port":80,"nodePort":30081}]}})",
    R"({"metadata":{"namespace":"sound","name":"sound-cluster","uid":"3","resourceVersion":"1",
"annotations":{"sluice.dev/delivery":"node"}},"spec":{"type":"NodePort","clusterIP":"10.96.0.3",
"ipFamilies":["IPv4"],"ports":[{"port":80,"nodePort":30082}]}})",
};
constexpr const char* kSoundSlices[] = {
    R"({"metadata":{"namespace":"sound","name":"sound-pods-1","labels":
{"kubernetes.io/service-name":"sound-pods"}},"addressType":"IPv4","ports":[{"name":"http","port":8080},
{"name":"dns","protocol":"UDP","port":5353}],"endpoints":[{"addresses":["10.0.0.1"],"nodeName":
"sound-a","conditions":{"ready":true}},{"addresses":["10.0.0.2"],"conditions":{"ready":false,
"serving":true,"terminating":true}}]})",
    R"({"metadata":{"namespace":"sound","name":"sound-local-1","labels":
{"kubernetes.io/service-name":"sound-local"}},"addressType":"IPv4","ports":[{"name":"http","port":8080}],
"endpoints":[{"addresses":["10.0.0.3"],"nodeName":"sound-a"},{"addresses":["10.0.0.4"],"nodeName":
"sound-b"}]})",
    R"({"metadata":{"namespace":"sound","name":"sound-cluster-1","labels":
{"kubernetes.io/service-name":"sound-cluster"}},"addressType":"IPv4","ports":[{"name":"","port":8080}],
"endpoints":[{"addresses":["10.0.0.5"],"nodeName":"sound-b"}]})",
};
constexpr const char* kSoundNodes[] = {
    R"({"metadata":{"name":"sound-a"},"status":{"addresses":[{"type":"InternalIP",
"address":"192.168.0.1"}]}})",
    R"({"metadata":{"name":"sound-b"},"spec":{"podCIDRs":["10.0.1.0/24"]},"status":{"addresses":
[{"type":"InternalIP","address":"192.168.0.2"}]}})",
};

const std::vector<Sound>& sound_services() {
  static const std::vector<Sound> sound{
      {{"sound", "sound-pods"}, {"sound-pods", "sound-pods-1"}},
      {{"sound", "sound-local"}, {"sound-local", "sound-local-1", "sound-a", "sound-b"}},
      {{"sound", "sound-cluster"}, {"sound-cluster", "sound-cluster-1", "sound-a", "sound-b"}}};
  return sound;
}

TranslateSettings settings() {
  TranslateSettings made;
  made.expose_cluster_ips = true;
  made.external_ips = {*model::parse_address_range("192.0.2.0/24")};
  made.zone = "zone-1";
  return made;
}

// All that the translation is given, in one place.
Translation translated(const ClusterState& state, const ServiceName& name) {
  static const TranslateSettings kSettings = settings();
  static const std::vector<IpAddress> kVips{*parse_ip("203.0.113.1"), *parse_ip("2001:db8::1")};
  const ServiceView view = state.view(name);
  static const GatewayRoutes kRoutes({*parse_prefix("10.0.0.0/8")});  // to some pods, not to all
  const std::shared_ptr<const Nodes> nodes = state.all_nodes();
  return translate(*view.service, view.slices,
                   {.nodes = *nodes, .routes = &kRoutes, .health = nullptr, .loses_clients = false},
                   kVips, kSettings);
}

std::string serialized(const v1::Service& service) {
  std::string text;
  google::protobuf::io::StringOutputStream into(&text);
  google::protobuf::io::CodedOutputStream stream(&into);
  stream.SetSerializationDeterministic(true);
  service.SerializeToCodedStream(&stream);
  stream.Trim();
  return text;
}

// What the gateways are told of a sound service. Other nodes than the sound ones may be next hops
// too, which is no fault.
std::string told_of(const ClusterState& state, const ServiceName& name) {
  Translation made = translated(state, name);
  if (!made.service) {
    return "none: " + made.why_not;
  }
  auto& endpoints = *made.service->mutable_spec()->mutable_endpoints();
  endpoints.erase(std::remove_if(endpoints.begin(), endpoints.end(),
                                 [](const v1::Endpoint& each) {
                                   return !each.node_name().empty() &&
                                          !each.node_name().starts_with("sound-");
                                 }),
                  endpoints.end());
  std::string text = serialized(*made.service);
  for (const Finding& finding : made.findings) {
    text += finding.reason + finding.message;
  }
  return text;
}

// ---- what an object names, read by another parser than the one under test

// Members that are there twice too; a DOM would keep one of them.
struct StringTaker final : nlohmann::json_sax<Json> {
  Strings found;

  bool string(std::string& text) override {
    found.insert(text);
    return true;
  }
  bool key(std::string& text) override { return string(text); }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(std::int64_t) override { return true; }
  bool number_unsigned(std::uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }
};

// Nothing: it cannot be read, so it may name anything.
std::optional<Strings> strings_of(std::string_view object) {
  StringTaker taker;
  return Json::sax_parse(object.begin(), object.end(), &taker) ? std::optional(taker.found)
                                                               : std::nullopt;
}

class Run {
 public:
  Run() {
    relist({});
    for (const Sound& sound : sound_services()) {
      before_[sound.name] = told_of(state_, sound.name);
      require(before_[sound.name].size() > 100, "the sound services are served");
    }
  }

  // As the reflectors do it, each of them for once.
  void take(const std::string& json) {
    const auto event = decoder_.event(json);
    if (!event) {
      return;
    }
    const EventType type = event->type;
    const std::string object(event->object);
    (void)decoder_.status(object);
    (void)decoder_.list(object);
    (void)decoder_.resource_version(object);
    if (const auto strings = strings_of(object)) {
      named_.insert(strings->begin(), strings->end());
    } else {
      names_anything_ = true;
    }
    for (ObjectSink* sink : {&state_.services(), &state_.slices(), &state_.nodes()}) {
      if (type == EventType::kAdded || type == EventType::kModified) {
        sink->take(object);
      } else if (type == EventType::kDeleted) {
        sink->remove(object);
      }
    }
    objects_.push_back(object);
  }

  void check() {
    check_all();
    relist(objects_);  // what the input did not name is there again
    check_all();
  }

 private:
  template <std::size_t kCount>
  static void list(ObjectSink& sink, const char* const (&sound)[kCount],
                   const std::vector<std::string>& others) {
    sink.begin_list();
    for (std::size_t i = 0; i < others.size(); ++i) {
      if (i % 2 == 0) {
        sink.take(others[i]);
      }
    }
    for (const char* object : sound) {
      sink.take(object);
    }
    for (std::size_t i = 1; i < others.size(); i += 2) {
      sink.take(others[i]);
    }
    sink.end_list();
  }
  void relist(const std::vector<std::string>& others) {
    list(state_.services(), kSoundServices, others);
    list(state_.slices(), kSoundSlices, others);
    list(state_.nodes(), kSoundNodes, others);
  }

  void check_all() {
    std::vector<ServiceView> views;
    for (const ServiceName& name : state_.service_names()) {
      check_one(name);
      views.push_back(state_.view(name));
    }
    (void)probe_targets(
        views, *state_.all_nodes(),
        {[](const ServiceView&) { return true; }, [](const Node&) { return true; }});
    for (const Sound& sound : sound_services()) {
      const bool is_named =
          names_anything_ ||
          std::any_of(sound.depends_on.begin(), sound.depends_on.end(),
                      [this](const std::string& name) { return named_.contains(name); });
      if (!is_named) {
        require(state_.view(sound.name).service != nullptr, "a service stays that nobody named",
                to_string(sound.name));
        require(told_of(state_, sound.name) == before_[sound.name],
                "a service is as it was that nobody named", to_string(sound.name));
      }
    }
  }

  void check_one(const ServiceName& name) const {
    const ServiceView view = state_.view(name);
    std::vector<Finding> findings;
    (void)requested_vips(*view.service, findings);
    const Translation made = translated(state_, name);
    if (!made.service) {
      require(!made.why_not.empty(), "who is not served is told why", to_string(name));
      return;
    }
    // Else the gateway could not read the request, and with it all the services in it.
    v1::Service read;
    require(read.ParseFromString(serialized(*made.service)), "what is sent can be read",
            made.service->ShortDebugString());
    require(made.service->metadata().namespace_() == name.space &&
                made.service->metadata().name() == name.name,
            "it is told under its own name", to_string(name));
  }

  ClusterState state_{[](const std::vector<ServiceName>&) {}};
  Decoder decoder_;
  std::map<ServiceName, std::string> before_;
  std::vector<std::string> objects_;
  Strings named_;
  bool names_anything_ = false;
};

void check(std::string_view stream) {
  const std::vector<std::string> events = check_splitting(stream);
  Run run;
  for (const std::string& event : events) {
    run.take(event);
  }
  run.check();
}

// ---- larger than what is worth to be stored

std::string large_slice(std::size_t endpoints) {
  std::string text =
      R"({"type":"ADDED","object":{"metadata":{"namespace":"x","name":"large-1","labels":)"
      R"({"kubernetes.io/service-name":"large"}},"addressType":"IPv4","ports":[{"port":1}],)"
      R"("endpoints":[)";
  for (std::size_t i = 0; i < endpoints; ++i) {
    text += (i == 0 ? "" : ",") + std::string(R"({"addresses":["10.)") + std::to_string(i >> 16U) +
            "." + std::to_string(i >> 8U & 255U) + "." + std::to_string(i & 255U) +
            R"("],"nodeName":"node-)" + std::to_string(i % 100) + R"(","zone":"zone-1"})";
  }
  return text + "]}}\n";
}

void check_large() {
  const std::string service =
      R"({"type":"ADDED","object":{"metadata":{"namespace":"x","name":"large"},"spec":{"type":)"
      R"("NodePort","clusterIP":"10.96.0.9","ports":[{"port":80,"nodePort":30090}]}}})"
      "\n";
  const std::string slice = large_slice(30'000);
  require(slice.size() > 3U << 19U, "a slice of 1.5 MiB");
  check(service + slice);
  // One that is passed over, and one after it that is not.
  std::string too_large = R"({"type":"ADDED","object":{"metadata":{"name":")";
  too_large.append(kObjectBytesMax, 'x');
  require(events_of(too_large + "\"}}}\n" + service, 65'536).size() == 1, "it is passed over");
}

}  // namespace
}  // namespace sluice::kubernetes

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  spdlog::set_level(spdlog::level::off);
  sluice::kubernetes::check_large();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sluice::kubernetes::check({reinterpret_cast<const char*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (random() % 4 == 0) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  const std::string stream(reinterpret_cast<const char*>(data), size);
  const std::string made = sluice::testing::mutated(stream, random);
  if (made.empty() || made.size() > max_size) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  std::memcpy(data, made.data(), made.size());
  return made.size();
}
