// SPDX-License-Identifier: Apache-2.0
#include "controlplane/client/channel.h"

#include <gtest/gtest.h>

namespace sluice::client {
namespace {

TEST(Connect, TakesUnixSockets) {
  for (const char* server : {"unix:/run/sluice/sluice.sock", "unix:///run/x", "unix:relative"}) {
    const Connection connection = connect(server);
    EXPECT_TRUE(connection.channel) << server;
    EXPECT_TRUE(connection.fault.empty()) << connection.fault;
  }
}

TEST(Connect, SaysWhatIsWrongWithAnyOtherAddress) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "the server's address is empty; expected unix:PATH"},
      {"/run/x", "'/run/x' is no address; write unix:/run/x"},
      {"unix:", "'unix:': the path of the socket is missing"},
      {"unix://", "'unix://': the path of the socket is missing"},
      {"127.0.0.1:80",
       "'127.0.0.1:80': only Unix sockets (unix:PATH) are served; TCP comes with mutual TLS, "
       "later"},
      {"unix:/" + std::string(107, 'x'),
       "'unix:/" + std::string(107, 'x') + "': the path of a socket has at most 107 characters"},
  };
  for (const auto& [server, fault] : cases) {
    const Connection connection = connect(server);
    EXPECT_FALSE(connection.channel) << server;
    EXPECT_EQ(connection.fault, fault);
  }
}

}  // namespace
}  // namespace sluice::client
