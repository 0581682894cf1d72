// SPDX-License-Identifier: Apache-2.0
// sluice-k8s: the wiring.
//
//   API server -> Reflectors -> ClusterState -> translate -> GatewaySenders -> sluiced
#include "controlplane/kubernetes/adapter.h"
#include "controlplane/kubernetes/doctor.h"
#include "controlplane/kubernetes/settings.h"
#include "controlplane/process/config_file.h"
#include "controlplane/process/process.h"

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <cstdio>

using namespace sluice;
using namespace sluice::kubernetes;

int main(int argc, char** argv) {
  std::string file;
  bool check = false;
  bool doctor = false;
  CLI::App app{"sluice-k8s: keeps Sluice gateways equal to a Kubernetes cluster's Services."};
  app.add_option("--config", file, "configuration file (YAML; see deploy/examples)")->required();
  app.add_flag("--check", check, "validate the configuration file and the kubeconfig, and exit");
  app.add_flag("--doctor", doctor,
               "say what keeps services from being served, and exit (sluicectl doctor)");
  app.set_version_flag("--version", SLUICE_VERSION);
  app.footer(
      "Exit codes: 0 stopped by SIGTERM, SIGINT or SIGHUP, or --check or --doctor found no fault;\n"
      "1 they found some, or it could not start, the reason is on standard error; 2 wrong usage.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto settings = process::read_config("sluice-k8s", file, &kubernetes::validate);
  if (!settings) {
    return 1;
  }
  const auto access = settings->kubeconfig.empty()
                          ? read_service_account()
                          : read_kubeconfig(settings->kubeconfig, settings->context);
  if (!access) {
    std::fprintf(stderr, "sluice-k8s: %s\n", access.error().message.c_str());
    return 1;
  }
  if (check) {
    return 0;
  }
  if (doctor) {
    process::set_up_log("sluice-k8s", "error");
    return diagnose(*settings, *access, stdout);
  }
  process::set_up_log("sluice-k8s", settings->log_level);
  const sigset_t signals = process::block_signals();
  const Adapter adapter(*settings, *access);
  spdlog::info("cluster {} as provider {}", access->server, settings->provider);
  process::notify("READY=1");
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping on signal {}; what the gateways have stays", signal);
  process::notify("STOPPING=1");
  return 0;
}
