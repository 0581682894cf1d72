# SPDX-License-Identifier: Apache-2.0
"""What cannot start says why: one sentence that names the setting, exit code 1."""

import pathlib
import socket

import pytest

from gateway import SLUICED, Gateway, base_config, device
from namespaces import run
from topology import SNAT_V4, Topology


def ports_of(config):
    return config["ports"][0]


def set_top(**values):
    return lambda config: config.update(values)


def set_dataplane(**values):
    return lambda config: config["dataplane"].update(values)


def set_port(**values):
    return lambda config: ports_of(config).update(values)


def set_snat(**values):
    return lambda config: config["snat"][0].update(values)


# (what is wrong, the change to a good configuration, the setting that must be named)
FAULTS = [
    ("no such interface", set_port(device="net_af_packet0,iface=absent"), "ports[0].device"),
    ("no such vdev", set_port(device="net_absent0"), "ports[0].device"),
    ("no such NIC", set_port(device="0000:99:00.0"), "ports[0].device"),
    ("no device", set_port(device=""), "ports[0].device"),
    ("interface with an address", set_port(device="net_af_packet0,iface=taken"),
     "ports[0].device"),
    ("twin name too long", set_port(name="a-name-of-sixteen"), "ports[0].name"),
    ("twin name of another interface", set_port(name="wan"), "ports[0].name"),
    ("MTU too small", set_port(mtu=576), "ports[0].mtu"),
    ("no such twin kind", set_port(twin="macvtap"), "ports[0].twin"),
    ("transit nonsense", set_port(transit="maybe"), "ports[0].transit"),
    ("prefix nonsense", set_port(announce_on=["203.0.113.0/33"]), "ports[0].announceOn[0]"),
    ("no ports", set_top(ports=[]), "ports"),
    ("no SNAT address", set_top(snat=[]), "snat"),
    ("SNAT nonsense", set_snat(address="10.0.0"), "snat[0].address"),
    ("SNAT not dedicated", set_snat(address="10.9.9.9"), "snat[0]"),
    ("SNAT ports reversed", set_snat(port_range="2000-1000"), "snat[0].portRange"),
    ("no hugepages", set_dataplane(no_hugepages=False, memory="64GiB"), "dataplane.memory"),
    ("memory nonsense", set_dataplane(memory="much"), "dataplane.memory"),
    ("CPU that is not there", set_dataplane(lcores=[120]), "dataplane.lcores[0]"),
    ("sleep too long", set_dataplane(idle_sleep="5s"), "dataplane.idleSleep"),
    ("idle wait nonsense", set_dataplane(idle_wait="doze"), "dataplane.idleWait"),
    ("idle wait that never comes", set_dataplane(idle_sleep="0s"), "dataplane.idleWait"),
    ("socket of another kind", set_top(api={"listen": "tcp:127.0.0.1:80"}), "api.listen"),
    ("socket where no directory can be", set_top(api={"listen": "unix:/dev/null/sluice.sock"}),
     "api.listen"),
    ("socket without a path", set_top(api={"listen": "unix:"}), "api.listen"),
    ("log level nonsense", set_top(log={"level": "loud"}), "log.level"),
    ("unknown field", set_dataplane(hugepages=4), "dataplane.hugepages"),
    ("unknown top field", set_top(colour="blue"), "colour"),
    ("wrong type", set_dataplane(flows_ipv4="many"), "dataplane.flowsIpv4"),
]


if "waitpkg" not in pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii"):
    FAULTS += [
        ("pause without TPAUSE", set_dataplane(idle_wait="pause"), "dataplane.idle_wait"),
        ("monitor without UMWAIT", set_dataplane(idle_wait="monitor"), "dataplane.idle_wait"),
    ]


def snake_case(setting):
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in setting)


@pytest.fixture(scope="module")
def host():
    """One namespace with a free interface (wan) and one that has an address (taken)."""
    from namespaces import Lab
    with Lab() as lab:
        gateway, peer = lab.namespace("gateway"), lab.namespace("peer")
        lab.cable(gateway, "wan", peer, "wan")
        lab.cable(gateway, "taken", peer, "taken")
        gateway.add_address("taken", "198.51.100.1/24")
        gateway.add_address("lo", "10.9.9.9/32")
        yield gateway, lab


def good_config():
    return base_config([("wan0", device("af_packet", 0, "wan"), [])], [SNAT_V4])


def refused(namespace, gateway):
    """The one sentence with which sluiced refuses to start."""
    done = run(namespace.argv(SLUICED, "--config", gateway.write_config()), check=False, timeout=30)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert done.returncode == 1, f"exit {done.returncode}: {lines}"
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("change, setting", [fault[1:] for fault in FAULTS],
                         ids=[fault[0] for fault in FAULTS])
def test_one_sentence_names_the_setting(host, tmp_path, change, setting):
    namespace, _ = host
    config = good_config()
    change(config)
    sentence = refused(namespace, Gateway(namespace, tmp_path, config))
    assert setting in sentence or snake_case(setting) in sentence
    links = namespace.ip("-br", "link").stdout
    tables = namespace.run("nft", "list", "tables").stdout
    assert "sluice" not in tables, "a refused start left its nftables table"
    assert "wan" in links


@pytest.mark.parametrize("text, said", [("ports: [", "YAML"), ("just words", "")],
                         ids=["broken YAML", "no mapping"])
def test_a_file_that_is_no_configuration_is_refused(host, tmp_path, text, said):
    namespace, _ = host
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    done = namespace.run(SLUICED, "--config", path, check=False)
    assert done.returncode == 1
    assert said in done.stderr and str(path) in done.stderr


def test_a_missing_file_is_refused_by_name(host):
    namespace, _ = host
    done = namespace.run(SLUICED, "--config", "/absent/sluiced.yaml", check=False)
    assert done.returncode == 1
    assert "/absent/sluiced.yaml" in done.stderr


def test_check_accepts_a_good_file_and_starts_nothing(host, tmp_path):
    namespace, _ = host
    gateway = Gateway(namespace, tmp_path, good_config())
    namespace.run(SLUICED, "--config", gateway.write_config(), "--check")
    assert not gateway.socket.exists()
    assert "wan0" not in namespace.ip("-br", "link").stdout


def test_a_second_instance_is_refused_and_the_first_goes_on(lab, driver):
    topology = Topology(lab, driver)
    first = topology.start_gateway()
    sentence = refused(topology.gateway_host, topology.make_gateway())
    assert "api.listen" in sentence or "already" in sentence
    assert first.process.poll() is None
    first.ctl("status")
    first.stop()


def test_a_second_instance_with_its_own_socket_does_not_take_the_ports(lab, driver, tmp_path):
    topology = Topology(lab, driver)
    first = topology.start_gateway()
    config = topology.config()
    second = Gateway(topology.gateway_host, tmp_path, config)
    assert "ports[0]" in refused(topology.gateway_host, second)
    first.ctl("status")
    first.stop()


def test_a_snat_address_that_a_twin_has_is_refused(lab, driver):
    topology = Topology(lab, driver)
    topology.start_gateway().stop()
    # The twins persist, with the addresses they were given.
    topology.gateway.config["snat"][0]["address"] = "10.10.0.1"
    assert "snat[0]" in refused(topology.gateway_host, topology.gateway)


def test_a_stale_socket_of_a_killed_gateway_is_taken_over(lab, driver):
    topology = Topology(lab, driver)
    first = topology.start_gateway()
    first.kill()
    assert first.socket.exists()
    topology.start_gateway().stop()


def test_a_socket_that_somebody_else_serves_is_left_alone(host, tmp_path):
    namespace, _ = host
    gateway = Gateway(namespace, tmp_path, good_config())
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(gateway.socket))
        other.listen()
        assert "api.listen" in refused(namespace, gateway)
        assert gateway.socket.exists()
