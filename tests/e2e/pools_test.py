# SPDX-License-Identifier: Apache-2.0
"""VIPs from address pools: chosen, kept, shared, waited for, given back."""

import json

import pytest

from gateway import service
from load import url
from namespaces import Lab, wait_until
from testbed import Testbed, both_families
from topology import BACKENDS, VIP_V4

POOLS = [{"name": "lb", "addresses": ["203.0.113.40-203.0.113.41", "2001:db8:113::40/127"]},
         {"name": "reserved", "addresses": ["203.0.113.50"], "auto_assign": False}]


@pytest.fixture(scope="module")
def pooled(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        testbed.gateway.stop()
        testbed.gateway.config["address_pools"] = POOLS
        testbed.topology.start_gateway()
        yield testbed
        testbed.gateway.finish()


@pytest.fixture
def gateway(pooled):
    """A gateway with these pools and no service."""
    pooled.gateway.clear()
    return pooled.gateway


def manifest(name, port=80, annotations=None, **spec):
    made = service(name, [], [("http", "TCP", port, 80)], both_families(BACKENDS))
    del made["spec"]["loadBalancerIPs"]
    made["spec"].update(spec)
    made["metadata"]["annotations"] = annotations or {}
    return made


def external_ips(gateway, name):
    status = json.loads(gateway.ctl("get", "services", name, "-o", "json").stdout)["status"]
    return [row["ip"] for row in status.get("loadBalancer", {}).get("ingress", [])]


def fetch(pooled, vip, port=80):
    return pooled.client.run("curl", "-sf", "--max-time", "3", url(vip, port=port), check=False)


def test_a_service_without_an_address_is_reached_at_the_one_it_gets(pooled, gateway):
    gateway.apply(manifest("web", ipFamilyPolicy="PreferDualStack"))
    vips = external_ips(gateway, "web")
    assert vips == ["203.0.113.40", "2001:db8:113::40"]
    for vip in vips:
        assert fetch(pooled, vip).returncode == 0


def test_an_exhausted_pool_leaves_a_service_pending_until_another_goes(pooled, gateway):
    gateway.apply(manifest("a"), manifest("b"))
    gateway.apply(manifest("c"))
    row = gateway.ctl("get services c").stdout.splitlines()[1]
    assert "<pending>" in row and "no free IPv4 address in pool 'lb'" in row
    assert fetch(pooled, "203.0.113.41").returncode == 0
    gateway.ctl("delete service b")
    wait_until(lambda: external_ips(gateway, "c") == ["203.0.113.41"], 5, "the freed address")
    in_use = {pool["name"]: int(pool.get("inUse", 0)) for pool in gateway.get("get", "pools")["pools"]}
    assert in_use == {"lb": 2, "reserved": 0}
    assert fetch(pooled, "203.0.113.41").returncode == 0
    assert "<pending>" not in gateway.ctl("get services c").stdout


def test_what_is_shown_can_be_applied_again_and_changes_nothing(gateway):
    gateway.apply(manifest("web", ipFamilies=["IPv6"]))
    shown = gateway.ctl("get services web -o yaml").stdout
    assert "2001:db8:113::40" in shown
    assert "unchanged" in gateway.ctl("apply", "-f", "-", input=shown).stdout
    assert external_ips(gateway, "web") == ["2001:db8:113::40"]


def test_two_services_share_an_address_only_when_both_say_so(pooled, gateway):
    gateway.apply(manifest("plain", loadBalancerIPs=["203.0.113.40"]))
    refused = gateway.apply(manifest("other", 81, loadBalancerIPs=["203.0.113.40"]), check=False)
    assert refused.returncode != 0 and "default/plain" in refused.stderr
    gateway.ctl("delete service plain")
    both = {"sluice.dev/allow-shared-ip": "front"}
    gateway.apply(manifest("one", 80, both, loadBalancerIPs=["203.0.113.40"]))
    gateway.apply(manifest("two", 81, both))
    for name, port in (("one", 80), ("two", 81)):
        assert external_ips(gateway, name) == ["203.0.113.40"]
        assert fetch(pooled, "203.0.113.40", port).returncode == 0


def test_an_address_outside_the_pools_is_refused_by_field_and_disturbs_nothing(pooled, gateway):
    gateway.apply(manifest("web"))
    refused = gateway.apply(manifest("web", loadBalancerIPs=[VIP_V4]), check=False)
    assert refused.returncode != 0
    assert "spec.loadBalancerIPs[0]" in refused.stderr and "address pools" in refused.stderr
    assert fetch(pooled, external_ips(gateway, "web")[0]).returncode == 0


def test_a_pool_that_assigns_nothing_by_itself_serves_who_names_it(pooled, gateway):
    gateway.apply(manifest("named", annotations={"sluice.dev/address-pool": "reserved"}))
    assert external_ips(gateway, "named") == ["203.0.113.50"]
    assert fetch(pooled, "203.0.113.50").returncode == 0
