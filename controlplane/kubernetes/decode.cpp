// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/decode.h"

#include <algorithm>
#include <simdjson.h>

namespace sluice::kubernetes {
namespace {

using Element = simdjson::dom::element;

// Reads members of objects, and keeps the first fault: what was read after it is of no use.
class Reader {
 public:
  explicit Reader(std::string& fault) : fault_(fault) {}

  // Null when it is absent, null, or of the wrong type, which is a fault.
  std::optional<Element> member(const Element& of, const char* key,
                                simdjson::dom::element_type type, const char* expected) {
    Element found;
    if (of.at_key(key).get(found) != simdjson::SUCCESS || found.is_null()) {
      return std::nullopt;
    }
    const bool is_number =
        type == simdjson::dom::element_type::INT64 && (found.is_int64() || found.is_uint64());
    if (found.type() != type && !is_number) {
      note(key, expected);
      return std::nullopt;
    }
    return found;
  }

  std::string_view text(const Element& of, const char* key) {
    const auto found = member(of, key, simdjson::dom::element_type::STRING, "a string");
    std::string_view value;
    if (found && found->get_string().get(value) != simdjson::SUCCESS) {
      note(key, "a string");
    }
    return value;
  }
  std::optional<std::int64_t> number(const Element& of, const char* key) {
    const auto found = member(of, key, simdjson::dom::element_type::INT64, "a whole number");
    if (!found) {
      return std::nullopt;
    }
    std::int64_t value = 0;
    if (found->get_int64().get(value) != simdjson::SUCCESS) {
      note(key, "a number of 64 bits");
    }
    return value;
  }
  Condition condition(const Element& of, const char* key) {
    Element found;
    if (of.at_key(key).get(found) != simdjson::SUCCESS || found.is_null()) {
      return Condition::kAbsent;
    }
    bool value = false;
    if (found.get_bool().get(value) != simdjson::SUCCESS) {
      note(key, "true or false");
    }
    return value ? Condition::kTrue : Condition::kFalse;
  }
  std::optional<Element> object(const Element& of, const char* key) {
    return member(of, key, simdjson::dom::element_type::OBJECT, "an object");
  }
  template <typename Each>
  void for_each(const Element& of, const char* key, Each&& each) {
    const auto found = member(of, key, simdjson::dom::element_type::ARRAY, "an array");
    if (!found) {
      return;
    }
    simdjson::dom::array elements;
    if (found->get_array().get(elements) == simdjson::SUCCESS) {
      for (const Element element : elements) {
        each(element);
      }
    }
  }
  std::vector<std::string> texts(const Element& of, const char* key) {
    std::vector<std::string> found;
    for_each(of, key, [&](const Element& element) {
      std::string_view value;
      if (element.get_string().get(value) == simdjson::SUCCESS) {
        found.emplace_back(value);
      } else {
        note(key, "strings");
      }
    });
    return found;
  }
  std::map<std::string, std::string> text_map(const Element& of, const char* key) {
    std::map<std::string, std::string> found;
    if (const auto members = object(of, key)) {
      simdjson::dom::object pairs;
      if (members->get_object().get(pairs) != simdjson::SUCCESS) {
        return found;
      }
      for (const auto& [name, element] : pairs) {
        std::string_view value;
        if (element.get_string().get(value) == simdjson::SUCCESS) {
          found.emplace(name, value);
        } else {
          note(key, "strings");
        }
      }
    }
    return found;
  }
  // An object of an array; a scalar among them is a fault.
  bool is_object(const Element& element, const char* key) {
    if (!element.is_object()) {
      note(key, "objects");
    }
    return element.is_object();
  }
  void note(const char* key, const char* expected) {
    if (fault_.empty()) {
      fault_ = std::string(key) + ": expected " + expected;
    }
  }

 private:
  std::string& fault_;
};

void read_meta(Reader& reader, const Element& root, ObjectMeta& meta) {
  const auto found = reader.object(root, "metadata");
  if (!found) {
    reader.note("metadata", "an object");
    return;
  }
  meta.name = {std::string(reader.text(*found, "namespace")),
               std::string(reader.text(*found, "name"))};
  if (meta.name.name.empty()) {
    reader.note("metadata.name", "a name");
  }
  meta.uid = reader.text(*found, "uid");
  meta.resource_version = reader.text(*found, "resourceVersion");
  meta.labels = reader.text_map(*found, "labels");
  meta.annotations = reader.text_map(*found, "annotations");
  meta.finalizers = reader.texts(*found, "finalizers");
  meta.deleting = !reader.text(*found, "deletionTimestamp").empty();
}

std::string_view or_default(std::string_view text, std::string_view absent) {
  return text.empty() ? absent : text;
}

void read_ports(Reader& reader, const Element& spec, Service& service) {
  reader.for_each(spec, "ports", [&](const Element& element) {
    if (!reader.is_object(element, "spec.ports")) {
      return;
    }
    ServicePort port;
    port.name = reader.text(element, "name");
    port.protocol = or_default(reader.text(element, "protocol"), "TCP");
    port.port = reader.number(element, "port").value_or(0);
    port.node_port = reader.number(element, "nodePort").value_or(0);
    port.app_protocol = reader.text(element, "appProtocol");
    service.ports.push_back(std::move(port));
  });
}

void read_addresses(Reader& reader, const Element& spec, Service& service) {
  service.cluster_ips = reader.texts(spec, "clusterIPs");
  const std::string_view cluster_ip = reader.text(spec, "clusterIP");
  if (service.cluster_ips.empty() && !cluster_ip.empty()) {
    service.cluster_ips.emplace_back(cluster_ip);  // servers before 1.20
  }
  service.ip_families = reader.texts(spec, "ipFamilies");
  service.ip_family_policy = reader.text(spec, "ipFamilyPolicy");
  service.external_ips = reader.texts(spec, "externalIPs");
  service.load_balancer_ip = reader.text(spec, "loadBalancerIP");
  Element load_balancer_class;
  if (spec.at_key("loadBalancerClass").get(load_balancer_class) == simdjson::SUCCESS &&
      !load_balancer_class.is_null()) {
    service.load_balancer_class = std::string(reader.text(spec, "loadBalancerClass"));
  }
  service.source_ranges = reader.texts(spec, "loadBalancerSourceRanges");
}

void read_spec(Reader& reader, const Element& spec, Service& service) {
  service.type = or_default(reader.text(spec, "type"), "ClusterIP");
  read_addresses(reader, spec, service);
  read_ports(reader, spec, service);
  service.session_affinity = reader.text(spec, "sessionAffinity");
  if (const auto config = reader.object(spec, "sessionAffinityConfig")) {
    if (const auto client_ip = reader.object(*config, "clientIP")) {
      service.affinity_seconds = reader.number(*client_ip, "timeoutSeconds");
    }
  }
  service.external_traffic_policy = reader.text(spec, "externalTrafficPolicy");
  service.internal_traffic_policy = reader.text(spec, "internalTrafficPolicy");
  service.health_check_node_port = reader.number(spec, "healthCheckNodePort").value_or(0);
  service.external_name = reader.text(spec, "externalName");
}

void read_conditions(Reader& reader, const Element& status, Service& service) {
  reader.for_each(status, "conditions", [&](const Element& element) {
    if (reader.is_object(element, "status.conditions")) {
      service.conditions.push_back(
          {std::string(reader.text(element, "type")), std::string(reader.text(element, "status")),
           std::string(reader.text(element, "reason")),
           std::string(reader.text(element, "message")),
           std::string(reader.text(element, "lastTransitionTime")), simdjson::minify(element)});
    }
  });
}

void read_status(Reader& reader, const Element& root, Service& service) {
  const auto status = reader.object(root, "status");
  if (status) {
    read_conditions(reader, *status, service);
  }
  const auto balancer = status ? reader.object(*status, "loadBalancer") : std::nullopt;
  if (!balancer) {
    return;
  }
  reader.for_each(*balancer, "ingress", [&](const Element& element) {
    if (reader.is_object(element, "status.loadBalancer.ingress")) {
      service.ingress.push_back(
          {std::string(reader.text(element, "ip")), std::string(reader.text(element, "ipMode"))});
      reader.for_each(element, "ports", [&](const Element& port) {
        if (reader.is_object(port, "status.loadBalancer.ingress.ports") &&
            !reader.text(port, "error").empty()) {
          service.ingress.back().ports.push_back({reader.number(port, "port").value_or(0),
                                                  std::string(reader.text(port, "protocol")),
                                                  std::string(reader.text(port, "error"))});
        }
      });
    }
  });
}

// Names of a hint's objects, apart by ' '.
std::string hinted(Reader& reader, const Element& hints, const char* key) {
  std::string names;
  reader.for_each(hints, key, [&](const Element& element) {
    if (reader.is_object(element, key)) {
      names += (names.empty() ? "" : " ") + std::string(reader.text(element, "name"));
    }
  });
  return names;
}

void read_slice_ports(Reader& reader, const Element& root, EndpointSlice& slice) {
  reader.for_each(root, "ports", [&](const Element& element) {
    if (!reader.is_object(element, "ports")) {
      return;
    }
    // Without a number a port means all of them, which no Service port can be (2.1).
    const std::int64_t port = reader.number(element, "port").value_or(0);
    if (port < 1 || port > 65'535) {
      return;
    }
    slice.ports.push_back({std::string(reader.text(element, "name")),
                           std::string(or_default(reader.text(element, "protocol"), "TCP")),
                           static_cast<std::uint16_t>(port)});
  });
}

void read_endpoint(Reader& reader, const Element& element, Names& names, EndpointSlice& slice) {
  SliceEndpoint endpoint;
  const std::vector<std::string> addresses = reader.texts(element, "addresses");
  const auto address = addresses.empty() ? std::nullopt : parse_ip(addresses.front());
  if (!address) {
    return;  // it has none that packets could be sent to
  }
  endpoint.address = *address;
  if (const auto conditions = reader.object(element, "conditions")) {
    endpoint.ready = reader.condition(*conditions, "ready");
    endpoint.serving = reader.condition(*conditions, "serving");
    endpoint.terminating = reader.condition(*conditions, "terminating");
  }
  endpoint.hostname = names.intern(reader.text(element, "hostname"));
  endpoint.node_name = names.intern(reader.text(element, "nodeName"));
  endpoint.zone = names.intern(reader.text(element, "zone"));
  if (const auto hints = reader.object(element, "hints")) {
    endpoint.hinted_zones = names.intern(hinted(reader, *hints, "forZones"));
    endpoint.hinted_nodes = names.intern(hinted(reader, *hints, "forNodes"));
  }
  slice.endpoints.push_back(endpoint);
}

EventType event_type_of(std::string_view text) {
  if (text == "ADDED") {
    return EventType::kAdded;
  }
  if (text == "MODIFIED") {
    return EventType::kModified;
  }
  if (text == "DELETED") {
    return EventType::kDeleted;
  }
  if (text == "BOOKMARK") {
    return EventType::kBookmark;
  }
  return text == "ERROR" ? EventType::kError : EventType::kUnknown;
}

}  // namespace

struct Decoder::Parser {
  simdjson::dom::parser json;
  std::string object;  // of the last event, as a text of its own
};

Decoder::Decoder() : parser_(std::make_unique<Parser>()) {}
Decoder::~Decoder() = default;

template <typename Read>
bool Decoder::read(std::string_view json, Read&& reads) {
  fault_.clear();
  Element root;
  const auto error = parser_->json.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    fault_ = simdjson::error_message(error);
    return false;
  }
  if (!root.is_object()) {
    fault_ = "expected an object";
    return false;
  }
  Reader reader(fault_);
  reads(reader, root);
  return fault_.empty();
}

std::optional<Service> Decoder::service(std::string_view json) {
  Service service;
  service.type = "ClusterIP";  // also of one without a spec
  const bool sound = read(json, [&](Reader& reader, const Element& root) {
    read_meta(reader, root, service.meta);
    if (const auto spec = reader.object(root, "spec")) {
      read_spec(reader, *spec, service);
    }
    read_status(reader, root, service);
  });
  return sound ? std::optional(std::move(service)) : std::nullopt;
}

std::optional<EndpointSlice> Decoder::slice(std::string_view json, Names& names) {
  EndpointSlice slice;
  const bool sound = read(json, [&](Reader& reader, const Element& root) {
    ObjectMeta meta;
    read_meta(reader, root, meta);
    slice.name = meta.name;
    const auto service = meta.labels.find("kubernetes.io/service-name");
    slice.service = service == meta.labels.end() ? "" : service->second;
    slice.headless = meta.labels.contains("service.kubernetes.io/headless") ||
                     reader.text(root, "addressType") == "FQDN";
    if (slice.headless) {
      return;
    }
    read_slice_ports(reader, root, slice);
    reader.for_each(root, "endpoints", [&](const Element& element) {
      if (reader.is_object(element, "endpoints")) {
        read_endpoint(reader, element, names, slice);
      }
    });
  });
  return sound ? std::optional(std::move(slice)) : std::nullopt;
}

std::optional<Node> Decoder::node(std::string_view json) {
  Node node;
  const bool sound = read(json, [&](Reader& reader, const Element& root) {
    read_meta(reader, root, node.meta);
    if (const auto spec = reader.object(root, "spec")) {
      node.pod_cidrs = reader.texts(*spec, "podCIDRs");
      reader.for_each(*spec, "taints", [&](const Element& element) {
        node.to_be_deleted =
            node.to_be_deleted || (reader.is_object(element, "spec.taints") &&
                                   reader.text(element, "key") == "ToBeDeletedByClusterAutoscaler");
      });
    }
    const auto status = reader.object(root, "status");
    if (!status) {
      return;
    }
    reader.for_each(*status, "addresses", [&](const Element& element) {
      if (!reader.is_object(element, "status.addresses")) {
        return;
      }
      const std::string_view type = reader.text(element, "type");
      const auto address = parse_ip(reader.text(element, "address"));
      if (address && type == "InternalIP") {
        node.internal_ips.push_back(*address);
      } else if (address && type == "ExternalIP") {
        node.external_ips.push_back(*address);
      }
    });
  });
  return sound ? std::optional(std::move(node)) : std::nullopt;
}

std::optional<ApiStatus> Decoder::status(std::string_view json) {
  ApiStatus status;
  const bool sound = read(json, [&](Reader& reader, const Element& root) {
    status.code = static_cast<int>(reader.number(root, "code").value_or(0));
    status.reason = reader.text(root, "reason");
    status.message = reader.text(root, "message");
  });
  return sound ? std::optional(std::move(status)) : std::nullopt;
}

std::optional<ListMeta> Decoder::list(std::string_view envelope) {
  ListMeta meta;
  const bool sound = read(envelope, [&](Reader& reader, const Element& root) {
    if (const auto found = reader.object(root, "metadata")) {
      meta.resource_version = reader.text(*found, "resourceVersion");
      meta.continue_token = reader.text(*found, "continue");
    }
  });
  return sound ? std::optional(std::move(meta)) : std::nullopt;
}

std::optional<WatchEvent> Decoder::event(std::string_view json) {
  WatchEvent event;
  fault_.clear();
  Element root;
  const auto error = parser_->json.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS || !root.is_object()) {
    fault_ = error != simdjson::SUCCESS ? simdjson::error_message(error) : "expected an object";
    return std::nullopt;
  }
  Reader reader(fault_);
  event.type = event_type_of(reader.text(root, "type"));
  const auto object = reader.object(root, "object");
  if (!object) {
    reader.note("object", "an object");
  }
  if (!fault_.empty()) {
    return std::nullopt;
  }
  parser_->object = simdjson::minify(*object);
  event.object = parser_->object;
  return event;
}

std::string Decoder::resource_version(std::string_view json) {
  std::string version;
  read(json, [&](Reader& reader, const Element& root) {
    if (const auto meta = reader.object(root, "metadata")) {
      version = reader.text(*meta, "resourceVersion");
    }
  });
  return version;
}

ServiceName Decoder::name(std::string_view json) {
  ServiceName name;
  read(json, [&](Reader& reader, const Element& root) {
    if (const auto meta = reader.object(root, "metadata")) {
      name = {std::string(reader.text(*meta, "namespace")),
              std::string(reader.text(*meta, "name"))};
    }
  });
  return name;
}

}  // namespace sluice::kubernetes
