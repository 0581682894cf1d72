# SPDX-License-Identifier: Apache-2.0
"""What needs a host with NICs of its own (tests/support/guest.py)."""

import pytest

import gateway
from guest import MANAGEMENT, NICS, Guest
from namespaces import Lab
from paths import ROOT

HOST_SETUP = ROOT / "deploy" / "host-setup"

pytestmark = pytest.mark.skipif(gateway.NIC != gateway.VIRTIO, reason="make guest has it")


@pytest.fixture(scope="module")
def host():
    with Lab() as lab:
        yield Guest(lab.namespace("host"), lab)


def driver_of(host, nic):
    return host.run("readlink", "-f", f"/sys/bus/pci/devices/{nic}/driver").stdout.strip().split("/")[-1]


@pytest.mark.parametrize("family, gateway_address", [("-4", "10.0.2.2"), ("-6", "fe80::2")])
def test_the_nic_that_carries_the_hosts_default_route_is_not_taken_away(host, family, gateway_address):
    assert driver_of(host, MANAGEMENT) == "virtio-pci"
    host.ip(family, "route", "add", "default", "via", gateway_address, "dev", "eth0")
    try:
        refused = host.run(HOST_SETUP, MANAGEMENT, check=False)
        assert (refused.returncode, refused.stderr) == (
            1, f"host-setup: {MANAGEMENT}: eth0 carries the default route of this host\n")
        assert driver_of(host, MANAGEMENT) == "virtio-pci"
    finally:
        host.ip(family, "route", "del", "default")


def test_nics_are_bound_to_vfio_and_given_back(host):
    assert {driver_of(host, nic) for nic in NICS.values()} == {"vfio-pci"}
    assert "on vfio-pci already" in host.run(HOST_SETUP, *NICS.values()).stdout
    host.run(HOST_SETUP, "--undo")
    assert {driver_of(host, nic) for nic in NICS.values()} == {"virtio-pci"}
    assert "nothing to undo" in host.run(HOST_SETUP, "--undo").stdout
