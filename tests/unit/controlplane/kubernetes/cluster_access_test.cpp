// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/cluster_access.h"

#include "tests/unit/controlplane/kubernetes/temporary_folder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace sluice::kubernetes {
namespace {

constexpr const char* kCluster = "server: https://10.0.0.1:6443";

// A kubeconfig of one context, with these members of its cluster and its user.
std::string kubeconfig(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: dev\n"
         "contexts:\n- name: dev\n  context: {cluster: c, user: u}\n"
         "clusters:\n- name: c\n  cluster: {" +
         cluster + "}\nusers:\n- name: u\n  user: {" + user + "}\n";
}

ClusterAccess access_of(const std::string& text, const std::string& context = "") {
  const TemporaryFolder folder;
  const auto access = read_kubeconfig(folder.write("config", text), context);
  EXPECT_TRUE(access) << (access ? "" : access.error().message) << "\n" << text;
  return access ? *access : ClusterAccess();
}

// What follows the file's name.
std::string fault_of(const std::string& text, const std::string& context = "") {
  const TemporaryFolder folder;
  const std::string file = folder.write("config", text);
  const auto access = read_kubeconfig(file, context);
  if (access) {
    return "none";
  }
  EXPECT_EQ(access.error().code, model::Code::kInvalidArgument);
  const std::string& message = access.error().message;
  EXPECT_TRUE(message.starts_with(file + ": ")) << message;
  return message.substr(std::min(message.size(), file.size() + 2));
}
std::string cluster_fault_of(const std::string& cluster) {
  return fault_of(kubeconfig(cluster, ""));
}
std::string user_fault_of(const std::string& user) {
  return fault_of(kubeconfig(kCluster, user));
}

TEST(Kubeconfig, ATokenIsAllThatIsNeeded) {
  const ClusterAccess access = access_of(kubeconfig(kCluster, "token: abc"));
  EXPECT_EQ(access.server, "https://10.0.0.1:6443");
  EXPECT_EQ(access.token, "abc");
  EXPECT_EQ(access.token_file, "");
  EXPECT_TRUE(access.ca.empty());
  EXPECT_TRUE(access.certificate.empty());
  EXPECT_TRUE(access.key.empty());
  EXPECT_FALSE(access.insecure);
  EXPECT_FALSE(access.exec);
  EXPECT_EQ(access.proxy + access.tls_server_name + access.space, "");
}

TEST(Kubeconfig, WhatTheClusterSaysIsTaken) {
  const ClusterAccess access = access_of(
      kubeconfig("server: 'https://api.example.com:6443//', certificate-authority: /etc/ca.crt, "
                 "tls-server-name: kubernetes, proxy-url: 'socks5://10.0.0.9:1080'",
                 ""));
  EXPECT_EQ(access.server, "https://api.example.com:6443");
  EXPECT_EQ(access.ca.file, "/etc/ca.crt");
  EXPECT_EQ(access.ca.text, "");
  EXPECT_EQ(access.tls_server_name, "kubernetes");
  EXPECT_EQ(access.proxy, "socks5://10.0.0.9:1080");
  EXPECT_FALSE(access.insecure);
  EXPECT_TRUE(access_of(kubeconfig("server: 'http://localhost:8001'", "")).ca.empty());
}

TEST(Kubeconfig, OnlyTrueIsInsecure) {
  const auto insecure = [](const std::string& word) {
    return access_of(kubeconfig(std::string(kCluster) + ", insecure-skip-tls-verify: " + word, ""))
        .insecure;
  };
  EXPECT_TRUE(insecure("true"));
  EXPECT_FALSE(insecure("false"));
  EXPECT_FALSE(insecure("null"));
}

TEST(Kubeconfig, EmbeddedDataIsDecodedAndComesBeforeAFile) {
  const ClusterAccess access =
      access_of(kubeconfig("server: 'https://a:1', certificate-authority-data: Y2EKcGVt, "
                           "certificate-authority: ca.crt",
                           "client-certificate-data: Y2VydA==, client-certificate: x.crt, "
                           "client-key-data: a2V5"));
  EXPECT_EQ(access.ca.text, "ca\npem");
  EXPECT_EQ(access.ca.file, "");
  EXPECT_EQ(access.certificate.text, "cert");
  EXPECT_EQ(access.certificate.file, "");
  EXPECT_EQ(access.key.text, "key");
}

TEST(Kubeconfig, PathsAreOfItsFolderUnlessTheyBeginAtTheRoot) {
  const TemporaryFolder folder;
  const std::string file = folder.write(
      "conf/config",
      kubeconfig(
          "server: 'https://a:1', certificate-authority: pki/ca.crt",
          "client-certificate: ../web.crt, client-key: /etc/web.key, tokenFile: token, exec: "
          "{apiVersion: client.authentication.k8s.io/v1, command: ./bin/login}"));
  const auto access = read_kubeconfig(file, "");
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(access->ca.file, folder.path("conf/pki/ca.crt"));
  EXPECT_EQ(access->certificate.file, folder.path("conf/../web.crt"));
  EXPECT_EQ(access->key.file, "/etc/web.key");
  EXPECT_EQ(access->token_file, folder.path("conf/token"));
  ASSERT_TRUE(access->exec);
  EXPECT_EQ(access->exec->command, folder.path("conf/./bin/login"));
}

TEST(Kubeconfig, AnExecPluginIsTakenWithItsArgumentsAndEnvironment) {
  const ClusterAccess access = access_of(kubeconfig(
      kCluster,
      "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws, "
      "args: [eks, get-token, '--cluster', 5], env: [{name: AWS_PROFILE, value: prod}, "
      "{name: EMPTY, value: ''}], interactiveMode: IfAvailable, provideClusterInfo: true}"));
  ASSERT_TRUE(access.exec);
  EXPECT_EQ(access.exec->api_version, "client.authentication.k8s.io/v1beta1");
  EXPECT_EQ(access.exec->command, "aws") << "it is looked for in PATH";
  EXPECT_EQ(access.exec->arguments,
            (std::vector<std::string>{"eks", "get-token", "--cluster", "5"}));
  EXPECT_EQ(access.exec->environment,
            (std::map<std::string, std::string>{{"AWS_PROFILE", "prod"}, {"EMPTY", ""}}));
  EXPECT_TRUE(access.exec->wants_cluster);
  for (const char* more : {"", ", args: null, env: null", ", args: [], env: []"}) {
    const ClusterAccess bare = access_of(kubeconfig(
        kCluster,
        std::string("exec: {apiVersion: client.authentication.k8s.io/v1, command: login") + more +
            "}"));
    ASSERT_TRUE(bare.exec);
    EXPECT_TRUE(bare.exec->arguments.empty());
    EXPECT_TRUE(bare.exec->environment.empty());
    EXPECT_FALSE(bare.exec->wants_cluster);
  }
}

TEST(Kubeconfig, ANamedContextIsReadInsteadOfTheCurrentOne) {
  const std::string text =
      "current-context: dev\n"
      "contexts:\n"
      "- {name: dev, context: {cluster: east, user: alice}}\n"
      "- {name: prod, context: {cluster: west, user: bob, namespace: shop}}\n"
      "- {name: nobody, context: {cluster: west}}\n"
      "clusters:\n"
      "- {name: east, cluster: {server: 'https://east:6443'}}\n"
      "- {name: west, cluster: {server: 'https://west:6443'}}\n"
      "users:\n"
      "- {name: alice, user: {token: a}}\n"
      "- {name: bob, user: {token: b}}\n";
  const ClusterAccess current = access_of(text);
  EXPECT_EQ(current.server + " " + current.token, "https://east:6443 a");
  EXPECT_EQ(current.space, "");
  const ClusterAccess named = access_of(text, "prod");
  EXPECT_EQ(named.server + " " + named.token, "https://west:6443 b");
  EXPECT_EQ(named.space, "shop");
  EXPECT_EQ(access_of(text, "nobody").token, "") << "a context may have no user";
  EXPECT_EQ(fault_of(text, "test"), "contexts: there is no 'test'");
}

TEST(Kubeconfig, EntriesThatAreNotMeantMayBeAnything) {
  const ClusterAccess access = access_of(
      "current-context: dev\npreferences: {}\nextensions: [{}]\n"
      "contexts: [5, null, {name: x}, {name: dev, context: {cluster: c, user: u}}]\n"
      "clusters: [x, {cluster: {}}, {name: c, cluster: {server: 'https://a:1'}}]\n"
      "users: [{name: y, user: {username: z}}, {name: u, user: {token: t}}]\n");
  EXPECT_EQ(access.token, "t");
}

TEST(Kubeconfig, AFileThatCannotBeReachedIsNamed) {
  const TemporaryFolder folder;
  const auto fault = [](const std::string& file) {
    const auto access = read_kubeconfig(file, "");
    return access ? "none" : access.error().message;
  };
  const std::string what = ": there is no such file; name a kubeconfig";
  EXPECT_EQ(fault(folder.path("none")), folder.path("none") + what);
  EXPECT_EQ(fault(folder.path("none/config")), folder.path("none/config") + what);
  EXPECT_EQ(fault(folder.path()), folder.path() + what) << "a folder";
  EXPECT_EQ(fault(""), what);
  const std::string file = folder.write("file", "");
  EXPECT_EQ(fault(file + "/config"), file + "/config" + what);
  std::filesystem::create_symlink("loop", folder.path("loop"));
  EXPECT_EQ(fault(folder.path("loop")),
            folder.path("loop") + ": Too many levels of symbolic links");
  const std::string long_name(300, 'x');
  EXPECT_EQ(fault(long_name), long_name + ": File name too long");
}

TEST(Kubeconfig, AFileThatIsNoKubeconfigIsNotOne) {
  const std::string what = "it is no kubeconfig; expected a mapping";
  EXPECT_EQ(fault_of(""), what);
  EXPECT_EQ(fault_of("- a\n- b\n"), what);
  EXPECT_EQ(fault_of("text"), what);
  EXPECT_EQ(fault_of("{}"), "current-context is empty; set it, or name a context");
  for (const char* broken : {"a: [", "a: 'b", "a: b: c", "\tx: 1", "a: *b", "{a: b"}) {
    EXPECT_TRUE(fault_of(broken).starts_with("yaml-cpp: error at line ")) << fault_of(broken);
  }
}

TEST(Kubeconfig, AnEntryThatIsNotThereIsNamed) {
  const std::string context = "current-context: dev\ncontexts: [{name: dev, context: ";
  const std::string cluster = "clusters: [{name: c, cluster: {server: 'https://a:1'}}]\n";
  const std::pair<std::string, const char*> cases[] = {
      {"contexts: []", "current-context is empty; set it, or name a context"},
      {"current-context: null", "current-context is empty; set it, or name a context"},
      {"current-context: [dev]", "current-context is empty; set it, or name a context"},
      {"current-context: dev", "contexts: there is no 'dev'"},
      {"current-context: dev\ncontexts: null", "contexts: there is no 'dev'"},
      {"current-context: dev\ncontexts: {dev: {cluster: c}}", "contexts: there is no 'dev'"},
      {"current-context: dev\ncontexts: [{name: prod, context: {}}]",
       "contexts: there is no 'dev'"},
      {"current-context: dev\ncontexts: [{name: dev}]", "contexts: there is no 'dev'"},
      {"current-context: dev\ncontexts: [{name: dev, context: c}]", "contexts: there is no 'dev'"},
      {context + "{user: u}}]\n" + cluster, "clusters: there is no ''"},
      {context + "{cluster: c}}]\n", "clusters: there is no 'c'"},
      {context + "{cluster: c}}]\nclusters: [{name: c, cluster: null}]\n",
       "clusters: there is no 'c'"},
      {context + "{cluster: d}}]\n" + cluster, "clusters: there is no 'd'"},
      {context + "{cluster: c, user: u}}]\n" + cluster, "users: there is no 'u'"},
      {context + "{cluster: c, user: u}}]\n" + cluster + "users: [{name: v, user: {}}]",
       "users: there is no 'u'"}};
  for (const auto& [text, fault] : cases) {
    EXPECT_EQ(fault_of(text), fault) << text;
  }
}

TEST(Kubeconfig, AServerIsAnHttpAddress) {
  const auto what = [](const std::string& server) {
    return "the cluster's server: expected https://HOST:PORT, not '" + server + "'";
  };
  EXPECT_EQ(cluster_fault_of(""), what(""));
  EXPECT_EQ(cluster_fault_of("server: null"), what(""));
  EXPECT_EQ(cluster_fault_of("server: ['https://a:1']"), what(""));
  EXPECT_EQ(cluster_fault_of("server: 'api.example.com:6443'"), what("api.example.com:6443"));
  EXPECT_EQ(cluster_fault_of("server: 'ftp://a:1'"), what("ftp://a:1"));
  EXPECT_EQ(cluster_fault_of("server: 'https://'"), what("https:"));
}

TEST(Kubeconfig, WhatIsNoBase64IsNamed) {
  EXPECT_EQ(cluster_fault_of("server: 'https://a:1', certificate-authority-data: '%%'"),
            "certificate-authority-data: expected base64");
  EXPECT_EQ(user_fault_of("client-certificate-data: Y2VydA==, client-key-data: '-----BEGIN'"),
            "client-key-data: expected base64");
  EXPECT_EQ(user_fault_of("client-certificate-data: 'Y', client-key: k"),
            "client-certificate-data: expected base64");
}

TEST(Kubeconfig, ACertificateAndItsKeyGoTogether) {
  const std::string what =
      "the user's client-certificate and client-key go together; one of them is missing";
  EXPECT_EQ(user_fault_of("client-certificate-data: Y2VydA=="), what);
  EXPECT_EQ(user_fault_of("client-certificate: web.crt"), what);
  EXPECT_EQ(user_fault_of("client-key: web.key"), what);
  EXPECT_EQ(user_fault_of("client-key-data: a2V5, client-certificate-data: ''"), what);
  EXPECT_EQ(user_fault_of("client-key-data: a2V5, client-certificate: web.crt"), "none");
}

TEST(Kubeconfig, WaysToLogInThatAreNotBuiltAreNamed) {
  const std::string end = " is not supported; use a token, a client certificate or an exec plugin";
  EXPECT_EQ(user_fault_of("auth-provider: {name: gcp}"), "the user's auth-provider" + end);
  EXPECT_EQ(user_fault_of("username: alice, password: x"), "the user's username" + end);
}

TEST(Kubeconfig, AnExecPluginThatCannotWorkIsNamed) {
  const std::string versions = "' is not supported; use client.authentication.k8s.io/v1";
  const std::string good = "apiVersion: client.authentication.k8s.io/v1, command: login";
  EXPECT_EQ(user_fault_of("exec: {command: login}"), "the user's exec.apiVersion: '" + versions);
  EXPECT_EQ(
      user_fault_of("exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: login}"),
      "the user's exec.apiVersion: 'client.authentication.k8s.io/v1alpha1" + versions);
  EXPECT_EQ(user_fault_of("exec: {" + good + ", interactiveMode: Always}"),
            "the user's exec.interactiveMode: Always cannot work, as nobody is there to answer");
  EXPECT_EQ(user_fault_of("exec: {" + good + ", interactiveMode: Never}"), "none");
  EXPECT_EQ(user_fault_of("exec: {apiVersion: client.authentication.k8s.io/v1}"),
            "the user's exec.command is missing");
  EXPECT_EQ(user_fault_of("exec: {apiVersion: client.authentication.k8s.io/v1, command: ''}"),
            "the user's exec.command is missing");
  EXPECT_NE(user_fault_of("exec: {" + good + ", env: [HOME]}"), "none");
}

TEST(Kubeconfig, TheFirstOfSeveralFaultsIsTold) {
  EXPECT_EQ(fault_of(kubeconfig("server: x", "username: a, client-key: k")),
            "the cluster's server: expected https://HOST:PORT, not 'x'");
}

TEST(Kubeconfig, NoPrefixOfOneIsACrash) {
  const TemporaryFolder folder;
  const std::string whole = kubeconfig(
      "server: 'https://a:1', certificate-authority-data: Y2E=",
      "exec: {apiVersion: client.authentication.k8s.io/v1, command: a, args: [b], env: [{name: c, "
      "value: d}]}");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto access = read_kubeconfig(folder.write("config", whole.substr(0, size)), "");
    EXPECT_TRUE(access || !access.error().message.empty());
  }
}

// Sets variables of the environment for a while; nothing: unset.
class Environment {
 public:
  Environment(const char* host, const char* port) {
    set(kHost, host);
    set(kPort, port);
  }
  ~Environment() {
    set(kHost, nullptr);
    set(kPort, nullptr);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  static constexpr const char* kHost = "KUBERNETES_SERVICE_HOST";
  static constexpr const char* kPort = "KUBERNETES_SERVICE_PORT";
  static void set(const char* name, const char* value) {
    if (value == nullptr) {
      ::unsetenv(name);
    } else {
      ::setenv(name, value, 1);
    }
  }
};

class ServiceAccount : public ::testing::Test {
 protected:
  ServiceAccount() {
    folder_.write("ca.crt", "pem");
    folder_.write("token", "abc");
    folder_.write("namespace", "sluice-system");
  }
  [[nodiscard]] std::string fault() const {
    const auto access = read_service_account(folder_.path());
    return access ? "none" : access.error().message;
  }
  TemporaryFolder folder_;
};

TEST_F(ServiceAccount, IsWhatAPodHasOfIt) {
  const Environment environment("10.96.0.1", "443");
  const auto access = read_service_account(folder_.path());
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(access->server, "https://10.96.0.1:443");
  EXPECT_EQ(access->ca.file, folder_.path("ca.crt"));
  EXPECT_EQ(access->token_file, folder_.path("token"));
  EXPECT_EQ(access->token, "");
  EXPECT_EQ(access->space, "sluice-system");
  EXPECT_FALSE(access->insecure);
}

TEST_F(ServiceAccount, AnIpv6HostIsInBrackets) {
  const Environment environment("fd00:10:96::1", "6443");
  const auto access = read_service_account(folder_.path());
  ASSERT_TRUE(access);
  EXPECT_EQ(access->server, "https://[fd00:10:96::1]:6443");
}

TEST_F(ServiceAccount, TheNamespaceMayEndInANewlineOrBeAbsent) {
  const Environment environment("10.96.0.1", "443");
  folder_.write("namespace", "shop\n");
  EXPECT_EQ(read_service_account(folder_.path())->space, "shop");
  std::filesystem::remove(folder_.path("namespace"));
  EXPECT_EQ(read_service_account(folder_.path())->space, "");
}

TEST_F(ServiceAccount, OutsideOfAPodAKubeconfigIsAskedFor) {
  const std::string what =
      "kubeconfig: none is given, and this is no pod, as KUBERNETES_SERVICE_HOST and "
      "KUBERNETES_SERVICE_PORT are not set; name a kubeconfig";
  for (const auto& [host, port] : {std::pair<const char*, const char*>{nullptr, nullptr},
                                   {"10.96.0.1", nullptr},
                                   {nullptr, "443"},
                                   {"", ""}}) {
    const Environment environment(host, port);
    EXPECT_EQ(fault(), what);
  }
}

TEST_F(ServiceAccount, AFileThatIsMissingIsNamed) {
  const Environment environment("10.96.0.1", "443");
  const std::string end = ": it is missing; the pod needs automountServiceAccountToken: true";
  std::filesystem::remove(folder_.path("token"));
  EXPECT_EQ(fault(), folder_.path("token") + end);
  std::filesystem::create_symlink("token", folder_.path("token"));
  EXPECT_EQ(fault(), folder_.path("token") + end) << "it leads to itself";
  std::filesystem::remove(folder_.path("ca.crt"));
  EXPECT_EQ(fault(), folder_.path("ca.crt") + end);
}

}  // namespace
}  // namespace sluice::kubernetes
