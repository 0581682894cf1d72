# SPDX-License-Identifier: Apache-2.0
"""A gateway that announces nothing and serves node ports at no VIP, as its configuration says."""

import pytest

from gateway import service
from load import url
from namespaces import Lab
from testbed import Testbed, both_families
from topology import BACKENDS

VIPS = ("203.0.113.95", "2001:db8:113::95")


@pytest.fixture(scope="module")
def silent(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        testbed.gateway.finish()
        testbed.gateway.config |= {"announce": "none", "node_ports_on_vips": False}
        testbed.topology.start_gateway()
        made = service("web", VIPS, [("http", "TCP", 9000, 80)], both_families(BACKENDS))
        made["spec"]["ports"][0]["nodePort"] = 30000
        testbed.gateway.apply(made)
        yield testbed
        testbed.gateway.finish()


def fetch(silent, address, port=9000):
    return silent.client.run("curl", "-sf", "--max-time", "2", url(address, port=port), check=False).returncode


@pytest.mark.parametrize("vip, router", [(VIPS[0], "192.0.2.1"), (VIPS[1], "2001:db8:2::1")])
def test_a_vip_is_not_answered_for_and_served_to_who_routes_it_here(silent, vip, router):
    assert fetch(silent, vip) != 0, "nobody says where it is"
    family = "-6" if ":" in vip else "-4"
    silent.client.ip(family, "route", "add", vip, "via", router)
    assert fetch(silent, vip) == 0
    assert fetch(silent, vip, 30000) == 7, "no node port on VIPs: refused"
    silent.client.ip(family, "route", "del", vip, "via", router)
