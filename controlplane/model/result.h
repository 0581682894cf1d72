// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace sluice::model {

// The subset of gRPC's canonical codes that the control plane answers with.
enum class Code {
  kInvalidArgument,
  kUnimplemented,
  kAlreadyExists,
  kAborted,
  kNotFound,
  kDeadlineExceeded,
  kResourceExhausted,
  kFailedPrecondition,
  kUnavailable,
};

// One thing wrong with an input, and where: "upsert[2].spec.ports[0].port".
struct Fault {
  std::string path;
  std::string message;

  friend bool operator==(const Fault&, const Fault&) = default;
};

struct Error {
  Code code = Code::kInvalidArgument;
  std::string message;          // one sentence
  std::vector<Fault> faults{};  // all of them
  std::string resource{};       // kAlreadyExists: the frontend asked for
  std::string owner{};          // and who has it
  std::string reason{};         // machine-readable, e.g. "COMMITTED_NOT_CONFIRMED"
};

// A value or the error instead of it; the method names are those of std::expected, which this
// compiler does not have in C++20.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::move(value)) {}      // NOLINT: converting on purpose
  Result(Error error) : held_(std::move(error)) {}  // NOLINT

  [[nodiscard]] bool has_value() const { return std::holds_alternative<T>(held_); }
  explicit operator bool() const { return has_value(); }
  // has_value() is the caller's care.
  [[nodiscard]] T& value() & { return std::get<T>(held_); }
  [[nodiscard]] const T& value() const& { return std::get<T>(held_); }
  [[nodiscard]] T&& value() && { return std::get<T>(std::move(held_)); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  [[nodiscard]] const Error& error() const { return std::get<Error>(held_); }

 private:
  std::variant<T, Error> held_;
};

// What a validation found. Unimplemented fields are told apart from wrong ones: they become right
// with a later version.
struct Faults {
  std::vector<Fault> invalid;
  std::vector<Fault> unimplemented;

  void add(std::string path, std::string message) {
    invalid.push_back({std::move(path), std::move(message)});
  }
  [[nodiscard]] bool empty() const { return invalid.empty() && unimplemented.empty(); }
  // Of a non-empty set: INVALID_ARGUMENT when anything is wrong, else UNIMPLEMENTED; all faults.
  [[nodiscard]] Error to_error() const;
};

}  // namespace sluice::model
