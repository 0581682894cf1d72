# SPDX-License-Identifier: Apache-2.0
"""ICMP through the gateway and from it, judged by the kernel's stacks at both ends."""

import contextlib
import errno
import re
import socket
import subprocess
import sys
import time

import pytest

from gateway import service
from load import ask_udp, bracketed, url
from namespaces import Lab, run, wait_until
from nginx import start_nginx
from testbed import ECHO_TCP, ECHO_UDP, HTTP, start_echo
from topology import CLIENT_V4, CLIENT_V6, VIP_V4, VIP_V6, Topology

FAMILIES = pytest.mark.parametrize("vip", [VIP_V4, VIP_V6], ids=["ipv4", "ipv6"])
FAR = {VIP_V4: "10.20.0.2", VIP_V6: "2001:db8:20::2"}
NARROW_MTU = 1300

# Values of <linux/in.h> and <linux/in6.h> that the socket module does not have.
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_MTU = 23, 24


class FarTestbed:
    """The testbed's network, and behind a router on the backends' side one more backend, over a
    link whose MTU only the router knows to be small.

        gateway lan0 -- fabric -- 10.10.0.50 router 10.20.0.1 --(MTU 1300)-- 10.20.0.2 far
    """

    def __init__(self, lab, driver):
        self.topology = Topology(lab, driver)
        self.client = self.topology.client
        self.router = lab.namespace("router")
        self.far = lab.namespace("far")
        lab.cable(self.topology.fabric, "router", self.router, "eth0")
        self.topology.fabric.ip("link", "set", "router", "master", "switch")
        lab.cable(self.router, "eth1", self.far, "eth0")
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
        # Errors at once, however many tests ask for them.
        self.router.sysctl("net.ipv4.icmp_ratelimit", 0)
        self.router.sysctl("net.ipv6.icmp.ratelimit", 0)
        for device, addresses in (("eth0", ("10.10.0.50/24", "2001:db8:10::50/64")),
                                  ("eth1", ("10.20.0.1/24", "2001:db8:20::1/64"))):
            for address in addresses:
                self.router.add_address(device, address)
        for vip, length in ((VIP_V4, 24), (VIP_V6, 64)):
            self.far.add_address("eth0", f"{FAR[vip]}/{length}")
        self.far.ip("route", "add", "default", "via", "10.20.0.1")
        self.far.ip("-6", "route", "add", "default", "via", "2001:db8:20::1")
        self.router.ip("link", "set", "eth1", "mtu", NARROW_MTU)
        start_nginx(self.far, "far", lab.directory)
        start_echo(self.far, "far")
        self.gateway = self.topology.start_gateway()
        host = self.topology.gateway_host
        host.ip("route", "add", "10.20.0.0/24", "via", "10.10.0.50", "dev", "lan0")
        host.ip("-6", "route", "add", "2001:db8:20::/64", "via", "2001:db8:10::50", "dev", "lan0")
        self.gateway.apply(service("far", (VIP_V4, VIP_V6), [HTTP, ECHO_TCP, ECHO_UDP],
                                   list(FAR.values())))
        for vip in FAR:
            wait_until(lambda v=vip: self.answers(v), 10, f"{vip} reaches the far backend")

    def answers(self, vip):
        with contextlib.suppress(OSError):
            return ask_udp(self.client, vip, seconds=0.5)[0] == "far"
        return False

    def forget_path_mtus(self):
        for family in ("-4", "-6"):
            self.client.ip(family, "route", "flush", "cache")


@pytest.fixture(scope="module")
def far(driver):
    with Lab() as lab:
        testbed = FarTestbed(lab, driver)
        yield testbed
        testbed.gateway.finish()


# ---- errors about flows

@FAMILIES
@pytest.mark.parametrize("how", [["-U", "-p", "7"], ["-T", "-p", "80"]], ids=["udp", "tcp"])
def test_traceroute_shows_the_gateway_the_router_behind_it_and_the_backend(far, vip, how):
    done = far.client.run("traceroute", "-n", "-q", "1", "-w", "3", "-m", "5", *how, vip)
    hops = re.findall(r"^\s*(\d+)\s+(\S+)", done.stdout, re.MULTILINE)
    # Each hop speaks as the VIP: the gateway itself, the router, the backend.
    assert hops == [("1", vip), ("2", vip), ("3", vip)], done.stdout


@FAMILIES
def test_tcp_finds_the_path_mtu_behind_the_gateway(far, vip, tmp_path):
    far.forget_path_mtus()
    body = tmp_path / "body"
    body.write_bytes(b"x" * 40_000)
    done = far.client.run("curl", "-sS", "--globoff", "--max-time", "10", "-o", "/dev/null",
                          "-w", "%{http_code} %{size_upload}", "-X", "POST", "-H", "Expect:",
                          "--data-binary", f"@{body}", url(vip))
    assert done.stdout.split()[1] == "40000"
    cached = far.client.ip("route", "get", vip).stdout
    assert f"mtu {NARROW_MTU}" in cached


@FAMILIES
def test_a_udp_client_that_must_not_fragment_learns_the_path_mtu(far, vip):
    far.forget_path_mtus()
    six = ":" in vip
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    with far.client.socket(socket.SOCK_DGRAM, vip) as client:
        client.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        client.settimeout(3)
        client.connect((vip, 7))
        client.send(b"x" * 1400)
        with pytest.raises(OSError) as told:
            for _ in range(30):
                time.sleep(0.1)
                client.send(b"x" * 1400)
        assert told.value.errno == errno.EMSGSIZE
        assert client.getsockopt(level, IPV6_MTU if six else IP_MTU) == NARROW_MTU
        time.sleep(0.3)
        client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # of the datagrams sent meanwhile
        client.send(b"x" * 1200)
        assert client.recv(2048).startswith(b"far ")


@FAMILIES
def test_a_backend_that_closed_its_udp_port_refuses_through_the_gateway(far, vip):
    far.gateway.apply(service("closed", (VIP_V4, VIP_V6), [("closed", "UDP", 1000, 1000)],
                              list(FAR.values())))
    with far.client.socket(socket.SOCK_DGRAM, vip) as client:
        client.settimeout(3)
        client.connect((vip, 1000))
        client.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
    far.gateway.ctl("delete service closed")


@FAMILIES
def test_an_error_from_the_clients_side_reaches_the_backend(far, vip):
    """A client whose socket is gone answers with port unreachable; the backend's connected socket
    hears of it."""
    family = "AF_INET6" if ":" in vip else "AF_INET"
    listener = (
        "import socket,sys,time\n"
        f"s=socket.socket(socket.{family},socket.SOCK_DGRAM)\n"
        f"s.bind(({FAR[vip]!r},2000)); print('up',flush=True)\n"
        "t,p=s.recvfrom(100); s.connect(p[:2]); s.settimeout(5); time.sleep(0.3)\n"
        "s.send(b'late')\n"
        "try:\n  s.recv(100); print('data')\n"
        "except ConnectionRefusedError: print('refused')\n"
        "except TimeoutError: print('silence')\n")
    far.gateway.apply(service("late", (VIP_V4, VIP_V6), [("late", "UDP", 2000, 2000)],
                              list(FAR.values())))
    process = far.far.spawn(sys.executable, "-c", listener, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    with far.client.socket(socket.SOCK_DGRAM, vip) as client:
        client.connect((vip, 2000))
        client.send(b"bye")
    assert process.communicate(timeout=20)[0] == "refused\n"
    far.gateway.ctl("delete service late")


# ---- what the gateway says itself

@pytest.fixture(scope="module")
def narrow(driver):
    """A gateway whose own port to the backends has the small MTU."""
    with Lab() as lab:
        topology = Topology(lab, driver)
        topology.gateway.config["ports"][1]["mtu"] = NARROW_MTU
        for number, backend in topology.backends.items():
            start_nginx(backend, f"backend{number}", lab.directory)
        topology.start_gateway()
        topology.gateway.apply(service("web", (VIP_V4, VIP_V6), [HTTP],
                                       ["10.10.0.11", "2001:db8:10::11"]))
        yield topology
        topology.gateway.finish()


@FAMILIES
def test_the_gateway_tells_the_mtu_of_its_own_link(narrow, vip, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 40_000)
    done = narrow.client.run("curl", "-sS", "--globoff", "--max-time", "10", "-o", "/dev/null",
                             "-w", "%{size_upload}", "-X", "POST", "-H", "Expect:",
                             "--data-binary", f"@{body}", url(vip))
    assert done.stdout == "40000"
    assert f"mtu {NARROW_MTU}" in narrow.client.ip("route", "get", vip).stdout


def refusing(vips=(VIP_V4, VIP_V6)):
    made = service("empty", vips, [("tcp", "TCP", 90, 90), ("udp", "UDP", 90, 90)], [])
    made["spec"]["forwarding"] = {"noEndpoints": "refuse"}
    return made


def refused_in(namespace, kind, vip, port):
    """Seconds until a client hears that it is refused."""
    begun = time.monotonic()
    with namespace.socket(kind, vip) as client:
        client.settimeout(3)
        with pytest.raises(ConnectionRefusedError):
            client.connect((vip, port))
            client.send(b"hello")
            client.recv(100)
    return time.monotonic() - begun


@FAMILIES
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_service_that_refuses_says_so_at_once(testbed, vip, kind):
    testbed.gateway.apply(refusing())
    assert refused_in(testbed.client, kind, vip, 90) < 1
    rows = {drop["reason"]: drop for drop in testbed.gateway.get("get", "drops")["drops"]}
    assert int(rows["no_backend"]["answered"]) >= 1
    source = CLIENT_V6 if ":" in vip else CLIENT_V4
    told = testbed.gateway.get("explain", "--from", f"{bracketed(source)}:4000",
                               "--to", f"{bracketed(vip)}:90", "--protocol", "tcp")
    assert told["dropReason"] == "no_backend"
    testbed.gateway.ctl("delete service empty")


@FAMILIES
def test_curl_to_a_refusing_service_ends_with_connection_refused(testbed, vip):
    testbed.gateway.apply(refusing())
    done = run(testbed.client.argv("curl", "-sS", "--globoff", "--max-time", "5", url(vip, 90)),
               check=False)
    assert done.returncode == 7, done.stderr
    testbed.gateway.ctl("delete service empty")


@FAMILIES
def test_a_service_that_does_not_refuse_is_silent(testbed, vip):
    silent = refusing()
    silent["spec"]["forwarding"]["noEndpoints"] = "drop"
    testbed.gateway.apply(silent)
    with testbed.client.socket(socket.SOCK_STREAM, vip) as client:
        client.settimeout(0.7)
        with pytest.raises(TimeoutError):
            client.connect((vip, 90))
    testbed.gateway.ctl("delete service empty")


@FAMILIES
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_port_that_nobody_serves_is_refused(testbed, vip, kind):
    assert refused_in(testbed.client, kind, vip, 4242) < 1


@FAMILIES
def test_a_connection_the_gateway_forgot_is_reset(testbed, vip):
    with testbed.client.socket(socket.SOCK_STREAM, vip) as client:
        client.settimeout(5)
        client.connect((vip, 7))
        client.send(b"hello")
        client.recv(100)
        testbed.gateway.finish()
        testbed.topology.start_gateway()
        testbed.gateway.apply(refusing(), service("web", (VIP_V4, VIP_V6), [ECHO_TCP],
                                                  ["10.10.0.11", "2001:db8:10::11"]))
        with pytest.raises(ConnectionResetError):
            client.send(b"still there?")
            client.recv(100)
    testbed.gateway.ctl("delete service empty")
