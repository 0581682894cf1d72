// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/cluster_access.h"

#include <yaml-cpp/yaml.h>

#include <absl/strings/escaping.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace sluice::kubernetes {
namespace {

using model::Code;
using model::Error;

Error fault(const std::string& file, const std::string& what) {
  return {.code = Code::kInvalidArgument, .message = file + ": " + what};
}

std::string text_of(const YAML::Node& node) {
  return node.IsDefined() && node.IsScalar() ? node.Scalar() : std::string();
}

// A member that is absent is no node that could be asked more.
bool is_map(const YAML::Node& node) {
  return node.IsDefined() && node.IsMap();
}

// Reads one file; its first fault ends it.
class Kubeconfig {
 public:
  Kubeconfig(std::string file, YAML::Node root)
      : file_(std::move(file)),
        folder_(std::filesystem::path(file_).parent_path()),
        root_(std::move(root)) {}

  model::Result<ClusterAccess> read(const std::string& wanted) {
    const std::string context_name = wanted.empty() ? text_of(root_["current-context"]) : wanted;
    if (context_name.empty()) {
      return fault(file_, "current-context is empty; set it, or name a context");
    }
    const YAML::Node context = entry("contexts", context_name, "context");
    const YAML::Node cluster = entry("clusters", text_of(context["cluster"]), "cluster");
    const std::string user_name = text_of(context["user"]);
    const YAML::Node user =
        user_name.empty() || !fault_.empty() ? YAML::Node() : entry("users", user_name, "user");
    ClusterAccess access;
    access.space = text_of(context["namespace"]);
    read_cluster(cluster, access);
    read_user(user, access);
    if (!fault_.empty()) {
      return fault(file_, fault_);
    }
    return access;
  }

 private:
  // The `kind` of this name; an empty mapping when there is none.
  YAML::Node entry(const char* list, const std::string& name, const char* kind) {
    if (fault_.empty() && root_[list].IsDefined() && root_[list].IsSequence()) {
      for (const YAML::Node& each : root_[list]) {
        if (is_map(each) && text_of(each["name"]) == name && is_map(each[kind])) {
          return each[kind];
        }
      }
    }
    note(std::string(list) + ": there is no '" + name + "'");
    return YAML::Node(YAML::NodeType::Map);
  }

  void note(const std::string& what) {
    if (fault_.empty()) {
      fault_ = what;
    }
  }

  [[nodiscard]] std::string path(const YAML::Node& node) const {
    const std::string given = text_of(node);
    return given.empty() || given.front() == '/' ? given : (folder_ / given).string();
  }

  // `key`-data before `key`, as in client-go.
  Pem pem(const YAML::Node& of, const std::string& key) {
    Pem found;
    const std::string encoded = text_of(of[key + "-data"]);
    if (encoded.empty()) {
      found.file = path(of[key]);
    } else if (!absl::Base64Unescape(encoded, &found.text)) {
      note(key + "-data: expected base64");
    }
    return found;
  }

  void read_cluster(const YAML::Node& cluster, ClusterAccess& access) {
    access.server = text_of(cluster["server"]);
    while (access.server.ends_with('/')) {
      access.server.pop_back();
    }
    if (!access.server.starts_with("https://") && !access.server.starts_with("http://")) {
      note("the cluster's server: expected https://HOST:PORT, not '" + access.server + "'");
    }
    access.ca = pem(cluster, "certificate-authority");
    access.insecure = text_of(cluster["insecure-skip-tls-verify"]) == "true";
    access.tls_server_name = text_of(cluster["tls-server-name"]);
    access.proxy = text_of(cluster["proxy-url"]);
  }

  void read_user(const YAML::Node& user, ClusterAccess& access) {
    if (!is_map(user)) {
      return;
    }
    access.token = text_of(user["token"]);
    access.token_file = path(user["tokenFile"]);
    access.certificate = pem(user, "client-certificate");
    access.key = pem(user, "client-key");
    if (access.certificate.empty() != access.key.empty()) {
      note("the user's client-certificate and client-key go together; one of them is missing");
    }
    for (const char* refused : {"auth-provider", "username"}) {
      if (user[refused].IsDefined()) {
        note(std::string("the user's ") + refused +
             " is not supported; use a token, a client certificate or an exec plugin");
      }
    }
    if (is_map(user["exec"])) {
      access.exec = read_exec(user["exec"]);
    }
  }

  ExecPlugin read_exec(const YAML::Node& exec) {
    ExecPlugin plugin;
    plugin.api_version = text_of(exec["apiVersion"]);
    if (plugin.api_version != "client.authentication.k8s.io/v1" &&
        plugin.api_version != "client.authentication.k8s.io/v1beta1") {
      note("the user's exec.apiVersion: '" + plugin.api_version +
           "' is not supported; use client.authentication.k8s.io/v1");
    }
    if (text_of(exec["interactiveMode"]) == "Always") {
      note("the user's exec.interactiveMode: Always cannot work, as nobody is there to answer");
    }
    plugin.command = text_of(exec["command"]);
    if (plugin.command.empty()) {
      note("the user's exec.command is missing");
    }
    if (plugin.command.find('/') != std::string::npos) {
      plugin.command = path(exec["command"]);
    }
    for (const YAML::Node& argument : exec["args"]) {
      plugin.arguments.push_back(text_of(argument));
    }
    for (const YAML::Node& variable : exec["env"]) {
      plugin.environment[text_of(variable["name"])] = text_of(variable["value"]);
    }
    plugin.wants_cluster = text_of(exec["provideClusterInfo"]) == "true";
    return plugin;
  }

  std::string file_;
  std::filesystem::path folder_;
  YAML::Node root_;
  std::string fault_;
};

std::string first_line(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

model::Result<ClusterAccess> read_kubeconfig(const std::string& file, const std::string& context) {
  if (std::error_code why; !std::filesystem::is_regular_file(file, why)) {
    const bool is_absent =
        !why || why == std::errc::no_such_file_or_directory || why == std::errc::not_a_directory;
    return fault(file, is_absent ? "there is no such file; name a kubeconfig" : why.message());
  }
  try {
    const YAML::Node root = YAML::LoadFile(file);
    if (!root.IsMap()) {
      return fault(file, "it is no kubeconfig; expected a mapping");
    }
    return Kubeconfig(file, root).read(context);
  } catch (const YAML::Exception& bad) {
    return fault(file, bad.what());
  }
}

model::Result<ClusterAccess> read_service_account(const std::string& folder) {
  ClusterAccess access;
  std::string host = variable("KUBERNETES_SERVICE_HOST");
  const std::string port = variable("KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return fault("kubeconfig",
                 "none is given, and this is no pod, as KUBERNETES_SERVICE_HOST and "
                 "KUBERNETES_SERVICE_PORT are not set; name a kubeconfig");
  }
  if (host.find(':') != std::string::npos) {
    host = "[" + host + "]";
  }
  access.server = "https://" + host + ":" + port;
  access.ca.file = folder + "/ca.crt";
  access.token_file = folder + "/token";
  for (const std::string& file : {access.ca.file, access.token_file}) {
    if (std::error_code why; !std::filesystem::exists(file, why)) {
      return fault(file, "it is missing; the pod needs automountServiceAccountToken: true");
    }
  }
  access.space = first_line(folder + "/namespace");
  return access;
}

}  // namespace sluice::kubernetes
