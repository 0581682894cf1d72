// SPDX-License-Identifier: Apache-2.0
// JSON of the Kubernetes API -> objects. Unknown fields, unknown words, absent and null members are
// taken as they come (KUBERNETES.md 1.31); a member of the wrong type makes the object undecodable,
// as it does for a typed client.
#pragma once

#include "controlplane/kubernetes/objects.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::kubernetes {

// A "Status", which is how the API server says what is wrong.
struct ApiStatus {
  int code = 0;
  std::string reason;  // "Expired", "Forbidden", ...
  std::string message;
};

// The envelope of a list.
struct ListMeta {
  std::string resource_version;
  std::string continue_token;
};

enum class EventType : std::uint8_t { kAdded, kModified, kDeleted, kBookmark, kError, kUnknown };

// Of one resource's watch. `object` is the member of that name, valid until the next read.
struct WatchEvent {
  EventType type = EventType::kUnknown;
  std::string_view object;
};

// Holds the parser's memory, so one for each thread.
class Decoder {
 public:
  Decoder();
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Nothing: it is undecodable, and fault() says why. What could be read of its name is in name().
  std::optional<Service> service(std::string_view json);
  std::optional<EndpointSlice> slice(std::string_view json, Names& names);
  std::optional<Node> node(std::string_view json);

  std::optional<ApiStatus> status(std::string_view json);
  std::optional<ListMeta> list(std::string_view envelope);
  std::optional<WatchEvent> event(std::string_view json);
  // metadata.resourceVersion of any object; a bookmark has little else (1.13). Empty: none.
  std::string resource_version(std::string_view json);
  // namespace and name of any object, as far as they can be read.
  ServiceName name(std::string_view json);

  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  struct Parser;
  template <typename Read>
  bool read(std::string_view json, Read&& reads);

  std::unique_ptr<Parser> parser_;
  std::string fault_;
};

}  // namespace sluice::kubernetes
