// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/toeplitz.h"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

// RSS of one started device: key and RETA, set where it takes them and read back where it tells
// them, since some drivers take what they then ignore.
class DeviceRss {
 public:
  // An IPv6 tuple's hash needs so many bytes of the key.
  static constexpr std::uint8_t kKeyBytesMin = 40;

  // Tries `key` and a RETA with `lcores` in turn. `fields`: RTE_ETH_RSS_*.
  DeviceRss(std::uint16_t port, std::uint64_t fields, std::uint8_t key_bytes,
            const ToeplitzKey& key, std::uint8_t lcores);

  // Why it cannot be agreed with; empty when it can.
  [[nodiscard]] const std::string& fault() const { return fault_; }
  [[nodiscard]] std::uint8_t key_bytes() const { return key_bytes_; }
  // What it has now.
  [[nodiscard]] const ToeplitzKey& key() const { return key_; }
  [[nodiscard]] const std::vector<std::uint8_t>& reta() const { return reta_; }
  // It has its own and takes no other.
  [[nodiscard]] bool key_is_fixed() const { return key_is_fixed_; }
  [[nodiscard]] bool reta_is_fixed() const { return reta_is_fixed_; }

  // `side`: RTE_ETH_RSS_* bits that leave one side of the tuple out, or 0.
  [[nodiscard]] bool set_key(const ToeplitzKey& key, std::uint64_t side = 0);
  // As many entries as reta() has.
  [[nodiscard]] bool set_reta(const std::vector<std::uint8_t>& reta);

 private:
  bool read_key(ToeplitzKey& key) const;
  bool read_reta(std::vector<std::uint8_t>& reta) const;
  void settle_key(const ToeplitzKey& wanted);
  void settle_reta(std::uint8_t lcores);

  std::uint16_t port_;
  std::uint64_t fields_;
  std::uint8_t key_bytes_;
  ToeplitzKey key_;
  std::vector<std::uint8_t> reta_;
  bool key_is_fixed_ = false;
  bool reta_is_fixed_ = false;
  std::string fault_;
};

}  // namespace sluice
