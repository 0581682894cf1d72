// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/affinity.h"

#include <algorithm>
#include <bit>

namespace sluice {

Affinity::Affinity(std::uint32_t clients, const HashSecret& secret)
    : buckets_(std::bit_ceil(std::max<std::size_t>(1, clients / kWays))), secret_(secret) {}

// The flow table's hash of a tuple that no packet has: an attacker knows neither.
std::size_t Affinity::bucket_of(const IpAddress& client, std::uint32_t service_port) const {
  FlowKey6 key{};
  key.source.bytes = client.bytes;
  std::memcpy(key.destination.bytes.data(), &service_port, sizeof(service_port));
  return hash_key(key, secret_) & (buckets_.size() - 1);
}

std::optional<BindingRef> Affinity::find(const IpAddress& client, std::uint32_t service_port,
                                         std::uint32_t now_ms, std::uint32_t timeout_ms) const {
  for (const Entry& entry : buckets_[bucket_of(client, service_port)]) {
    if (entry.timeout_ms != 0 && entry.service_port == service_port &&
        entry.client == client.bytes) {
      return now_ms - entry.since_ms < timeout_ms ? std::optional(entry.where) : std::nullopt;
    }
  }
  return std::nullopt;
}

bool Affinity::remember(const IpAddress& client, std::uint32_t service_port, BindingRef where,
                        std::uint32_t now_ms, std::uint32_t timeout_ms) {
  Bucket& bucket = buckets_[bucket_of(client, service_port)];
  const auto age = [now_ms](const Entry& entry) { return now_ms - entry.since_ms; };
  const auto is_free = [&age](const Entry& entry) { return age(entry) >= entry.timeout_ms; };
  auto chosen = std::find_if(bucket.begin(), bucket.end(), [&](const Entry& entry) {
    return entry.timeout_ms != 0 && entry.service_port == service_port &&
           entry.client == client.bytes;
  });
  bool evicted = false;
  if (chosen == bucket.end()) {
    chosen = std::find_if(bucket.begin(), bucket.end(), is_free);
  }
  if (chosen == bucket.end()) {
    chosen = std::max_element(bucket.begin(), bucket.end(),
                              [&age](const Entry& a, const Entry& b) { return age(a) < age(b); });
    evicted = true;
  }
  chosen->client = client.bytes;
  chosen->service_port = service_port;
  chosen->where = where;
  chosen->since_ms = now_ms;
  chosen->timeout_ms = timeout_ms;
  return evicted;
}

}  // namespace sluice
