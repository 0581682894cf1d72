# SPDX-License-Identifier: Apache-2.0
"""announce: routes. A real BIRD beside the gateway passes the VIPs on by BGP to another one."""

import pytest

from gateway import service
from load import url
from namespaces import Lab, wait_until
from nginx import start_nginx
from topology import (BACKENDS, CLIENT_V4, CLIENT_V6, VIP_PREFIXES, VIP_V4, VIP_V6, Topology,
                      backend_v4, backend_v6)

TABLE = 5533
GATEWAY_V4, GATEWAY_V6 = "192.0.2.1", "2001:db8:2::1"
SESSION = """
protocol bgp peer{family} {{
  local {local} as {own};
  neighbor {peer} as {other};
  connect delay time 1;
  connect retry time 1;
  error wait time 1,2;
  check link no;
  ipv{family} {{ {channel} }};
}}
"""
GATEWAY = """
router id 192.0.2.1;
protocol device {{ scan time 1; }}
ipv4 table vips4;
ipv6 table vips6;
protocol kernel vip4 {{ kernel table {table}; learn; scan time 1; ipv4 {{ table vips4; import all; export none; }}; }}
protocol kernel vip6 {{ kernel table {table}; learn; scan time 1; ipv6 {{ table vips6; import all; export none; }}; }}
"""
PEER = """
router id 192.0.2.2;
protocol device { scan time 1; }
protocol kernel fib4 { ipv4 { import none; export all; }; }
protocol kernel fib6 { ipv6 { import none; export all; }; }
"""


def start_bird(namespace, directory, name, text):
    folder = directory / name
    folder.mkdir()
    config = folder / "bird.conf"
    config.write_text(text)
    return namespace.spawn("bird", "-f", "-c", config, "-s", folder / "bird.ctl", "-P", folder / "bird.pid")


class Routed:
    """The client is a router that knows no VIP but what BGP tells it."""

    def __init__(self, lab, driver):
        self.topology = Topology(lab, driver)
        self.client, self.host = self.topology.client, self.topology.gateway_host
        for prefix in VIP_PREFIXES:
            self.client.ip("route", "del", prefix, "dev", "wan")
        for number in BACKENDS:
            start_nginx(self.topology.backends[number], f"backend{number}", lab.directory)
        self.gateway = self.topology.gateway
        self.gateway.config |= {"announce": "routes", "cluster_ip_ranges": ["10.96.0.0/24"]}
        self.topology.start_gateway()
        directory = self.gateway.directory
        channels = {4: "table vips4; import none; export all; next hop self;",
                    6: "table vips6; import none; export all; next hop self;"}
        ours = {4: (GATEWAY_V4, CLIENT_V4), 6: (GATEWAY_V6, CLIENT_V6)}
        start_bird(self.host, directory, "bird-gateway", GATEWAY.format(table=TABLE) + "".join(
            SESSION.format(family=family, local=local, peer=peer, own=64512, other=64513,
                           channel=channels[family]) for family, (local, peer) in ours.items()))
        start_bird(self.client, directory, "bird-peer", PEER + "".join(
            SESSION.format(family=family, local=peer, peer=local, own=64513, other=64512,
                           channel="import all; export none;")
            for family, (local, peer) in ours.items()))

    def session(self):
        """State and beginning of the client's BGP session, as BIRD has them."""
        shown = self.client.run("birdc", "-s", self.gateway.directory / "bird-peer" / "bird.ctl",
                                "show", "protocols", "peer4").stdout
        return next(line.split()[4:] for line in shown.splitlines() if line.startswith("peer4"))

    def table(self):
        """Destinations in the gateway's own table."""
        routes = [self.host.ip(f"-{family}", "route", "show", "table", TABLE, check=False).stdout
                  for family in (4, 6)]
        return {line.split()[1] for text in routes for line in text.splitlines() if line}

    def heard(self):
        """VIPs the client's kernel has a route to, by BGP."""
        routes = [self.client.ip(f"-{family}", "route", "show", "proto", "bird", check=False).stdout
                  for family in (4, 6)]
        return {line.split()[0] for text in routes for line in text.splitlines() if "via" in line}

    def wait(self, wanted, what):
        wait_until(lambda: self.heard() == set(wanted), 20, what)


@pytest.fixture(scope="module")
def routed(driver):
    with Lab() as lab:
        made = Routed(lab, driver)
        yield made
        made.gateway.finish()


def web(ready=True, name="web", vips=(VIP_V4, VIP_V6)):
    state = {"conditions": {"ready": ready}}
    return service(name, vips, [("http", "TCP", 80, 80)],
                   [(backend_v4(1), state), (backend_v6(1), state)])


def fetch(routed, address):
    return routed.client.run("curl", "-sf", "--max-time", "2", url(address), check=False).returncode


def test_a_vip_comes_with_its_first_usable_endpoint_and_goes_with_the_last(routed):
    routed.gateway.apply(web(ready=False))
    assert routed.table() == set()
    routed.gateway.apply(web())
    wait_until(lambda: routed.table() == {VIP_V4, VIP_V6}, 5, "routes in the table")
    routed.wait({VIP_V4, VIP_V6}, "both VIPs heard by BGP")
    for address in (VIP_V4, VIP_V6):
        assert fetch(routed, address) == 0
    routed.gateway.apply(web(ready=False))
    routed.wait(set(), "both VIPs withdrawn")
    routed.gateway.apply(web())
    routed.wait({VIP_V4, VIP_V6}, "both VIPs back")


def test_cluster_addresses_are_not_announced_and_arp_is_not_answered(routed):
    routed.gateway.apply(web())
    assert all(not address.startswith("10.96.") for address in routed.table())
    routed.client.ip("route", "replace", "203.0.113.0/24", "dev", "wan")
    try:
        assert routed.client.run("ping", "-c1", "-W1", "203.0.113.99", check=False).returncode != 0
        routed.client.ip("route", "replace", f"{VIP_V4}/32", "dev", "wan")
        assert routed.client.run("ping", "-c1", "-W1", VIP_V4, check=False).returncode != 0
    finally:
        routed.client.ip("route", "del", f"{VIP_V4}/32", "dev", "wan")
        routed.client.ip("route", "del", "203.0.113.0/24", "dev", "wan")


def test_a_gateway_that_drains_withdraws_and_comes_back(routed):
    routed.gateway.apply(web())
    routed.wait({VIP_V4, VIP_V6}, "both VIPs heard")
    try:
        routed.gateway.ctl("drain", "--deadline", "60s")
        assert routed.table() == set()
        routed.wait(set(), "both VIPs withdrawn")
    finally:
        routed.gateway.ctl("undrain")
    routed.wait({VIP_V4, VIP_V6}, "both VIPs back")


def test_a_standby_announces_nothing(routed):
    routed.gateway.apply(web())
    routed.gateway.ctl("role", "standby")
    wait_until(lambda: routed.table() == set(), 5, "no route left")
    routed.gateway.ctl("role", "active")
    wait_until(lambda: routed.table() == {VIP_V4, VIP_V6}, 5, "routes back")


def test_a_clean_stop_withdraws_and_the_session_and_addresses_survive_the_restart(routed):
    routed.gateway.apply(web())
    routed.wait({VIP_V4, VIP_V6}, "both VIPs heard")
    session = routed.session()
    assert "Established" in session
    routed.host.ip("route", "add", "blackhole", "198.18.0.9/32", "table", TABLE)  # somebody else's
    routed.gateway.stop()
    assert routed.table() == {"198.18.0.9"}
    # Heard while the twin still carried it, long before the session's hold time ends.
    wait_until(lambda: not routed.heard() & {VIP_V4, VIP_V6}, 1, "the peer has heard that the VIPs are gone")
    routed.gateway.start()
    assert "192.0.2.1/24" in routed.host.ip("addr", "show", "dev", "wan0").stdout
    routed.gateway.apply(web())
    routed.host.ip("route", "del", "198.18.0.9/32", "table", TABLE)
    routed.wait({VIP_V4, VIP_V6}, "both VIPs heard again")
    assert fetch(routed, VIP_V4) == 0
    assert routed.session() == session, "the session has not begun anew"


def test_routes_that_somebody_removes_come_back_and_others_are_left_alone(routed):
    routed.gateway.apply(web())
    wait_until(lambda: routed.table() == {VIP_V4, VIP_V6}, 5, "routes in the table")
    routed.host.ip("route", "flush", "table", TABLE)
    routed.host.ip("-6", "route", "flush", "table", TABLE)
    wait_until(lambda: routed.table() == {VIP_V4, VIP_V6}, 5, "routes back")
    theirs = "203.0.113.77"
    routed.host.ip("route", "add", "unreachable", f"{theirs}/32", "table", TABLE)
    routed.gateway.apply(web(name="theirs", vips=(theirs,)))
    assert "unreachable" in routed.host.ip("route", "show", "table", TABLE).stdout
    routed.gateway.ctl("delete", "service", "theirs")
    routed.host.ip("route", "del", f"{theirs}/32", "table", TABLE)


def test_routes_left_by_a_gateway_that_was_killed_are_gone_at_its_next_start(routed):
    routed.gateway.apply(web())
    wait_until(lambda: routed.table() == {VIP_V4, VIP_V6}, 5, "routes in the table")
    routed.gateway.kill()
    assert routed.table() == {VIP_V4, VIP_V6}
    routed.gateway.start()
    assert routed.table() == set()
