// SPDX-License-Identifier: Apache-2.0
#include "bench/publish/gateway_process.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace sluice::bench {
namespace {

constexpr auto kStartPatience = std::chrono::seconds(30);
constexpr auto kStopPatience = std::chrono::seconds(10);

std::string make_folder() {
  std::string folder = (std::filesystem::temp_directory_path() / "publish-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    throw std::runtime_error("no folder can be made in " +
                             std::filesystem::temp_directory_path().string());
  }
  return folder;
}

bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool open = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return open;
}

std::string first_line(const std::filesystem::path& file) {
  std::string line;
  std::getline(std::ifstream(file), line);
  return line;
}

}  // namespace

GatewayProcess::GatewayProcess(const Plan& plan) : folder_(make_folder()) {
  write_config(plan);
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    // The bench keeps to its own CPU; sluiced may have all of them.
    cpu_set_t all;
    std::memset(&all, 0xff, sizeof(all));
    sched_setaffinity(0, sizeof(all), &all);
    const std::string config = folder_ + "/sluiced.yaml";
    execl(plan.program.c_str(), plan.program.c_str(), "--config", config.c_str(), nullptr);
    _exit(127);
  }
  wait_until_serving();
  pin_threads(plan);
}

GatewayProcess::~GatewayProcess() {
  if (process_ > 0) {
    kill(process_, SIGTERM);
    const auto deadline = std::chrono::steady_clock::now() + kStopPatience;
    while (waitpid(process_, nullptr, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) {
        kill(process_, SIGKILL);
        waitpid(process_, nullptr, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void GatewayProcess::write_config(const Plan& plan) const {
  const auto device = [this](int id) {
    const std::string number = std::to_string(id);
    return "net_memif" + number + ",role=server,id=" + number + ",socket=" + memif_socket() +
           ",socket-abstract=no,rsize=13,mac=02:00:00:00:00:1" + number;
  };
  std::ofstream(folder_ + "/sluiced.yaml")
      << "name: publish-bench\n"
      << "api: {listen: '" << api() << "'}\n"
      << "log: {level: warning}\n"
      << "dataplane:\n"
      << "  lcores: [" << plan.lcore << "]\n"
      << "  memory: 512MiB\n"
      << "  no_hugepages: true\n"
      << "  bindings: " << plan.bindings << "\n"
      << "  service_ports: " << plan.service_ports << "\n"
      << "ports:\n"
      << "  - name: wan0\n"
      << "    device: '" << device(0) << "'\n"
      << "    twin: none\n"
      << "    addresses: [192.0.2.1/24]\n"
      << "    neighbours: [{address: 192.0.2.254, mac: '02:00:00:00:00:01'}]\n"
      // Not the default route: the one of the machine itself, by another way, would win.
      << "    routes: [{prefix: 198.18.0.0/15, gateway: 192.0.2.254}]\n"
      << "  - name: lan0\n"
      << "    device: '" << device(1) << "'\n"
      << "    twin: none\n"
      << "    addresses: [10.10.0.1/24]\n"
      << "    neighbours: [{address: 10.10.0.254, mac: '02:00:00:00:00:02'}]\n"
      << "    routes: [{prefix: 10.64.0.0/10, gateway: 10.10.0.254}]\n"
      << "snat: [{address: 10.10.0.100}]\n";
}

void GatewayProcess::wait_until_serving() {
  const auto deadline = std::chrono::steady_clock::now() + kStartPatience;
  while (!answers(folder_ + "/sluice.sock")) {
    if (waitpid(process_, nullptr, WNOHANG) == process_) {
      process_ = -1;
      throw std::runtime_error("sluiced does not start; its reason is above");
    }
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("sluiced does not serve within 30 s");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// As `CPUAffinity=` and isolated cores do it in production. Threads that come later inherit it.
void GatewayProcess::pin_threads(const Plan& plan) {
  cpu_set_t control;
  CPU_ZERO(&control);
  CPU_SET(plan.control_cpu, &control);
  const std::string tasks = "/proc/" + std::to_string(process_) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    const auto thread = static_cast<pid_t>(std::stol(task.path().filename().string()));
    if (first_line(task.path() / "comm") == "lcore-worker-" + std::to_string(plan.lcore) ||
        first_line(task.path() / "comm") == "rte-worker-" + std::to_string(plan.lcore)) {
      lcore_ = thread;
    } else {
      sched_setaffinity(thread, sizeof(control), &control);
    }
  }
  if (lcore_ < 0) {
    throw std::runtime_error("sluiced has no lcore thread");
  }
}

std::string GatewayProcess::lcore_schedstat() const {
  return "/proc/" + std::to_string(process_) + "/task/" + std::to_string(lcore_) + "/schedstat";
}

double GatewayProcess::memory_mib(const std::string& field) const {
  std::ifstream status("/proc/" + std::to_string(process_) + "/status");
  std::string word;
  while (status >> word) {
    if (word == field + ":") {
      double kib = 0;
      status >> kib;
      return kib / 1024;
    }
  }
  return 0;
}

double GatewayProcess::control_seconds() const {
  // proc(5): the 14th and 15th field, after the name in parentheses.
  const std::string line = first_line("/proc/" + std::to_string(process_) + "/stat");
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) {
    fields >> skipped;
  }
  double user = 0;
  double system = 0;
  fields >> user >> system;
  double lcore_ns = 0;
  std::ifstream(lcore_schedstat()) >> lcore_ns;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK)) - lcore_ns / 1e9;
}

}  // namespace sluice::bench
