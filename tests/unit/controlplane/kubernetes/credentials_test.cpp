// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/credentials.h"

#include "tests/unit/controlplane/kubernetes/temporary_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace sluice::kubernetes {
namespace {

using Json = nlohmann::json;

std::string bearer_of(Credentials& credentials) {
  const auto present = credentials.present();
  EXPECT_TRUE(present) << (present ? "" : present.error().message);
  return present ? present->bearer : "";
}
std::string fault_of(Credentials& credentials) {
  const auto present = credentials.present();
  if (present) {
    return "none";
  }
  EXPECT_EQ(present.error().code, model::Code::kUnavailable);
  return present.error().message;
}

// What a plugin prints, with these members of its status.
std::string answer(const std::string& status) {
  return R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{)" +
         status + "}}";
}
std::string says(const std::string& text) {
  return "cat <<'END'\n" + text + "\nEND\n";
}

TEST(Credentials, WhatTheAccessHasIsPresented) {
  ClusterAccess access;
  access.token = "abc";
  access.certificate.text = "cert";
  access.key.file = "/etc/web.key";
  Credentials credentials(access);
  credentials.refused();
  const auto present = credentials.present();
  ASSERT_TRUE(present);
  EXPECT_EQ(present->bearer, "abc");
  EXPECT_EQ(present->certificate.text, "cert");
  EXPECT_EQ(present->key.file, "/etc/web.key");
}

TEST(Credentials, NobodyIsPresentedAsNobody) {
  Credentials credentials{ClusterAccess()};
  const auto present = credentials.present();
  ASSERT_TRUE(present);
  EXPECT_EQ(present->bearer, "");
  EXPECT_TRUE(present->certificate.empty());
}

TEST(TokenFile, IsReadForEachRequest) {
  // As a kubelet replaces it: token -> ..data/token, and ..data is moved to another folder.
  const TemporaryFolder folder;
  folder.write("..first/token", "first\n");
  folder.write("..second/token", " second ");
  std::filesystem::create_symlink("..first", folder.path("..data"));
  std::filesystem::create_symlink("..data/token", folder.path("token"));
  ClusterAccess access;
  access.token = "older";
  access.token_file = folder.path("token");
  Credentials credentials(access);
  EXPECT_EQ(bearer_of(credentials), "first");
  std::filesystem::create_symlink("..second", folder.path("..next"));
  std::filesystem::rename(folder.path("..next"), folder.path("..data"));
  EXPECT_EQ(bearer_of(credentials), "second");
}

TEST(TokenFile, OneThatIsMissingOrEmptyIsNamedAndForgivenWhenItComes) {
  const TemporaryFolder folder;
  ClusterAccess access;
  access.token = "older";
  access.token_file = folder.path("token");
  Credentials credentials(access);
  const std::string what = folder.path("token") + ": the token is missing or empty";
  EXPECT_EQ(fault_of(credentials), what);
  folder.write("token", "");
  EXPECT_EQ(fault_of(credentials), what);
  folder.write("token", " \n\n");
  EXPECT_EQ(fault_of(credentials), what);
  folder.write("token", "abc");
  EXPECT_EQ(bearer_of(credentials), "abc");
  std::filesystem::remove(folder.path("token"));
  EXPECT_EQ(fault_of(credentials), what);
}

// A plugin of a shell script, which may count how often it runs.
class Plugin : public ::testing::Test {
 protected:
  ClusterAccess access_of(const std::string& script) {
    ClusterAccess access;
    access.server = "https://10.0.0.1:6443";
    access.exec = ExecPlugin{.api_version = "client.authentication.k8s.io/v1",
                             .command = folder_.write_program("login", script),
                             .arguments = {},
                             .environment = {}};
    return access;
  }
  // Answers "token-1", "token-2" and so on, with these members besides.
  ClusterAccess counting(const std::string& members) {
    return access_of("echo run >>" + folder_.path("runs") + "\nn=$(wc -l <" + folder_.path("runs") +
                     ")\ncat <<END\n" + answer("\"token\":\"token-$n\"" + members) + "\nEND\n");
  }
  [[nodiscard]] long runs() const {
    const std::string text = folder_.read("runs");
    return std::count(text.begin(), text.end(), '\n');
  }
  std::string fault_of_script(const std::string& script) {
    Credentials credentials(access_of(script));
    return fault_of(credentials);
  }
  [[nodiscard]] std::string who() const {
    return "credential plugin " + folder_.path("login") + ": ";
  }
  // Runs what prints to "seen", and answers what that has then.
  std::string seen(const std::function<void(ClusterAccess&)>& change, const std::string& script) {
    ClusterAccess access =
        access_of(script + " >" + folder_.path("seen") + "\n" + says(answer(R"("token":"t")")));
    change(access);
    Credentials credentials(access);
    EXPECT_EQ(bearer_of(credentials), "t");
    return folder_.read("seen");
  }

  TemporaryFolder folder_;
};

TEST_F(Plugin, IsAskedOnceWhenItsAnswerDoesNotExpire) {
  Credentials credentials(counting(""));
  EXPECT_EQ(runs(), 0) << "nobody has asked yet";
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(bearer_of(credentials), "token-1");
  }
  EXPECT_EQ(runs(), 1);
}

TEST_F(Plugin, ItsAnswerIsKeptUntilItExpires) {
  Credentials lasting(counting(R"(,"expirationTimestamp":"2199-01-01T00:00:00Z")"));
  EXPECT_EQ(bearer_of(lasting), "token-1");
  EXPECT_EQ(bearer_of(lasting), "token-1");
  Credentials expired(counting(R"(,"expirationTimestamp":"2001-01-01T00:00:00.5+02:00")"));
  EXPECT_EQ(bearer_of(expired), "token-2");
  EXPECT_EQ(bearer_of(expired), "token-3");
}

TEST_F(Plugin, ItsAnswerExpiresWhileItIsKept) {
  // One to two seconds after it was asked.
  Credentials credentials(
      counting(",\"expirationTimestamp\":\"$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)\""));
  const auto asked = std::chrono::steady_clock::now();
  EXPECT_EQ(bearer_of(credentials), "token-1");
  const auto answered = std::chrono::steady_clock::now();
  const std::string again = bearer_of(credentials);
  if (std::chrono::steady_clock::now() - asked < std::chrono::milliseconds(900)) {
    EXPECT_EQ(again, "token-1");
  }
  std::this_thread::sleep_until(answered + std::chrono::milliseconds(2'100));
  EXPECT_NE(bearer_of(credentials), "token-1");
}

TEST_F(Plugin, IsAskedAgainWhenItsAnswerWasRefused) {
  Credentials credentials(counting(R"(,"expirationTimestamp":"2199-01-01T00:00:00Z")"));
  EXPECT_EQ(bearer_of(credentials), "token-1");
  credentials.refused();
  EXPECT_EQ(runs(), 1) << "it runs when somebody asks";
  EXPECT_EQ(bearer_of(credentials), "token-2");
  EXPECT_EQ(bearer_of(credentials), "token-2");
}

TEST_F(Plugin, ThatFailedIsAskedAgain) {
  Credentials credentials(access_of("test -e " + folder_.path("ready") + " || exit 7\n" +
                                    says(answer(R"("token":"t")"))));
  EXPECT_EQ(fault_of(credentials), who() + "it ended with 7");
  EXPECT_EQ(fault_of(credentials), who() + "it ended with 7");
  folder_.write("ready", "");
  EXPECT_EQ(bearer_of(credentials), "t");
}

TEST_F(Plugin, ItsCertificateIsPresented) {
  Credentials credentials(access_of(says(
      answer(R"("clientCertificateData":"-----BEGIN\ncert","clientKeyData":"-----BEGIN\nkey")"))));
  const auto present = credentials.present();
  ASSERT_TRUE(present) << present.error().message;
  EXPECT_EQ(present->bearer, "");
  EXPECT_EQ(present->certificate.text, "-----BEGIN\ncert");
  EXPECT_EQ(present->key.text, "-----BEGIN\nkey");
  EXPECT_EQ(present->certificate.file + present->key.file, "");
}

TEST_F(Plugin, HowItEndedIsTold) {
  const std::string good = says(answer(R"("token":"t")"));
  EXPECT_EQ(fault_of_script(good + "exit 3"), who() + "it ended with 3");
  EXPECT_EQ(fault_of_script("kill -KILL $$"), who() + "it ended with 137");
  EXPECT_EQ(fault_of_script(good + "kill -TERM $$"), who() + "it ended with 143");
}

TEST_F(Plugin, ThatCannotBeRunIsTold) {
  ClusterAccess access = access_of("");
  access.exec->command = folder_.path("none");
  Credentials absent(access);
  EXPECT_EQ(fault_of(absent),
            "credential plugin " + folder_.path("none") + ": No such file or directory");
  access.exec->command = "no-such-command-of-sluice";
  Credentials unknown(access);
  EXPECT_EQ(fault_of(unknown),
            "credential plugin no-such-command-of-sluice: No such file or directory");
  access.exec->command = folder_.write("text", "no program");
  Credentials text(access);
  EXPECT_EQ(fault_of(text), "credential plugin " + folder_.path("text") + ": Permission denied");
}

TEST_F(Plugin, AnAnswerThatIsNoExecCredentialIsTold) {
  const std::string shape = who() + "its answer is no ExecCredential with a status";
  for (const char* text : {"", "token", "[]", "null", "{}", "{\"status\":null}", "{\"status\":[]}",
                           "{\"status\":{}} more", "{\"status\":{\"token\":\"t\"}", "\xff"}) {
    EXPECT_EQ(fault_of_script(says(text)), shape) << text;
  }
  const std::string empty = who() + "its answer has neither a token nor a client certificate";
  for (const char* status : {"", R"("token":null)", R"("token":"")", R"("token":5)",
                             R"("expirationTimestamp":"2199-01-01T00:00:00Z")"}) {
    EXPECT_EQ(fault_of_script(says(answer(status))), empty) << status;
  }
}

TEST_F(Plugin, ACertificateAndItsKeyGoTogether) {
  const std::string what =
      who() + "its answer has one of clientCertificateData and clientKeyData; both are needed";
  EXPECT_EQ(fault_of_script(says(answer(R"("clientCertificateData":"c")"))), what);
  EXPECT_EQ(fault_of_script(says(answer(R"("token":"t","clientKeyData":"k")"))), what);
}

TEST_F(Plugin, AnAnswerThatIsTooLongIsNotRead) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(fault_of_script("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"),
            who() + "its answer is longer than 1 MiB");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
}

TEST_F(Plugin, WhatItSaysOnStandardErrorIsNoAnswer) {
  Credentials credentials(access_of("echo warning >&2\n" + says(answer(R"("token":"t")"))));
  EXPECT_EQ(bearer_of(credentials), "t");
}

TEST_F(Plugin, HasItsArguments) {
  const auto change = [](ClusterAccess& access) {
    access.exec->arguments = {"get token", "", "$HOME"};
  };
  EXPECT_EQ(seen(change, "printf '%s|' \"$@\""), "get token||$HOME|");
}

TEST_F(Plugin, DoesNotReadWhatTheAdapterCouldRead) {
  const int kept = ::dup(STDIN_FILENO);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "typed\n", 6), 6);
  ::dup2(ends[0], STDIN_FILENO);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(seen([](ClusterAccess&) {}, "cat"), "");
  ::dup2(kept, STDIN_FILENO);
  ::close(kept);
}

TEST_F(Plugin, HasTheEnvironmentOfTheAdapterAndItsOwn) {
  ::setenv("SLUICE_TEST_KEPT", "kept", 1);
  ::setenv("SLUICE_TEST_CHANGED", "of the adapter", 1);
  ::setenv("KUBERNETES_EXEC_INFO", "stale", 1);
  const std::string text = seen(
      [](ClusterAccess& access) {
        access.exec->environment = {{"SLUICE_TEST_OWN", "a=b c"}, {"SLUICE_TEST_CHANGED", "its"}};
      },
      "tr '\\0' '\\n' </proc/$$/environ");
  ::unsetenv("SLUICE_TEST_KEPT");
  ::unsetenv("SLUICE_TEST_CHANGED");
  ::unsetenv("KUBERNETES_EXEC_INFO");
  // Of a variable that is there twice, most programs see the first.
  std::map<std::string, std::vector<std::string>> variables;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    variables[line.substr(0, equals)].push_back(line.substr(equals + 1));
  }
  using Values = std::vector<std::string>;
  EXPECT_EQ(variables["SLUICE_TEST_KEPT"], Values{"kept"});
  EXPECT_EQ(variables["SLUICE_TEST_OWN"], Values{"a=b c"});
  EXPECT_EQ(variables["SLUICE_TEST_CHANGED"], Values{"its"});
  ASSERT_EQ(variables["KUBERNETES_EXEC_INFO"].size(), 1U);
  EXPECT_NE(variables["KUBERNETES_EXEC_INFO"][0], "stale");
}

TEST_F(Plugin, IsToldWhatItIsAskedFor) {
  const auto info_of = [&](const std::function<void(ClusterAccess&)>& change) {
    return Json::parse(seen(change, R"(printf '%s' "$KUBERNETES_EXEC_INFO")"));
  };
  EXPECT_EQ(info_of([](ClusterAccess& access) {
              access.exec->api_version = "client.authentication.k8s.io/v1beta1";
            }),
            Json::parse(R"({"kind":"ExecCredential","spec":{"interactive":false},
                            "apiVersion":"client.authentication.k8s.io/v1beta1"})"));
  const Json info = info_of([](ClusterAccess& access) { access.exec->wants_cluster = true; });
  EXPECT_EQ(info["apiVersion"], "client.authentication.k8s.io/v1");
  EXPECT_EQ(info["spec"]["interactive"], false);
  EXPECT_EQ(info["spec"]["cluster"]["server"], "https://10.0.0.1:6443");
}

TEST_F(Plugin, IsNotWaitedForWhenItIsTimeToStop) {
  Credentials credentials(access_of("exec sleep 60\n"));
  std::atomic<bool> stop{false};
  std::vector<std::string> faults(2);  // of who runs it, and of who waits for that
  std::vector<std::thread> threads;
  for (std::string& fault : faults) {
    threads.emplace_back([&] {
      const auto present = credentials.present(stop);
      fault = present ? "none" : present.error().message;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto begun = std::chrono::steady_clock::now();
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(2));
  std::sort(faults.begin(), faults.end());
  EXPECT_EQ(faults, (std::vector<std::string>{who() + "stopped", "stopped"}));
}

TEST_F(Plugin, IsAskedByOneThreadForAll) {
  Credentials credentials(counting(""));
  std::vector<std::thread> threads;
  std::vector<std::string> bearers(4);
  for (std::string& bearer : bearers) {
    threads.emplace_back([&credentials, &bearer] { bearer = bearer_of(credentials); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(bearers, std::vector<std::string>(4, "token-1"));
  EXPECT_EQ(runs(), 1);
}

}  // namespace
}  // namespace sluice::kubernetes
