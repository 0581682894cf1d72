// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/node_health.h"

#include "controlplane/model/validate.h"

#include <spdlog/spdlog.h>

#include <absl/container/flat_hash_set.h>
#include <algorithm>
#include <cerrno>
#include <curl/curl.h>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <utility>

namespace sluice::kubernetes {
namespace {

using Clock = std::chrono::steady_clock;
using State = NodeHealth::State;
using std::chrono::milliseconds;

constexpr milliseconds kTimeoutMax{2'000};
constexpr int kFailuresMax = 3;
constexpr milliseconds kTargetsEvery{1'000};
constexpr milliseconds kChangesEvery{100};
// What is new is asked soon; and what said no, since a pod that gets ready is waiting for its node.
constexpr milliseconds kSoon{1'000};
constexpr std::size_t kBodyBytesMax = 4'096;

enum class Answer {
  kOk,
  kNotOk,
  kRefused,  // the node is there, and nothing at its port answers HTTP
  kSilent,   // not even the node is known to be there
  kNone,     // not asked, for a reason of our own
};

Answer answer_of(CURL* easy, CURLcode result) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200) {  // whatever became of the body
    return status == 200 ? Answer::kOk : Answer::kNotOk;
  }
  if (result == CURLE_OPERATION_TIMEDOUT) {
    return Answer::kSilent;
  }
  if (result != CURLE_COULDNT_CONNECT) {
    const bool is_ours = result == CURLE_OUT_OF_MEMORY || result == CURLE_FAILED_INIT;
    return is_ours ? Answer::kNone : Answer::kRefused;
  }
  long os_errno = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
  switch (os_errno) {
    case ECONNREFUSED:
      return Answer::kRefused;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
      return Answer::kSilent;
    default:
      return Answer::kNone;  // out of descriptors, ports or memory
  }
}

// Only that it ends is of interest.
std::size_t pass_over(char* /*octets*/, std::size_t /*one*/, std::size_t size, void* seen) {
  auto& total = *static_cast<std::size_t*>(seen);
  total += size;
  return total > kBodyBytesMax ? 0 : size;
}

struct Probe {
  const ProbeTarget* target = nullptr;
  State state = State::kUnknown;
  bool has_answered = false;
  int failures = 0;  // in a row
  Clock::time_point due;
  CURL* easy = nullptr;  // while it is being asked
  std::size_t body_bytes = 0;
};

std::string text_of(const ProbeTarget& target) {
  return "node " + target.node + ": " +
         (target.service ? "of " + to_string(*target.service) : std::string("kube-proxy")) +
         " at " + to_string(target.address) + " port " + std::to_string(target.port);
}

bool is_usable(const SliceEndpoint& endpoint) {
  return is_true_or_absent(endpoint.ready) ||
         (endpoint.terminating == Condition::kTrue && is_true_or_absent(endpoint.serving));
}

}  // namespace

// What the thread alone has.
class NodeHealthProber::Loop {
 public:
  explicit Loop(NodeHealthProber& prober)
      : prober_(prober), headers_(curl_slist_append(nullptr, "Connection: close")) {}
  ~Loop() {
    for (auto& [target, probe] : probes_) {
      end(probe);
    }
    curl_slist_free_all(headers_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run() {
    while (!prober_.is_stopped()) {
      const auto now = Clock::now();
      refresh(now);
      begin_due(now);
      int running = 0;
      curl_multi_perform(prober_.multi_, &running);
      take_answers();
      report(now);
      curl_multi_poll(prober_.multi_, nullptr, 0, wait_ms(), nullptr);
    }
  }

 private:
  // Takes the place of the set. That of one that goes is unknown from then on.
  void refresh(Clock::time_point now) {
    if (now < refresh_at_ || !prober_.take_dirty()) {
      return;
    }
    refresh_at_ = now + kTargetsEvery;
    std::vector<ProbeTarget> listed = prober_.targets_();
    const std::set<ProbeTarget> wanted(std::make_move_iterator(listed.begin()),
                                       std::make_move_iterator(listed.end()));
    for (auto at = probes_.begin(); at != probes_.end();) {
      if (wanted.contains(at->first)) {
        ++at;
        continue;
      }
      end(at->second);
      queue_.erase({at->second.due, &at->second});
      become(at->second, State::kUnknown);
      at = probes_.erase(at);
    }
    for (const ProbeTarget& target : wanted) {
      const auto [at, is_new] = probes_.try_emplace(target);
      if (is_new) {
        at->second.target = &at->first;
        queue(at->second, now + by_chance(std::min(kSoon, prober_.settings_.interval)));
      }
    }
  }

  void begin_due(Clock::time_point now) {
    while (!queue_.empty() && queue_.begin()->first <= now &&
           busy_ < prober_.settings_.concurrent_max) {
      Probe& probe = *queue_.begin()->second;
      queue_.erase(queue_.begin());
      begin(probe);
      // A quarter more or less, so that they spread.
      const milliseconds interval = prober_.settings_.interval;
      probe.due = now + interval * 3 / 4 + by_chance(interval / 2);
    }
  }

  void begin(Probe& probe) {
    // A new one each time: CURLINFO_OS_ERRNO may be left from the time before.
    CURL* easy = curl_easy_init();
    const std::string host = to_string(probe.target->address);
    const std::string url = "http://" +
                            (probe.target->address.is_ipv4() ? host : "[" + host + "]") + ":" +
                            std::to_string(probe.target->port) + "/healthz";
    const auto timeout_ms =
        static_cast<long>(std::min(prober_.settings_.interval, kTimeoutMax).count());
    probe.body_bytes = 0;
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");  // whatever the environment says
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice-k8s/" SLUICE_VERSION);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    // Whether a connection can be made is part of what is asked.
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &pass_over);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &probe.body_bytes);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &probe);
    curl_multi_add_handle(prober_.multi_, easy);
    probe.easy = easy;
    ++busy_;
  }

  // The request, answered or not.
  void end(Probe& probe) {
    if (probe.easy == nullptr) {
      return;
    }
    curl_multi_remove_handle(prober_.multi_, probe.easy);
    curl_easy_cleanup(probe.easy);
    probe.easy = nullptr;
    --busy_;
  }

  void take_answers() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(prober_.multi_, &left)) {
      if (message->msg != CURLMSG_DONE) {
        continue;
      }
      char* of = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &of);
      Probe& probe = *static_cast<Probe*>(static_cast<void*>(of));
      const Answer answer = answer_of(message->easy_handle, message->data.result);
      end(probe);
      become(probe, judged(probe, answer));
      if (answer == Answer::kNotOk) {
        const auto soon = std::min(kSoon, prober_.settings_.interval);
        probe.due = std::min(probe.due, Clock::now() + soon / 2 + by_chance(soon / 2));
      }
      queue(probe, probe.due);
    }
  }

  State judged(Probe& probe, Answer answer) {
    switch (answer) {
      case Answer::kOk:
      case Answer::kNotOk:
        probe.failures = 0;
        probe.has_answered = true;
        answered_ports_.insert(probe.target->port);
        return answer == Answer::kOk ? State::kUp : State::kDown;
      case Answer::kNone:
        return probe.state;
      case Answer::kRefused:
      case Answer::kSilent:
        break;
    }
    const bool is_expected = probe.has_answered || (answer == Answer::kSilent &&
                                                    answered_ports_.contains(probe.target->port));
    if (!is_expected) {
      probe.failures = 0;
      return State::kUnknown;
    }
    return ++probe.failures >= kFailuresMax ? State::kDown : probe.state;
  }

  void become(Probe& probe, State state) {
    if (probe.state == state) {
      return;
    }
    const ProbeTarget& target = *probe.target;
    const bool matters = probe.state == State::kDown || state == State::kDown;
    probe.state = state;
    prober_.set(target, state);
    if (!matters) {
      return;
    }
    spdlog::log(target.service ? spdlog::level::debug : spdlog::level::info, "{}: {}",
                text_of(target), state == State::kDown ? "down" : "not down any more");
    if (target.service) {
      changed_services_.insert(*target.service);
    } else {
      changed_nodes_.insert(target.node);
    }
  }

  [[nodiscard]] bool has_changes() const {
    return !changed_nodes_.empty() || !changed_services_.empty();
  }

  // Many nodes of one zone go together, and each changes every service.
  void report(Clock::time_point now) {
    if (!has_changes() || now < report_at_) {
      return;
    }
    report_at_ = now + kChangesEvery;
    const Changes changes{{changed_nodes_.begin(), changed_nodes_.end()},
                          {changed_services_.begin(), changed_services_.end()}};
    changed_nodes_.clear();
    changed_services_.clear();
    prober_.changed_(changes);
  }

  // Until there is something to do but to hear answers.
  [[nodiscard]] int wait_ms() const {
    const auto now = Clock::now();
    auto until = now + std::chrono::seconds(10);
    if (!queue_.empty() && busy_ < prober_.settings_.concurrent_max) {
      until = std::min(until, queue_.begin()->first);
    }
    if (prober_.is_dirty()) {
      until = std::min(until, refresh_at_);
    }
    if (has_changes()) {
      until = std::min(until, report_at_);
    }
    return static_cast<int>(std::chrono::ceil<milliseconds>(std::max(until, now) - now).count());
  }

  void queue(Probe& probe, Clock::time_point due) {
    probe.due = due;
    queue_.emplace(due, &probe);
  }

  milliseconds by_chance(milliseconds most) {
    return milliseconds(std::uniform_int_distribution<std::int64_t>(0, most.count())(random_));
  }

  NodeHealthProber& prober_;
  curl_slist* headers_;
  std::mt19937_64 random_{std::random_device{}()};
  std::map<ProbeTarget, Probe> probes_;
  std::set<std::pair<Clock::time_point, Probe*>> queue_;  // those that are not being asked
  std::size_t busy_ = 0;
  absl::flat_hash_set<std::uint16_t> answered_ports_;  // by any node, ever
  std::set<std::string> changed_nodes_;
  std::set<ServiceName> changed_services_;
  Clock::time_point refresh_at_{};
  Clock::time_point report_at_{};
};

NodeHealthProber::NodeHealthProber(const ProbeSettings& settings, Targets targets, Changed changed)
    : settings_(settings), targets_(std::move(targets)), changed_(std::move(changed)) {
  static const bool initialized = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  (void)initialized;
  multi_ = curl_multi_init();
}

void NodeHealthProber::start() {
  thread_ = std::thread([this] { Loop(*this).run(); });
}

NodeHealthProber::~NodeHealthProber() {
  stop();
  curl_multi_cleanup(multi_);
}

void NodeHealthProber::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  curl_multi_wakeup(multi_);
  if (thread_.joinable()) {
    thread_.join();
  }
}

void NodeHealthProber::targets_changed() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(dirty_, true)) {
      return;  // the thread knows
    }
  }
  curl_multi_wakeup(multi_);
}

NodeHealth::State NodeHealthProber::kube_proxy(const std::string& node) const {
  const std::lock_guard lock(mutex_);
  const auto at = states_.find(node);
  return at == states_.end() ? State::kUnknown : at->second.kube_proxy;
}

NodeHealth::State NodeHealthProber::local(const std::string& node,
                                          const ServiceName& service) const {
  const std::lock_guard lock(mutex_);
  const auto at = states_.find(node);
  if (at == states_.end()) {
    return State::kUnknown;
  }
  const auto of = at->second.local.find(service);
  return of == at->second.local.end() ? State::kUnknown : of->second;
}

// What is unknown is not kept, so that nothing is left of nodes and services that are gone.
void NodeHealthProber::set(const ProbeTarget& target, State state) {
  const std::lock_guard lock(mutex_);
  StatesOfNode& of = states_[target.node];
  if (!target.service) {
    of.kube_proxy = state;
  } else if (state == State::kUnknown) {
    of.local.erase(*target.service);
  } else {
    of.local[*target.service] = state;
  }
  if (of.kube_proxy == State::kUnknown && of.local.empty()) {
    states_.erase(target.node);
  }
}

bool NodeHealthProber::take_dirty() {
  const std::lock_guard lock(mutex_);
  return std::exchange(dirty_, false);
}

bool NodeHealthProber::is_dirty() const {
  const std::lock_guard lock(mutex_);
  return dirty_;
}

bool NodeHealthProber::is_stopped() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

std::vector<ProbeTarget> probe_targets(const std::vector<ServiceView>& services, const Nodes& nodes,
                                       const ProbeRules& rules) {
  std::map<std::string, IpAddress> addresses;
  for (const auto& [name, node] : nodes) {
    const auto& ips = node.internal_ips;  // the first that flows could go to
    const auto at = std::find_if(ips.begin(), ips.end(), model::is_usable_unicast);
    if (at != ips.end() && rules.may_be_next_hop(node)) {
      addresses.emplace(name, *at);
    }
  }
  std::set<ProbeTarget> targets;
  bool asks_kube_proxy = false;
  for (const ServiceView& view : services) {
    if (view.service == nullptr || !rules.goes_to_nodes(view)) {
      continue;
    }
    const std::int64_t port = view.service->health_check_node_port;
    if (view.service->external_traffic_policy != "Local" || port < 1 || port > 65'535) {
      asks_kube_proxy = true;
      continue;
    }
    for (const auto& slice : view.slices) {
      for (const SliceEndpoint& endpoint : slice->endpoints) {
        const auto at =
            endpoint.node_name == nullptr ? addresses.end() : addresses.find(*endpoint.node_name);
        if (at != addresses.end() && is_usable(endpoint)) {
          targets.insert(
              {at->first, view.service->meta.name, at->second, static_cast<std::uint16_t>(port)});
        }
      }
    }
  }
  for (const auto& [name, address] : addresses) {
    if (asks_kube_proxy) {
      targets.insert({name, std::nullopt, address, kKubeProxyHealthPort});
    }
  }
  return {targets.begin(), targets.end()};
}

}  // namespace sluice::kubernetes
