// SPDX-License-Identifier: Apache-2.0
// Cuts a stream of JSON text into its objects as it comes, whatever the borders of what comes are,
// so that never more than one object is held.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace sluice::kubernetes {

// An object larger than this is passed over; etcd holds none of more than 1.5 MiB by default.
inline constexpr std::size_t kObjectBytesMax = std::size_t{16} << 20;

// Depth and strings of JSON text, octet by octet.
class JsonScanner {
 public:
  // Takes the next octet; the depth after it is that of what follows.
  void take(char octet);
  // How many octets at the beginning of `text` mean nothing here: after them all is as before.
  [[nodiscard]] std::size_t plain(std::string_view text) const;
  [[nodiscard]] std::size_t depth() const { return depth_; }
  [[nodiscard]] bool in_string() const { return in_string_; }

 private:
  std::size_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

// A watch: objects one after the other (KUBERNETES.md 1.8). What is left of one when the stream
// ends is dropped with the splitter (1.20).
class EventSplitter {
 public:
  using Take = std::function<void(std::string_view event)>;
  explicit EventSplitter(Take take) : take_(std::move(take)) {}

  void feed(std::string_view text);
  [[nodiscard]] std::size_t passed_over() const { return passed_over_; }

 private:
  Take take_;
  JsonScanner scanner_;
  std::string object_;
  bool too_large_ = false;
  std::size_t passed_over_ = 0;
};

// A list: one object whose member "items" is an array of objects.
class ListSplitter {
 public:
  using Take = std::function<void(std::string_view item)>;
  explicit ListSplitter(Take take) : take_(std::move(take)) {}

  void feed(std::string_view text);
  // The list without its items, once all of it has come.
  [[nodiscard]] bool is_complete() const { return complete_; }
  [[nodiscard]] const std::string& envelope() const { return envelope_; }
  [[nodiscard]] std::size_t passed_over() const { return passed_over_; }

 private:
  void take_item(char octet, bool within);
  void take_envelope(char octet);

  Take take_;
  JsonScanner scanner_;
  std::string item_;
  std::string envelope_;
  bool in_items_ = false;
  bool complete_ = false;
  bool too_large_ = false;
  std::size_t passed_over_ = 0;
};

}  // namespace sluice::kubernetes
