// SPDX-License-Identifier: Apache-2.0
// Applies transactions at a fixed rate and says how many were confirmed and how long they took.
// Each changes the weight of an endpoint of service "load", provider "load". Exit code 1 when one
// was refused, or when the rate was not reached.
#include "controlplane/client/channel.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sluice/v1/gateway.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;

// So that the rate does not hang on the time of one: it is kept as long as a transaction takes less
// than kInFlight / rate, 8 ms for a thousand a second.
constexpr unsigned kInFlight = 8;

struct Load {
  std::string server = sluice::client::kDefaultServer;
  unsigned rate = 1000;  // transactions a second
  unsigned seconds = 5;
};

struct Outcome {
  unsigned confirmed = 0;
  unsigned refused = 0;
  std::string first_refusal;
  std::vector<double> milliseconds;

  void add(const Outcome& other) {
    confirmed += other.confirmed;
    refused += other.refused;
    first_refusal = first_refusal.empty() ? other.first_refusal : first_refusal;
    milliseconds.insert(milliseconds.end(), other.milliseconds.begin(), other.milliseconds.end());
  }
};

bool take(std::string_view argument, std::string_view name, std::string& value) {
  if (!argument.starts_with(name)) {
    return false;
  }
  value = argument.substr(name.size());
  return true;
}

Load parse(int argc, char** argv) {
  Load load;
  for (int i = 1; i < argc; ++i) {
    std::string value;
    if (take(argv[i], "--server=", value)) {
      load.server = value;
    } else if (take(argv[i], "--rate=", value)) {
      load.rate = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
    } else if (take(argv[i], "--seconds=", value)) {
      load.seconds = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
    } else {
      std::fprintf(stderr, "usage: apply_load [--server=ADDRESS] [--rate=N] [--seconds=N]\n");
      std::exit(2);
    }
  }
  return load;
}

sluice::v1::ApplyRequest transaction(unsigned number) {
  sluice::v1::ApplyRequest request;
  request.set_provider("load");
  sluice::v1::Service& service = *request.add_upsert();
  service.mutable_metadata()->set_name("load");
  service.mutable_spec()->set_type("LoadBalancer");
  service.mutable_spec()->set_allocate_load_balancer_node_ports(false);
  service.mutable_spec()->add_load_balancer_ips("203.0.113.99");
  sluice::v1::ServicePort& port = *service.mutable_spec()->add_ports();
  port.set_name("http");
  port.set_port(80);
  for (unsigned host = 11; host <= 13; ++host) {
    sluice::v1::Endpoint& endpoint = *service.mutable_spec()->add_endpoints();
    endpoint.add_addresses("10.10.0." + std::to_string(host));
    endpoint.set_weight(1 + (number + host) % 100);
  }
  return request;
}

void apply(sluice::v1::Gateway::Stub& stub, unsigned number, Outcome& outcome) {
  grpc::ClientContext context;
  sluice::client::set_deadline(context, std::chrono::seconds(10));
  sluice::v1::ApplyResponse response;
  const Clock::time_point begun = Clock::now();
  const grpc::Status status = stub.Apply(&context, transaction(number), &response);
  outcome.milliseconds.push_back(
      std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
  if (status.ok()) {
    ++outcome.confirmed;
    return;
  }
  if (outcome.refused++ == 0) {
    outcome.first_refusal = status.error_message();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Load load = parse(argc, argv);
  const sluice::client::Connection connection = sluice::client::connect(load.server);
  if (!connection.fault.empty()) {
    std::fprintf(stderr, "%s\n", connection.fault.c_str());
    return 2;
  }
  const auto stub = sluice::v1::Gateway::NewStub(connection.channel);
  const unsigned count = load.rate * load.seconds;
  const auto interval = std::chrono::nanoseconds(1'000'000'000ULL / std::max(load.rate, 1U));
  const Clock::time_point begun = Clock::now();
  std::array<Outcome, kInFlight> parts;
  std::vector<std::thread> senders;
  for (unsigned sender = 0; sender < kInFlight; ++sender) {
    senders.emplace_back([&, sender] {
      for (unsigned number = sender; number < count; number += kInFlight) {
        std::this_thread::sleep_until(begun + interval * number);
        apply(*stub, number, parts[sender]);
      }
    });
  }
  Outcome outcome;
  for (unsigned sender = 0; sender < kInFlight; ++sender) {
    senders[sender].join();
    outcome.add(parts[sender]);
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  std::sort(outcome.milliseconds.begin(), outcome.milliseconds.end());
  const double rate = count / seconds;
  std::printf("%u of %u confirmed in %.2f s (%.0f a second), median %.2f ms, p99 %.2f ms\n",
              outcome.confirmed, count, seconds, rate,
              outcome.milliseconds[outcome.milliseconds.size() / 2],
              outcome.milliseconds[outcome.milliseconds.size() * 99 / 100]);
  if (outcome.refused != 0) {
    std::fprintf(stderr, "%u refused; the first: %s\n", outcome.refused,
                 outcome.first_refusal.c_str());
  }
  return outcome.refused == 0 && rate >= 0.95 * load.rate ? 0 : 1;
}
