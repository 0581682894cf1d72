// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/credentials.h"

#include <absl/strings/ascii.h>
#include <absl/time/time.h>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sluice::kubernetes {
namespace {

using std::chrono::steady_clock;
using std::chrono::system_clock;
using Json = nlohmann::json;

constexpr std::chrono::seconds kPluginMax{30};
constexpr const char* kTooLate = "no answer within 30 s";
constexpr const char* kStopped = "stopped";
constexpr std::chrono::milliseconds kLook{200};  // whether it is time to stop
constexpr std::size_t kAnswerBytesMax = std::size_t{1} << 20;

model::Error fault(const std::string& what) {
  return {.code = model::Code::kUnavailable, .message = what};
}

// A child whose standard output is read to its end.
class Child {
 public:
  Child(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      failed_ = errno;
      return;
    }
    out_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    std::vector<char*> arguments = pointers(command);
    std::vector<char*> variables = pointers(environment);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;  // signals are blocked here, for sigwait()
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    failed_ = posix_spawnp(&pid_, command[0].c_str(), &actions, &attributes, arguments.data(),
                           variables.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
  }
  ~Child() {
    if (out_ >= 0) {
      close(out_);
    }
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] int failed() const { return failed_; }

  // To its end. Why that was not reached, or an empty text.
  std::string read_all(std::string& text, steady_clock::time_point until,
                       const std::atomic<bool>& stop) {
    char piece[4096];
    while (text.size() < kAnswerBytesMax) {
      pollfd ready{out_, POLLIN, 0};
      while (poll(&ready, 1, static_cast<int>(kLook.count())) <= 0) {
        if (stop || steady_clock::now() >= until) {
          return stop ? kStopped : kTooLate;
        }
      }
      const ssize_t count = ::read(out_, piece, sizeof(piece));
      if (count <= 0) {
        return count == 0 ? "" : std::strerror(errno);
      }
      text.append(piece, static_cast<std::size_t>(count));
    }
    return "its answer is longer than 1 MiB";
  }

  // Why it is no success that it has ended with, or an empty text. It may have closed its output
  // and go on.
  std::string wait(steady_clock::time_point until, const std::atomic<bool>& stop) {
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (stop || steady_clock::now() >= until) {
        return stop ? kStopped : kTooLate;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    pid_ = 0;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return code == 0 ? "" : "it ended with " + std::to_string(code);
  }

 private:
  static std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> found;
    for (const std::string& text : texts) {
      found.push_back(const_cast<char*>(text.c_str()));
    }
    found.push_back(nullptr);
    return found;
  }

  int out_ = -1;
  pid_t pid_ = 0;
  int failed_ = 0;
};

std::vector<std::string> environment_of(const ClusterAccess& access) {
  Json info{{"apiVersion", access.exec->api_version},
            {"kind", "ExecCredential"},
            {"spec", {{"interactive", false}}}};
  if (access.exec->wants_cluster) {
    info["spec"]["cluster"] = {{"server", access.server},
                               {"insecure-skip-tls-verify", access.insecure}};
  }
  std::map<std::string, std::string> values = access.exec->environment;
  values["KUBERNETES_EXEC_INFO"] = info.dump();
  std::vector<std::string> variables;
  for (const auto& [name, value] : values) {
    variables.push_back(name + "=" + value);
  }
  // Each name once: of two, most programs see the first.
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (!values.contains(text.substr(0, text.find('=')))) {
      variables.push_back(text);
    }
  }
  return variables;
}

}  // namespace

model::Result<Credentials::Present> Credentials::present(const std::atomic<bool>& stop) {
  if (access_.exec) {
    std::unique_lock lock(mutex_);
    while (is_asked_) {
      if (stop) {
        return fault(kStopped);
      }
      answered_.wait_for(lock, kLook);
    }
    if (!has_said_ || system_clock::now() >= until_) {
      is_asked_ = true;
      lock.unlock();
      auto said = run_plugin(stop);
      lock.lock();
      is_asked_ = false;
      answered_.notify_all();
      if (!said) {
        return said;
      }
      said_ = *said;
      has_said_ = true;
    }
    return said_;
  }
  Present found{access_.token, access_.certificate, access_.key};
  if (!access_.token_file.empty()) {
    std::ifstream in(access_.token_file);
    std::string text;
    std::getline(in, text, '\0');
    found.bearer = std::string(absl::StripAsciiWhitespace(text));
    if (found.bearer.empty()) {
      return fault(access_.token_file + ": the token is missing or empty");
    }
  }
  return found;
}

void Credentials::refused() {
  const std::lock_guard lock(mutex_);
  has_said_ = false;
}

model::Result<Credentials::Present> Credentials::run_plugin(const std::atomic<bool>& stop) {
  const ExecPlugin& plugin = *access_.exec;
  std::vector<std::string> command{plugin.command};
  command.insert(command.end(), plugin.arguments.begin(), plugin.arguments.end());
  const std::vector<std::string> environment = environment_of(access_);
  const std::string who = "credential plugin " + plugin.command + ": ";
  Child child(command, environment);
  if (child.failed() != 0) {
    return fault(who + std::strerror(child.failed()));
  }
  const auto until = steady_clock::now() + kPluginMax;
  std::string text;
  std::string why = child.read_all(text, until, stop);
  if (why.empty()) {
    why = child.wait(until, stop);
  }
  if (!why.empty()) {
    return fault(who + why);
  }
  const Json answer = Json::parse(text, nullptr, false);
  if (!answer.is_object() || !answer.contains("status") || !answer["status"].is_object()) {
    return fault(who + "its answer is no ExecCredential with a status");
  }
  const auto member = [&](const char* key) {
    const Json& status = answer["status"];
    return status.contains(key) && status[key].is_string() ? status[key].get<std::string>() : "";
  };
  Present said{
      member("token"), {member("clientCertificateData"), ""}, {member("clientKeyData"), ""}};
  if (said.bearer.empty() && said.certificate.empty()) {
    return fault(who + "its answer has neither a token nor a client certificate");
  }
  if (said.certificate.empty() != said.key.empty()) {
    return fault(who +
                 "its answer has one of clientCertificateData and clientKeyData; both are needed");
  }
  absl::Time expires;
  const std::string expiry = member("expirationTimestamp");
  until_ = !expiry.empty() && absl::ParseTime(absl::RFC3339_full, expiry, &expires, nullptr)
               ? absl::ToChronoTime(expires)
               : system_clock::time_point::max();
  return said;
}

}  // namespace sluice::kubernetes
