// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/json_stream.h"

#include <array>

namespace sluice::kubernetes {
namespace {

constexpr std::size_t kEnvelopeBytesMax = std::size_t{1} << 20;

bool is_space(char octet) {
  return octet == ' ' || octet == '\n' || octet == '\r' || octet == '\t';
}

// Octets that change where a scanner is.
constexpr std::array<bool, 256> kMeans = [] {
  std::array<bool, 256> means{};
  for (const unsigned char octet : {'"', '\\', '{', '}', '[', ']'}) {
    means[octet] = true;
  }
  return means;
}();

// False: it does not fit any more.
bool append(std::string& object, std::string_view text) {
  if (object.size() + text.size() > kObjectBytesMax) {
    return false;
  }
  object += text;
  return true;
}

}  // namespace

void JsonScanner::take(char octet) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (octet == '\\') {
      escaped_ = true;
    } else if (octet == '"') {
      in_string_ = false;
    }
    return;
  }
  if (octet == '"') {
    in_string_ = true;
  } else if (octet == '{' || octet == '[') {
    ++depth_;
  } else if ((octet == '}' || octet == ']') && depth_ > 0) {
    --depth_;
  }
}

std::size_t JsonScanner::plain(std::string_view text) const {
  if (escaped_) {
    return 0;
  }
  std::size_t size = 0;
  while (size < text.size() && !kMeans[static_cast<unsigned char>(text[size])]) {
    ++size;
  }
  return size;
}

void EventSplitter::feed(std::string_view text) {
  while (!text.empty()) {
    if (const std::size_t plain = scanner_.depth() == 0 ? 0 : scanner_.plain(text); plain != 0) {
      too_large_ = !append(object_, text.substr(0, plain)) || too_large_;
      text.remove_prefix(plain);
      continue;
    }
    const char octet = text.front();
    text.remove_prefix(1);
    const bool between = scanner_.depth() == 0 && !scanner_.in_string();
    if (between && octet != '{') {
      continue;  // white space, or what is no object
    }
    scanner_.take(octet);
    too_large_ = !append(object_, {&octet, 1}) || too_large_;
    if (scanner_.depth() == 0) {
      if (too_large_) {
        ++passed_over_;
      } else {
        take_(object_);
      }
      object_.clear();
      too_large_ = false;
    }
  }
}

void ListSplitter::feed(std::string_view text) {
  while (!text.empty() && !complete_) {
    const bool in_item = in_items_ && scanner_.depth() > 2;
    if (const std::size_t plain = in_item ? scanner_.plain(text) : 0; plain != 0) {
      too_large_ = !append(item_, text.substr(0, plain)) || too_large_;
      text.remove_prefix(plain);
      continue;
    }
    const char octet = text.front();
    text.remove_prefix(1);
    const bool within = in_items_ && scanner_.depth() >= 2;
    scanner_.take(octet);
    if (within && scanner_.depth() >= 2) {
      take_item(octet, scanner_.depth() > 2);
      continue;
    }
    take_envelope(octet);
    complete_ = scanner_.depth() == 0 && octet == '}';
  }
}

// Between the brackets of "items".
void ListSplitter::take_item(char octet, bool within) {
  if (!within && octet != '}') {
    return;  // commas and spaces between items
  }
  too_large_ = !append(item_, {&octet, 1}) || too_large_;
  if (within) {
    return;
  }
  if (too_large_) {
    ++passed_over_;
  } else {
    take_(item_);
  }
  item_.clear();
  too_large_ = false;
}

// Members of the list itself; which one is being read is known by its name.
void ListSplitter::take_envelope(char octet) {
  if (envelope_.size() < kEnvelopeBytesMax && (!is_space(octet) || scanner_.in_string())) {
    envelope_.push_back(octet);
  }
  if (octet == '[' && scanner_.depth() == 2) {
    in_items_ = envelope_.ends_with("\"items\":[");
  } else if (octet == ']' && scanner_.depth() == 1) {
    in_items_ = false;
  }
}

}  // namespace sluice::kubernetes
