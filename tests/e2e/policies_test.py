# SPDX-License-Identifier: Apache-2.0
"""What a service's options do to real clients: source ranges, affinity, timers, MSS, draining, and
flows that an operator ends."""

import socket
import time

import pytest

from load import curl_many, url
from namespaces import wait_until
from testbed import web
from topology import CLIENT_V4, CLIENT_V6, SNAT_V4, SNAT_V6, VIP_V4, VIP_V6

FAMILIES = pytest.mark.parametrize("vip, client", [(VIP_V4, CLIENT_V4), (VIP_V6, CLIENT_V6)],
                                   ids=["ipv4", "ipv6"])
DRAINING = {"conditions": {"ready": False, "serving": True, "terminating": True}}


def with_spec(manifest, forwarding=None, **fields):
    manifest["spec"].update(fields)
    if forwarding:
        manifest["spec"]["forwarding"] = forwarding
    return manifest


def drops(gateway, reason):
    for drop in gateway.get("get", "drops")["drops"]:
        if drop["reason"] == reason:
            return int(drop.get("packets", 0))
    raise AssertionError(f"there is no reason {reason}")


def connected(namespace, vip, seconds=3):
    connection = namespace.socket(socket.SOCK_STREAM, vip)
    connection.settimeout(seconds)
    connection.connect((vip, 7))
    return connection


def answer(connection, text=b"hello"):
    connection.send(text)
    return connection.recv(2048)


def fetch(testbed, vip, seconds=3):
    """0: it is served. `seconds`: fewer where it is not to be, as what is lost comes again after one."""
    return testbed.client.run("curl", "-s", "--max-time", seconds, url(vip), check=False).returncode


@FAMILIES
def test_a_client_outside_the_source_ranges_is_dropped_and_one_inside_is_served(
        testbed, vip, client):
    other = "203.0.113.0/24" if "." in client else "2001:db8:113::/48"
    testbed.gateway.apply(with_spec(web(), loadBalancerSourceRanges=[other]))
    before = drops(testbed.gateway, "source_range")
    assert fetch(testbed, vip, 1) != 0
    assert drops(testbed.gateway, "source_range") > before
    own = " 192.0.2.0/24 " if "." in client else "2001:db8:2::/64"
    testbed.gateway.apply(with_spec(web(), loadBalancerSourceRanges=[other, own]))
    assert fetch(testbed, vip) == 0


def denied_by_devices(gateway):
    told = {request["what"] for port in gateway.get("get", "ports")["ports"]
            for request in port["requests"]}
    return "drop rules for denied sources, 3 of 3" in told  # one for each port of the service


@FAMILIES
def test_a_denied_range_ends_a_live_connection_and_lifting_it_lets_new_ones_in(
        testbed, vip, client):
    with connected(testbed.client, vip, seconds=1) as live:
        assert answer(live)
        testbed.gateway.apply(with_spec(web(), forwarding={"denySourceRanges": [
            f"{client}/{32 if '.' in client else 128}"]}))
        with pytest.raises(OSError):
            answer(live)
    # What a device drops by a rule reaches no counter of ours.
    assert drops(testbed.gateway, "source_denied") > 0 or denied_by_devices(testbed.gateway)
    testbed.gateway.apply(web())
    assert fetch(testbed, vip) == 0


def test_ten_thousand_source_ranges_are_one_apply(testbed):
    ranges = [f"10.{i // 256}.{i % 256}.0/24" for i in range(9_999)] + ["192.0.2.0/24"]
    testbed.gateway.apply(with_spec(web(), loadBalancerSourceRanges=ranges))
    assert fetch(testbed, VIP_V4) == 0
    assert fetch(testbed, VIP_V6, 1) != 0, "a family without a range, while the other has one"


@FAMILIES
def test_affinity_sends_all_connections_of_a_client_to_one_backend(testbed, vip, client):
    assert len(curl_many(testbed.client, url(vip), 60)) == 3
    affine = {"sessionAffinity": "ClientIP",
              "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}
    testbed.gateway.apply(with_spec(web(), **affine))
    served = curl_many(testbed.client, url(vip), 60)
    assert len(served) == 1
    name = next(iter(served))
    number = int(name.removeprefix("backend"))
    told = testbed.gateway.ctl(f"explain {'[' + client + ']' if ':' in client else client}:9 "
                               f"{'[' + vip + ']' if ':' in vip else vip}:80").stdout
    assert "affinity" in told
    # Others come and go: it stays. Its own backend drains: it moves, and stays there.
    others = [n for n in (1, 2, 3) if n != number]
    testbed.gateway.apply(with_spec(web(numbers=[number, others[0]]), **affine))
    assert set(curl_many(testbed.client, url(vip), 30)) == {name}
    testbed.gateway.apply(with_spec(web(fields={number: DRAINING}), **affine))
    moved = set(curl_many(testbed.client, url(vip), 30))
    assert len(moved) == 1 and name not in moved
    testbed.gateway.apply(with_spec(web(), **affine))
    assert set(curl_many(testbed.client, url(vip), 30)) == moved
    testbed.gateway.apply(web())
    assert len(curl_many(testbed.client, url(vip), 60)) == 3


def flows(testbed, *filters):
    return testbed.gateway.get("flows", "list", *filters).get("flows", [])


@FAMILIES
def test_a_udp_flow_ends_after_the_timer_of_its_service(testbed, vip, client):
    testbed.gateway.apply(with_spec(web(), forwarding={"timers": {"udp": "2s"}}))
    with testbed.client.socket(socket.SOCK_DGRAM, vip) as client_socket:
        client_socket.settimeout(3)
        client_socket.connect((vip, 7))
        for _ in range(3):
            assert answer(client_socket)
            time.sleep(1)
        assert answer(client_socket)
        mine = f"--client {client} --state udp".split()
        assert len(flows(testbed, *mine)) == 1
        wait_until(lambda: not flows(testbed, *mine), 5, "the flow's end")


@FAMILIES
def test_the_mss_of_both_sides_is_clamped(testbed, vip, client):
    testbed.gateway.apply(with_spec(web(), forwarding={"mssClamp": 1000}))
    with connected(testbed.client, vip) as live:
        assert answer(live)
        announced = live.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        assert announced <= 1000, "what the backend's SYN+ACK said"
        assert len(answer(live, b"x" * 900)) > 900


@FAMILIES
def test_flows_delete_breaks_the_live_flows_of_its_filter_and_no_others(testbed, vip, client):
    with connected(testbed.client, vip, seconds=1) as live:
        first = answer(live).split(b" ")[0].decode()
        others = [row["backend"] for row in flows(testbed, "--state", "established")
                  if row["client"].endswith(f":{live.getsockname()[1]}")]
        assert len(others) == 1
        unrelated = "192.0.2.250" if "." in client else "2001:db8:2::250"
        done = testbed.gateway.ctl(f"flows delete --client {unrelated}")
        assert done.stdout == "0 flows deleted\n"
        assert answer(live).split(b" ")[0].decode() == first
        done = testbed.gateway.get("flows", "delete", "--client", client, "--service", "web",
                                   "--state", "established")
        assert int(done["deleted"]) >= 1
        with pytest.raises(OSError):
            answer(live)
    assert fetch(testbed, vip) == 0


def test_flows_delete_wants_a_filter_or_all(testbed):
    assert testbed.gateway.ctl("flows delete", check=False).returncode == 2
    assert testbed.gateway.ctl("flows delete --all --service web", check=False).returncode == 2
    with connected(testbed.client, VIP_V4, seconds=1) as live:
        assert answer(live)
        assert int(testbed.gateway.get("flows", "delete", "--all")["deleted"]) >= 1
        with pytest.raises(OSError):
            answer(live)
    assert not flows(testbed)


@FAMILIES
def test_a_draining_backends_flows_end_at_the_deadline_and_not_before(testbed, vip, client):
    deadline = {"drainDeadline": "3s"}
    testbed.gateway.apply(with_spec(web(numbers=[1]), forwarding=deadline))
    with connected(testbed.client, vip, seconds=1) as live:
        assert answer(live).startswith(b"backend1 ")
        testbed.gateway.apply(with_spec(web(fields={1: DRAINING}), forwarding=deadline))
        time.sleep(1.5)
        assert answer(live).startswith(b"backend1 ")
        time.sleep(3.5)
        with pytest.raises(OSError):
            answer(live)


def reset_by(connection, seconds=5):
    """Whether the peer says that the connection is over, instead of saying nothing."""
    try:
        connection.settimeout(seconds)
        return answer(connection) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True
    except TimeoutError:
        return False


@FAMILIES
def test_a_tcp_client_is_reset_when_its_backend_is_removed_and_the_service_says_so(
        testbed, vip, client):
    reset = {"onEndpointRemoval": "reset"}
    testbed.gateway.apply(with_spec(web(numbers=[1]), forwarding=reset))
    with connected(testbed.client, vip) as live, connected(testbed.client, vip) as alone:
        assert answer(live).startswith(b"backend1 ") and answer(alone).startswith(b"backend1 ")
        before = drops(testbed.gateway, "endpoint_gone")
        testbed.gateway.apply(with_spec(web(numbers=[2]), forwarding=reset))
        assert reset_by(live)
        testbed.gateway.apply(with_spec(web(numbers=[]), forwarding=reset))
        assert reset_by(alone), "also when nobody serves"
        assert drops(testbed.gateway, "endpoint_gone") >= before + 2


@FAMILIES
def test_a_tcp_client_is_reset_when_its_flow_is_deleted_or_drained(testbed, vip, client):
    deadline = {"drainDeadline": "1s"}
    testbed.gateway.apply(with_spec(web(numbers=[1]), forwarding=deadline))
    with connected(testbed.client, vip) as live:
        assert answer(live)
        testbed.gateway.ctl("flows delete --all")
        assert reset_by(live)
    with connected(testbed.client, vip) as live:
        assert answer(live)
        testbed.gateway.apply(with_spec(web(fields={1: DRAINING}), forwarding=deadline))
        time.sleep(4)  # endpoints are looked at once a second
        assert reset_by(live)


@FAMILIES
def test_a_udp_client_that_never_stops_is_served_as_soon_as_there_is_a_backend(
        testbed, vip, client):
    testbed.gateway.apply(web(numbers=[]))
    with testbed.client.socket(socket.SOCK_DGRAM, vip) as client_socket:
        client_socket.settimeout(0.1)
        client_socket.connect((vip, 7))

        def served():
            try:
                return answer(client_socket)
            except OSError:
                return None

        assert not any(served() for _ in range(5))
        testbed.gateway.apply(web(numbers=[2]))
        assert wait_until(served, 3, "an answer").startswith(b"backend2 ")
        testbed.gateway.apply(web(numbers=[3]))
        assert wait_until(lambda: (served() or b"").startswith(b"backend3 "), 3, "a move")


def test_options_are_printed_back_as_they_can_be_applied_again(testbed):
    asked = with_spec(
        web(), forwarding={"timers": {"udp": "90s", "tcpEstablished": "1h"}, "mssClamp": 1400,
                           "drainDeadline": "30s", "denySourceRanges": ["198.51.100.0/24"]},
        loadBalancerSourceRanges=["192.0.2.0/24"], sessionAffinity="ClientIP")
    testbed.gateway.apply(asked)
    text = testbed.gateway.ctl("get service web -o yaml").stdout
    again = testbed.gateway.ctl("apply", "-f", "-", input=text).stdout
    assert "service/web unchanged" in again
    for said in ("udp: 1m30s", "tcpEstablished: 1h", "mssClamp: 1400", "timeoutSeconds: 10800"):
        assert said in text


def test_two_services_share_a_backend_and_only_the_one_that_drops_it_leaves_it(testbed):
    second = "203.0.113.11"
    testbed.gateway.apply(web(numbers=[1]), web(numbers=[1], name="second", vips=[second]))
    with connected(testbed.client, VIP_V4) as one, connected(testbed.client, second) as two:
        assert answer(one).startswith(b"backend1 ") and answer(two).startswith(b"backend1 ")
        testbed.gateway.apply(web(numbers=[2], name="second", vips=[second]))
        assert set(curl_many(testbed.client, url(second), 10)) == {"backend2"}
        assert set(curl_many(testbed.client, url(VIP_V4), 10)) == {"backend1"}
        assert answer(one).startswith(b"backend1 ") and answer(two).startswith(b"backend1 ")
        testbed.gateway.ctl("delete service second")
        assert answer(one).startswith(b"backend1 ")


@FAMILIES
def test_a_backend_reaches_itself_through_the_vip_and_sees_the_gateway(testbed, vip, client):
    snat, gateway = ((SNAT_V4, "10.10.0.1") if "." in client else (SNAT_V6, "2001:db8:10::1"))
    testbed.gateway.apply(web(numbers=[1]))
    backend = testbed.backends[1]
    backend.ip("route", "replace", vip, "via", gateway)
    try:
        with connected(backend, vip) as live:
            assert answer(live).split(b" ")[:2] == [b"backend1", snat.encode()]
    finally:
        backend.ip("route", "del", vip)


@FAMILIES
def test_a_tcp_flow_outlives_the_removal_of_its_backend_and_its_coming_back(testbed, vip, client):
    testbed.gateway.apply(web(numbers=[1]))
    with connected(testbed.client, vip) as live:
        assert answer(live)
        for numbers in ([2], [], [1, 2], [2], [1]):
            testbed.gateway.apply(web(numbers=numbers))
            assert answer(live).startswith(b"backend1 "), numbers
        assert set(curl_many(testbed.client, url(vip), 10)) == {"backend1"}
