// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/mailbox.h"

namespace sluice::runtime {

Mailbox::Posted Mailbox::post(PendingWrite& write) {
  const std::lock_guard lock(mutex_);
  if (batch_.stop || batch_.writes.size() >= kWritesMax) {
    return batch_.stop ? Posted::kStopped : Posted::kFull;
  }
  batch_.writes.push_back(std::move(write));
  any_ = true;
  filled_.notify_one();
  return Posted::kTaken;
}

Mailbox::Posted Mailbox::post(std::function<void()> question) {
  const std::lock_guard lock(mutex_);
  if (batch_.stop || batch_.questions.size() >= kQuestionsMax) {
    return batch_.stop ? Posted::kStopped : Posted::kFull;
  }
  batch_.questions.push_back(std::move(question));
  any_ = true;
  filled_.notify_one();
  return Posted::kTaken;
}

void Mailbox::post_addresses(std::vector<model::KernelAddress> addresses) {
  const std::lock_guard lock(mutex_);
  batch_.addresses = std::move(addresses);
  any_ = true;
  filled_.notify_one();
}

void Mailbox::post_routes(std::vector<model::KernelRoute> routes) {
  const std::lock_guard lock(mutex_);
  batch_.routes = std::move(routes);
  any_ = true;
  filled_.notify_one();
}

void Mailbox::post_neighbours(const std::vector<model::KernelNeighbour>& neighbours) {
  const std::lock_guard lock(mutex_);
  for (const model::KernelNeighbour& neighbour : neighbours) {
    neighbours_[{neighbour.interface, neighbour.address}] = neighbour;
  }
  any_ = true;
  filled_.notify_one();
}

void Mailbox::post_wanted(std::uint8_t port, const IpAddress& neighbour) {
  const std::lock_guard lock(mutex_);
  batch_.wanted.emplace(port, neighbour);
  any_ = true;
  filled_.notify_one();
}

void Mailbox::post_claim(const AddressClaim& claim) {
  const std::lock_guard lock(mutex_);
  if (batch_.claims.size() < kClaimsMax) {
    batch_.claims.insert(claim);
  }
  any_ = true;
  filled_.notify_one();
}

void Mailbox::post_name(const ResolvedName& name) {
  const std::lock_guard lock(mutex_);
  batch_.names[name.name] = name;
  any_ = true;
  filled_.notify_one();
}

void Mailbox::stop() {
  const std::lock_guard lock(mutex_);
  batch_.stop = true;
  any_ = true;
  filled_.notify_one();
}

Mailbox::Batch Mailbox::take(std::chrono::microseconds patience) {
  std::unique_lock lock(mutex_);
  filled_.wait_for(lock, patience, [this] { return any_; });
  Batch taken = std::exchange(batch_, Batch{});
  batch_.stop = taken.stop;
  for (auto& [key, neighbour] : neighbours_) {
    taken.neighbours.push_back(neighbour);
  }
  neighbours_.clear();
  any_ = false;
  return taken;
}

}  // namespace sluice::runtime
