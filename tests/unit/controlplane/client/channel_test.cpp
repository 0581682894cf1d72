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
      {"", "the server's address is empty; expected unix:PATH or HOST:PORT"},
      {"/run/x", "'/run/x' is no address; write unix:/run/x"},
      {"unix:", "'unix:': the path of the socket is missing"},
      {"unix://", "'unix://': the path of the socket is missing"},
      {"gateway", "'gateway' is no address; write unix:PATH or HOST:PORT"},
      {":5533", "':5533' is no address; write unix:PATH or HOST:PORT"},
      {"gateway:http", "'gateway:http' is no address; write unix:PATH or HOST:PORT"},
      {"127.0.0.1:80", "'127.0.0.1:80': over TCP a certificate authority is needed; name its file"},
      {"unix:/" + std::string(107, 'x'),
       "'unix:/" + std::string(107, 'x') + "': the path of a socket has at most 107 characters"},
  };
  for (const auto& [server, fault] : cases) {
    const Connection connection = connect(server);
    EXPECT_FALSE(connection.channel) << server;
    EXPECT_EQ(connection.fault, fault);
  }
}

TEST(Connect, OverTcpNeedsAllThreeFilesAndNamesTheOneThatIsMissing) {
  const std::string there = "/proc/self/status";
  const std::string fault = "'gw:5533': ";
  EXPECT_EQ(connect("gw:5533", {there, "", there}).fault,
            fault + "over TCP a client certificate is needed; name its file");
  EXPECT_EQ(connect("gw:5533", {there, there, ""}).fault,
            fault + "over TCP a client key is needed; name its file");
  EXPECT_EQ(connect("gw:5533", {there, there, "/nowhere"}).fault,
            fault + "the client key /nowhere cannot be read");
}

}  // namespace
}  // namespace sluice::client
