// SPDX-License-Identifier: Apache-2.0
// What is known of a cluster, as its lists and watches come in: KUBERNETES.md 1.15, 1.31, 2.9.
#include "tests/unit/controlplane/kubernetes/cluster_state_fixture.h"

namespace sluice::kubernetes {
namespace {

TEST_F(ClusterStateTest, IsSyncedOnceAllThreeKindsHaveBeenListed) {
  for (int last = 0; last < 3; ++last) {
    ClusterState state([](const std::vector<ServiceName>&) {});
    const std::vector<ObjectSink*> sinks{&state.services(), &state.slices(), &state.nodes()};
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(state.is_synced()) << last;
      if (i != last) {
        list(*sinks[static_cast<std::size_t>(i)], {});
      }
    }
    ObjectSink& missing = *sinks[static_cast<std::size_t>(last)];
    missing.begin_list();
    EXPECT_FALSE(state.is_synced()) << "2.9: a list that has not ended is half a view";
    missing.end_list();
    EXPECT_TRUE(state.is_synced()) << last;
  }
}

TEST_F(ClusterStateTest, StaysSyncedWhileAListIsDoneAgain) {
  list(state_.services(), {});
  list(state_.slices(), {});
  list(state_.nodes(), {});
  for (ObjectSink* sink : {&state_.services(), &state_.slices(), &state_.nodes()}) {
    sink->begin_list();
    EXPECT_TRUE(state_.is_synced()) << "2.9: the old state goes on until then";
  }
}

TEST_F(ClusterStateTest, TellsWhenAListHasEndedWhateverWasInIt) {
  for (ObjectSink* sink : {&state_.services(), &state_.slices(), &state_.nodes()}) {
    calls_ = 0;
    list(*sink, {});
    EXPECT_GE(calls_, 1) << "someone waits for is_synced()";
    EXPECT_EQ(told(), "");
  }
}

TEST_F(ClusterStateTest, TheEndOfAListIsToldWhenItIsSeen) {
  for (int last = 0; last < 3; ++last) {
    bool seen = false;
    const ClusterState* watched = nullptr;
    ClusterState state([&](const std::vector<ServiceName>&) { seen = watched->is_synced(); });
    watched = &state;
    const std::vector<ObjectSink*> sinks{&state.services(), &state.slices(), &state.nodes()};
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(seen);
      list(*sinks[static_cast<std::size_t>((last + 1 + i) % 3)], {});
    }
    EXPECT_TRUE(seen) << "the last call comes after the flag: " << last;
  }
}

TEST_F(ClusterStateTest, WhoNeedsServicesOfNowHasThemListedAnewOnce) {
  using Clock = std::chrono::steady_clock;
  ObjectSink& services = state_.services();
  EXPECT_FALSE(services.wants_list());
  list(services, {});
  const auto now = Clock::now();
  EXPECT_FALSE(state_.are_services_listed_since(now)) << "that list began before";
  EXPECT_TRUE(services.wants_list());
  EXPECT_FALSE(state_.slices().wants_list()) << "nobody has asked for these";
  services.begin_list();
  EXPECT_FALSE(services.wants_list());
  EXPECT_FALSE(state_.are_services_listed_since(now)) << "half a list";
  EXPECT_FALSE(services.wants_list()) << "it is under way";
  services.end_list();
  EXPECT_TRUE(state_.are_services_listed_since(now));
  EXPECT_FALSE(services.wants_list());
  EXPECT_FALSE(state_.are_services_listed_since(Clock::now()));
  services.begin_list();  // fails, and is begun again
  services.begin_list();
  services.end_list();
  EXPECT_TRUE(state_.are_services_listed_since(now));
}

TEST_F(ClusterStateTest, ServicesComeChangeAndGo) {
  list(state_.services(), {service_json("web", "1"), service_json("api", "2")});
  EXPECT_EQ(told(), "api web");
  EXPECT_EQ(state_.service_names().size(), 2U);
  state_.services().take(service_json("web", "3", "NodePort"));
  EXPECT_EQ(told(), "web");
  EXPECT_EQ(type_of("web"), "NodePort");
  state_.services().remove(service_json("web", "4", "NodePort"));
  EXPECT_EQ(told(), "web");
  EXPECT_EQ(type_of("web"), "none");
  EXPECT_EQ(type_of("api"), "ClusterIP");
  state_.services().remove(service_json("web", "4", "NodePort"));
  EXPECT_EQ(told(), "") << "it is gone already";
}

TEST_F(ClusterStateTest, AnObjectSeenTwiceInOneFormIsNoChange) {
  list(state_.services(), {service_json("web", "1")});
  told();
  state_.services().take(service_json("web", "1"));
  list(state_.services(), {service_json("web", "1")});
  EXPECT_EQ(told(), "") << "1.16: the version is the same";
}

TEST_F(ClusterStateTest, VersionsAreComparedForEqualityOnly) {
  list(state_.services(), {service_json("web", "100")});
  state_.services().take(service_json("web", "9", "NodePort"));
  EXPECT_EQ(type_of("web"), "NodePort") << "1.7: what comes later is later, whatever its version";
}

TEST_F(ClusterStateTest, ARecreatedServiceIsAnother) {
  list(state_.services(), {service_json("web", "1")});
  told();
  state_.services().remove(service_json("web", "2"));
  state_.services().take(service_json("web", "3", "NodePort", "u2"));
  EXPECT_EQ(told(), "web web") << "1.15: DELETED, ADDED with another uid";
  EXPECT_EQ(state_.view({"shop", "web"}).service->meta.uid, "u2");
  list(state_.services(), {service_json("web", "3", "LoadBalancer", "u3")});
  EXPECT_EQ(told(), "web") << "a list may show it without the deletion, and any version";
  EXPECT_EQ(type_of("web"), "LoadBalancer");
}

TEST_F(ClusterStateTest, NothingGoesBeforeTheEndOfAList) {
  list(state_.services(), {service_json("web", "1"), service_json("api", "2")});
  list(state_.slices(), {slice_json("w", "web", "10.0.0.1"), slice_json("a", "api", "10.0.0.2")});
  list(state_.nodes(), {node_json("a", "192.168.0.1"), node_json("b", "192.168.0.2")});
  told();
  for (ObjectSink* sink : {&state_.services(), &state_.slices(), &state_.nodes()}) {
    sink->begin_list();
  }
  state_.services().take(service_json("web", "1"));
  state_.slices().take(slice_json("w", "web", "10.0.0.1"));
  state_.nodes().take(node_json("a", "192.168.0.1"));
  EXPECT_EQ(type_of("api"), "ClusterIP");
  EXPECT_EQ(addresses_of("api"), "10.0.0.2");
  EXPECT_EQ(nodes(), "a=192.168.0.1 b=192.168.0.2");
  told();
  state_.slices().end_list();
  EXPECT_EQ(told(), "api") << "whose slice was not listed";
  EXPECT_EQ(addresses_of("api"), "");
  EXPECT_EQ(addresses_of("web"), "10.0.0.1");
  state_.nodes().end_list();
  EXPECT_EQ(nodes(), "a=192.168.0.1");
  told();
  state_.services().end_list();
  EXPECT_EQ(told(), "api");
  EXPECT_EQ(type_of("api"), "none");
  EXPECT_EQ(type_of("web"), "ClusterIP");
}

TEST_F(ClusterStateTest, AListThatIsBegunAgainSweepsByTheLastOneOnly) {
  list(state_.services(), {service_json("web", "1"), service_json("api", "2")});
  list(state_.nodes(), {node_json("a", "192.168.0.1"), node_json("b", "192.168.0.2")});
  state_.services().begin_list();
  state_.services().take(service_json("api", "2"));
  state_.nodes().begin_list();
  state_.nodes().take(node_json("b", "192.168.0.2"));
  // Broken off: "api" and "b" are gone by the time it is begun again.
  list(state_.services(), {service_json("web", "1")});
  list(state_.nodes(), {node_json("a", "192.168.0.1")});
  EXPECT_EQ(type_of("api"), "none");
  EXPECT_EQ(type_of("web"), "ClusterIP");
  EXPECT_EQ(nodes(), "a=192.168.0.1");
}

TEST_F(ClusterStateTest, WhatWasSeenInAWatchIsNotSweptByTheListBefore) {
  list(state_.services(), {});
  list(state_.slices(), {});
  state_.services().take(service_json("web", "1"));
  state_.slices().take(slice_json("w", "web", "10.0.0.1"));
  EXPECT_EQ(type_of("web"), "ClusterIP");
  list(state_.services(), {});
  list(state_.slices(), {});
  EXPECT_EQ(type_of("web"), "none") << "but by the next one";
  EXPECT_EQ(told(), "web web web web");
}

TEST_F(ClusterStateTest, AnUndecodableObjectKeepsItsLastGoodForm) {
  list(state_.services(), {service_json("web", "1", "NodePort")});
  list(state_.slices(), {slice_json("w", "web", "10.0.0.1")});
  list(state_.nodes(), {node_json("a", "192.168.0.1")});
  told();
  state_.services().take(bad_service_json("web"));
  state_.slices().take(bad_slice_json("w"));
  state_.nodes().take(R"({"metadata":{"name":"a"},"status":{"addresses":7}})");
  EXPECT_EQ(told(), "") << "1.31: nothing has changed that could be read";
  EXPECT_EQ(type_of("web"), "NodePort");
  EXPECT_EQ(addresses_of("web"), "10.0.0.1");
  EXPECT_EQ(nodes(), "a=192.168.0.1");
  EXPECT_EQ(state_.undecodable(), 3U);
}

TEST_F(ClusterStateTest, AnUndecodableObjectIsNotSwept) {
  list(state_.services(), {service_json("web", "1", "NodePort")});
  list(state_.slices(), {slice_json("w", "web", "10.0.0.1")});
  list(state_.nodes(), {node_json("a", "192.168.0.1")});
  told();
  list(state_.services(), {bad_service_json("web"), service_json("api", "2")});
  list(state_.slices(), {bad_slice_json("w")});
  EXPECT_EQ(told(), "api") << "1.31: it stops nothing else";
  list(state_.nodes(), {R"({"metadata":{"name":"a"},"status":[]})"});
  EXPECT_EQ(type_of("web"), "NodePort") << "it is there, whatever it says";
  EXPECT_EQ(addresses_of("web"), "10.0.0.1");
  EXPECT_EQ(nodes(), "a=192.168.0.1");
  list(state_.services(), {});
  list(state_.slices(), {});
  list(state_.nodes(), {});
  EXPECT_EQ(type_of("web"), "none") << "it goes when it is not there any more";
  EXPECT_EQ(addresses_of("web"), "");
  EXPECT_EQ(nodes(), "");
}

TEST_F(ClusterStateTest, AnObjectThatNeverCouldBeReadIsNotThere) {
  list(state_.services(), {bad_service_json("web")});
  list(state_.slices(), {bad_slice_json("w")});
  list(state_.nodes(), {R"({"metadata":{"name":"a"},"status":[]})"});
  EXPECT_EQ(told(), "");
  EXPECT_TRUE(state_.service_names().empty());
  EXPECT_EQ(nodes(), "");
  EXPECT_TRUE(state_.is_synced()) << "it does not hold up the others";
  state_.services().take("no JSON");
  state_.services().remove("no JSON");
  EXPECT_EQ(state_.undecodable(), 4U);
}

TEST_F(ClusterStateTest, AnUndecodableDeletionDeletes) {
  list(state_.services(), {service_json("web", "1")});
  list(state_.slices(), {slice_json("w", "web", "10.0.0.1")});
  told();
  state_.slices().remove(bad_slice_json("w"));
  EXPECT_EQ(addresses_of("web"), "");
  EXPECT_EQ(told(), "web");
  state_.services().remove(bad_service_json("web"));
  EXPECT_EQ(type_of("web"), "none") << "its name is all that is needed";
}

TEST_F(ClusterStateTest, OrderOfTheKindsDoesNotMatter) {
  // 1: duplicate or re-ordered resource streams end in one state.
  const auto feed = [this](int order) {
    const std::vector<std::function<void()>> steps{
        [this] { list(state_.services(), {service_json("web", "1")}); },
        [this] { list(state_.slices(), {slice_json("w", "web", "10.0.0.1")}); },
        [this] { list(state_.nodes(), {node_json("a", "192.168.0.1")}); }};
    for (int i = 0; i < 3; ++i) {
      steps[static_cast<std::size_t>((order + i) % 3)]();
    }
  };
  for (int order = 0; order < 3; ++order) {
    feed(order);
    EXPECT_TRUE(state_.is_synced());
    EXPECT_EQ(type_of("web"), "ClusterIP");
    EXPECT_EQ(addresses_of("web"), "10.0.0.1");
    EXPECT_EQ(nodes(), "a=192.168.0.1");
  }
}

}  // namespace
}  // namespace sluice::kubernetes
