// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/options.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

namespace sluice::cli {
namespace {

struct Outcome {
  Parsed parsed;
  std::string out;
  std::string err;
};

Outcome parse_words(const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream err;
  Outcome outcome;
  outcome.parsed = parse(words, out, err);
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

Options good(const std::vector<std::string>& words) {
  const Outcome outcome = parse_words(words);
  EXPECT_TRUE(outcome.parsed.options) << outcome.err;
  return outcome.parsed.options.value_or(Options{});
}

void expect_refused(const std::vector<std::string>& words, const std::string& said) {
  const Outcome outcome = parse_words(words);
  EXPECT_FALSE(outcome.parsed.options);
  EXPECT_EQ(outcome.parsed.exit_code, kUsage);
  EXPECT_NE(outcome.err.find(said), std::string::npos) << outcome.err;
}

TEST(Parse, GlobalOptionsStandBeforeOrAfterTheCommand) {
  for (const auto& words :
       {std::vector<std::string>{"-n", "shop", "-o", "json", "get", "svc"},
        std::vector<std::string>{"get", "svc", "-n", "shop", "-ojson"},
        std::vector<std::string>{"get", "-nshop", "services", "--output=json"}}) {
    const Options options = good(words);
    EXPECT_EQ(options.command, Command::kGet);
    EXPECT_EQ(options.namespace_filter(), "shop");
    EXPECT_EQ(options.output, Output::kJson);
  }
}

TEST(Parse, ExposeTakesKubectlsWords) {
  for (const auto& what : {std::vector<std::string>{"web"},
                           {"deployment", "web"},
                           {"deploy/web"},
                           {"svc", "web"},
                           {"service/web"}}) {
    std::vector<std::string> words{"expose"};
    words.insert(words.end(), what.begin(), what.end());
    words.insert(words.end(), {"--port", "9090", "--target-port", "8443", "--type", "LoadBalancer",
                               "--external-ip", "192.0.2.1,192.0.2.2", "--selector", "app=web,a=",
                               "--backend", "10.0.0.1", "--backend", "[2001:db8::1]:81,weight=3"});
    const Options options = good(words);
    EXPECT_EQ(options.command, Command::kExpose);
    EXPECT_EQ(options.names, std::vector<std::string>{"web"});
    EXPECT_EQ(options.expose.port, 9090);
    EXPECT_EQ(options.expose.target_port, 8443);
    EXPECT_EQ(options.expose.type, "LoadBalancer");
    EXPECT_EQ(options.expose.protocol, "TCP");
    EXPECT_EQ(options.expose.external_ips, (std::vector<std::string>{"192.0.2.1", "192.0.2.2"}));
    EXPECT_EQ(options.expose.selector,
              (std::map<std::string, std::string>{{"app", "web"}, {"a", ""}}));
    EXPECT_EQ(options.expose.backends.size(), 2U);
  }
}

TEST(Parse, ExposeRefusesWhatItCannotMean) {
  expect_refused({"expose", "web"}, "--port is required");
  expect_refused({"expose", "web", "--port", "0"}, "--port");
  expect_refused({"expose", "pod", "web", "--port", "80"}, "'pod' cannot be exposed");
  expect_refused({"expose", "web", "--port", "80", "--selector", "web"}, "is not KEY=VALUE");
  for (const char* backend : {"10.0.0.1:x", "10.0.0.1:70000", "[2001:db8::1", "[2001:db8::1]80",
                              "10.0.0.1,heavy", "10.0.0.1,weight=x"}) {
    expect_refused({"expose", "web", "--port", "80", "--backend", backend}, "--backend");
  }
}

TEST(Parse, PortForwardTakesKubectlsWords) {
  for (const auto& what : {std::vector<std::string>{"service", "web"},
                           {"service/web"},
                           {"services/web"},
                           {"svc/web"}}) {
    std::vector<std::string> words{"port-forward"};
    words.insert(words.end(), what.begin(), what.end());
    words.insert(words.end(), {"8001:80", "443", "--address", "127.0.0.1,::1"});
    const Options options = good(words);
    EXPECT_EQ(options.command, Command::kPortForward);
    EXPECT_EQ(options.names, std::vector<std::string>{"web"});
    EXPECT_EQ(options.port_forward.ports, (std::vector<std::string>{"8001:80", "443"}));
    EXPECT_EQ(options.port_forward.addresses, (std::vector<std::string>{"127.0.0.1", "::1"}));
  }
  expect_refused({"port-forward", "pod/web", "80"}, "name a service");
  expect_refused({"port-forward", "svc/web"}, "which port");
  expect_refused({"port-forward", "svc"}, "which service");
}

TEST(Parse, RolesAndDraining) {
  EXPECT_EQ(good({"role", "standby"}).role, "standby");
  expect_refused({"role", "backup"}, "active");
  EXPECT_EQ(good({"drain"}).deadline, std::chrono::seconds(30));
  EXPECT_EQ(good({"drain", "--deadline", "2m"}).deadline, std::chrono::minutes(2));
  expect_refused({"drain", "--deadline", "soon"}, "positive time");
  EXPECT_EQ(good({"undrain"}).command, Command::kUndrain);
  EXPECT_EQ(good({"describe", "svc", "web"}).names, std::vector<std::string>{"web"});
  expect_refused({"describe", "pools"}, "which service");
  expect_refused({"describe", "pool", "lb"}, "only services");
}

TEST(Parse, EveryNameOfEveryKindIsKnown) {
  const std::pair<Resource, std::vector<const char*>> kinds[] = {
      {Resource::kServices, {"services", "service", "svc"}},
      {Resource::kBackends, {"backends", "backend", "be"}},
      {Resource::kPorts, {"ports", "port", "po"}},
      {Resource::kFlows, {"flows", "flow", "fl"}},
      {Resource::kDrops, {"drops", "drop", "dr"}},
      {Resource::kProviders, {"providers", "provider", "pr"}},
      {Resource::kPools, {"pools", "pool"}},
      {Resource::kEvents, {"events", "event", "ev"}},
  };
  for (const auto& [resource, words] : kinds) {
    for (const char* word : words) {
      EXPECT_EQ(good({"get", word}).resource, resource) << word;
    }
  }
  expect_refused({"get", "pods"}, "there are no 'pods'");
}

TEST(Parse, NamesFollowTheKindOrStandBehindASlash) {
  EXPECT_EQ(good({"get", "svc", "a", "b"}).names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(good({"get", "service/a", "svc/b"}).names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(good({"delete", "service", "a"}).names, std::vector<std::string>{"a"});
  expect_refused({"get", "service/a", "port/b"}, "one kind at a time");
  expect_refused({"get", "service/"}, "a name is empty");
}

TEST(Parse, AServiceMayHaveTheNameOfACommand) {
  EXPECT_EQ(good({"get", "services", "status"}).names, std::vector<std::string>{"status"});
  EXPECT_EQ(good({"delete", "service", "delete", "get"}).names,
            (std::vector<std::string>{"delete", "get"}));
}

TEST(Parse, ApplyTakesSeveralFiles) {
  const Options options = good({"apply", "-f", "a.yaml", "--filename", "-", "--replace",
                                "--dry-run", "--expected-revision", "0"});
  EXPECT_EQ(options.files, (std::vector<std::string>{"a.yaml", "-"}));
  EXPECT_TRUE(options.replace);
  EXPECT_TRUE(options.dry_run);
  EXPECT_EQ(options.expected_revision, 0U);
  EXPECT_FALSE(good({"apply", "-f", "a"}).expected_revision);
}

TEST(Parse, ExplainTakesItsEndsByNameOrByPlace) {
  const Options named = good({"explain", "--from", "1.2.3.4", "--to", "5.6.7.8:80"});
  EXPECT_EQ(named.from, "1.2.3.4");
  EXPECT_EQ(named.to, "5.6.7.8:80");
  EXPECT_EQ(named.protocol, "tcp");
  const Options placed =
      good({"explain", "[::1]:5", "[::2]:80", "--protocol", "UDP", "--port", "wan0"});
  EXPECT_EQ(placed.from, "[::1]:5");
  EXPECT_EQ(placed.to, "[::2]:80");
  EXPECT_EQ(placed.port, "wan0");
  expect_refused({"explain", "--from", "1.2.3.4"}, "to");
  expect_refused({"explain", "a", "b", "--protocol", "sctp"}, "tcp or udp");
}

TEST(Parse, UsageFaultsAreNamed) {
  expect_refused({}, "subcommand");
  expect_refused({"frobnicate"}, "there is no command 'frobnicate'");
  expect_refused({"get"}, "resource");
  expect_refused({"apply"}, "-f FILE is required");
  expect_refused({"apply", "-f", "x", "--frob"}, "--frob");
  expect_refused({"apply", "-f", "x", "--expected-revision", "-1"}, "a whole number");
  expect_refused({"delete"}, "either service NAME... or -f FILE");
  expect_refused({"delete", "service", "a", "-f", "x"}, "either service NAME... or -f FILE");
  expect_refused({"delete", "port", "wan0"}, "only services can be deleted");
  expect_refused({"get", "svc", "-n", "a", "-A"}, "-n and -A exclude each other");
  expect_refused({"get", "svc", "-n", ""}, "-A is all of them");
  expect_refused({"delete", "service", "a", "-A"}, "-A means nothing here");
  expect_refused({"apply", "-f", "x", "-A"}, "-A means nothing here");
  expect_refused({"get", "ports", "-n", "shop"}, "-n means nothing here");
  expect_refused({"get", "drops", "--provider", "a"}, "--provider means nothing here");
  expect_refused({"status", "-A"}, "-A means nothing here");
  expect_refused({"get", "events", "web", "-A"}, "a service by name is of one namespace");
  expect_refused({"doctor", "--kubernetes", "--server", "unix:/x"}, "--server means nothing here");
  expect_refused({"--timeout=1s", "completion", "bash"}, "--timeout means nothing here");
  expect_refused({"status", "-o", "wide"}, "no such output");
  expect_refused({"apply", "-f", "x", "-o", "name"}, "no such output");
  expect_refused({"version", "-o", "json"}, "no such output");
  expect_refused({"get", "svc", "-o", "xml"}, "one of table, wide, json, yaml, name");
  expect_refused({"get", "ports", "-w"}, "--watch is for all services only");
  expect_refused({"get", "svc", "--client", "1.2.3.4"}, "are for flows");
  expect_refused({"get", "ports", "--service", "a"}, "--service is for flows and backends");
  expect_refused({"get", "backends", "a", "b"}, "of one service");
  expect_refused({"get", "flows", "-A", "--service", "a"}, "leave -A out");
  expect_refused({"get", "flows", "--limit", "0"}, "--limit");
  expect_refused({"status", "--timeout", "soon"}, "500ms, 10s or 2m");
  expect_refused({"completion", "tcsh"}, "tcsh");
}

TEST(Parse, HelpTellsTheExitCodesAndLeavesWithZero) {
  const Outcome outcome = parse_words({"--help"});
  EXPECT_FALSE(outcome.parsed.options);
  EXPECT_EQ(outcome.parsed.exit_code, kOk);
  for (const char* text :
       {"Exit codes:", "  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "SLUICE_SERVER"}) {
    EXPECT_NE(outcome.out.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(parse_words({"get", "--help"}).parsed.exit_code, kOk);
  const std::string doctor = parse_words({"doctor", "--help"}).out;
  EXPECT_NE(doctor.find("sluice-doctor"), std::string::npos) << doctor;
  EXPECT_EQ(doctor.find("understood here"), std::string::npos) << doctor;
}

TEST(Parse, TheServerIsTheOptionElseTheEnvironmentElseTheDefault) {
  ::unsetenv("SLUICE_SERVER");
  EXPECT_EQ(good({"status"}).server, "unix:/run/sluice/sluice.sock");
  ::setenv("SLUICE_SERVER", "unix:/from/environment", 1);
  EXPECT_EQ(good({"status"}).server, "unix:/from/environment");
  EXPECT_EQ(good({"status", "--server", "unix:/x"}).server, "unix:/x");
  ::unsetenv("SLUICE_SERVER");
}

TEST(Parse, TheNamespaceIsDefaultOrTheOneGivenOrAll) {
  EXPECT_EQ(good({"get", "svc"}).namespace_filter(), "default");
  EXPECT_EQ(good({"get", "svc", "-n", "x"}).namespace_filter(), "x");
  EXPECT_EQ(good({"get", "svc", "-A"}).namespace_filter(), "");
}

TEST(DurationOf, TakesAUnitOrSeconds) {
  using std::chrono::milliseconds;
  EXPECT_EQ(duration_of("500ms"), milliseconds(500));
  EXPECT_EQ(duration_of("10"), milliseconds(10'000));
  EXPECT_EQ(duration_of("10s"), milliseconds(10'000));
  EXPECT_EQ(duration_of("2m"), milliseconds(120'000));
  for (const char* bad : {"", "0", "-1s", "s", "10 s", "1.5s", "10y", "99999999999s"}) {
    EXPECT_FALSE(duration_of(bad)) << bad;
  }
}

}  // namespace
}  // namespace sluice::cli
