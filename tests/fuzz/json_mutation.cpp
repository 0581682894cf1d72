// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/json_mutation.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

namespace sluice::testing {
namespace {

using Json = nlohmann::json;

void collect(Json& of, std::vector<Json*>& into) {
  into.push_back(&of);
  if (of.is_structured()) {
    for (Json& each : of) {
      collect(each, into);
    }
  }
}

Json word(std::minstd_rand& random) {
  static const std::vector<Json> kWords{nullptr,
                                        true,
                                        false,
                                        0,
                                        -1,
                                        1,
                                        80,
                                        65'535,
                                        65'536,
                                        2'147'483'648,
                                        9223372036854775807,
                                        18446744073709551615U,
                                        1e300,
                                        0.5,
                                        "",
                                        "None",
                                        "TCP",
                                        "UDP",
                                        "SCTP",
                                        "Local",
                                        "Cluster",
                                        "ClientIP",
                                        "ExternalName",
                                        "LoadBalancer",
                                        "NodePort",
                                        "ClusterIP",
                                        "IPv4",
                                        "IPv6",
                                        "FQDN",
                                        "sluice.dev/gateway",
                                        "10.0.0.1",
                                        "2001:db8::1",
                                        "::ffff:1.2.3.4",
                                        "192.0.2.9",
                                        "0.0.0.0/0",
                                        "10.0.0.1/33",
                                        "http",
                                        "dns",
                                        "true",
                                        "node",
                                        "endpoint",
                                        "reset",
                                        "zone-1",
                                        "sound",
                                        "sound-pods",
                                        "sound-a",
                                        std::string("a\0b", 3),
                                        "\xf0\x9f\x92\xa9",
                                        std::string(300, 'x'),
                                        Json::array(),
                                        Json::object()};
  return kWords[random() % kWords.size()];
}

void mutate_value(Json& root, std::minstd_rand& random) {
  std::vector<Json*> all;
  collect(root, all);
  Json& at = *all[random() % all.size()];
  const Json other = *all[random() % all.size()];
  switch (random() % 6) {
    case 0:
      at = word(random);
      break;
    case 1:
      at = other;
      break;
    case 2:
      at = Json::array({at, other});
      break;
    case 3:
      if (at.is_array()) {
        at.push_back(at.empty() ? other : Json(at[random() % at.size()]));
      } else if (at.is_object() && other.is_object()) {
        at.update(other);
      }
      break;
    case 4:
      if (at.is_structured() && !at.empty()) {
        auto gone = at.begin();
        std::advance(gone, random() % at.size());
        at.erase(gone);
      }
      break;
    default:
      if (at.is_number_integer()) {
        at = at.get<std::int64_t>() / 2 + static_cast<std::int64_t>(random() % 3) - 1;
      } else {
        at = word(random);
      }
  }
}

}  // namespace

std::string mutated(const std::string& stream, std::minstd_rand& random) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < stream.size();) {
    const std::size_t end = std::min(stream.find('\n', begin), stream.size());
    lines.push_back(stream.substr(begin, end - begin));
    begin = end + 1;
  }
  if (lines.empty()) {
    return stream;
  }
  std::string& line = lines[random() % lines.size()];
  constexpr std::ptrdiff_t kDepthMax = 1'000;  // of what is written recursively
  const bool is_deep = std::count_if(line.begin(), line.end(), [](char octet) {
                         return octet == '[' || octet == '{';
                       }) > kDepthMax;
  Json read = Json::parse(is_deep ? "" : line, nullptr, false);
  if (!read.is_discarded()) {
    for (std::uint32_t times = 1 + random() % 3; times != 0; --times) {
      mutate_value(read, random);
    }
    line = read.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  if (random() % 8 == 0) {
    lines.push_back(lines[random() % lines.size()]);
  }
  std::string text;
  for (const std::string& each : lines) {
    text += each + "\n";
  }
  return text;
}

}  // namespace sluice::testing
