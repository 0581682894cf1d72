# SPDX-License-Identifier: Apache-2.0
"""sluicectl against a running gateway: what it prints, how it refuses, its exit codes."""

import json

import pytest
import yaml

from gateway import SLUICECTL
from load import ask_udp, curl_many, url
from namespaces import run
from testbed import both_families, web
from topology import VIP_V4, VIP_V6

# Each with a word that its table has.
READS = {"get services": VIP_V4, "get services web": VIP_V6, "get backends": "10.10.0.12",
         "get backends web": "10.10.0.13", "get ports": "lan0", "get ports wan0": "net_af_",
         "get flows": VIP_V4, "get drops": "drop", "get providers": "cli", "status": "Epoch",
         f"explain --from 192.0.2.2:4000 --to {VIP_V4}:80 --protocol tcp": "web",
         f"explain --from [2001:db8:2::2]:4000 --to [{VIP_V6}]:7 --protocol udp": "web"}

MALFORMED = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  colour: blue
  loadBalancerIPs: [203.0.113.300]
  ports: [{name: http, port: 0}, {name: api, port: 81}]
  endpoints: [{addresses: [10.10.0.11]}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  type: LoadBalancer
  loadBalancerIPs: [203.0.113.40]
  ports: [{name: http, port: 80}, {name: again, port: 80}]
  endpoints: [{addresses: [10.10.0.12], weight: 4000}]
---
apiVersion: v1
kind: Service
metadata: {name: host}
spec:
  type: LoadBalancer
  loadBalancerIPs: [123, 10.10.0.1]
  ports: [{port: 80}]
"""


@pytest.mark.parametrize("command", READS)
def test_json_and_yaml_can_be_read_and_say_the_same(testbed, command):
    ask_udp(testbed.client, VIP_V4)
    as_json = json.loads(testbed.gateway.ctl(f"{command} -o json").stdout)
    as_yaml = yaml.safe_load(testbed.gateway.ctl(f"{command} -o yaml").stdout)
    assert isinstance(as_json, dict)
    assert as_json.keys() == as_yaml.keys()


@pytest.mark.parametrize("command", READS)
def test_every_table_has_something_for_people(testbed, command):
    ask_udp(testbed.client, VIP_V4)
    done = testbed.gateway.ctl(command)
    assert READS[command] in done.stdout + done.stderr


def test_a_service_that_was_printed_can_be_applied_again(testbed):
    printed = testbed.gateway.ctl("get service web -o yaml").stdout
    again = testbed.gateway.ctl("apply", "-f", "-", input=printed).stdout
    assert "unchanged" in again


def test_a_malformed_file_gets_every_fault_in_one_answer_and_changes_nothing(testbed):
    before = testbed.gateway.get("get", "services", "-A")
    done = testbed.gateway.ctl("apply", "-f", "-", input=MALFORMED, check=False)
    assert done.returncode in (1, 2)
    for path in ("spec.colour", "spec.loadBalancerIPs[0]", "spec.ports[0].port",
                 "spec.ports[1].port", "spec.endpoints[0].weight",
                 "spec.loadBalancerIPs[1]: '10.10.0.1' is an address of this host"):
        assert path in done.stderr, done.stderr
    after = testbed.gateway.get("get", "services", "-A")
    assert [entry["service"] for entry in after["services"]] == [
        entry["service"] for entry in before["services"]]
    assert sum(curl_many(testbed.client, url(VIP_V4), 10).values()) == 10


def test_a_field_that_is_not_built_yet_is_refused_by_its_path(testbed):
    manifest = web()
    manifest["spec"]["healthCheckNodePort"] = 30000
    done = testbed.gateway.apply(manifest, check=False)
    assert done.returncode == 1
    assert "spec.healthCheckNodePort" in done.stderr


def test_a_service_that_has_changed_since_it_was_read_is_not_overwritten(testbed):
    text = testbed.gateway.ctl("get service web -o yaml").stdout
    assert "resourceVersion" in text and text.startswith("apiVersion: v1\nkind: Service\n")
    changed = web()
    changed["spec"]["forwarding"] = {"noEndpoints": "refuse"}
    testbed.gateway.apply(changed)
    late = testbed.gateway.ctl("apply", "-f", "-", input=text, check=False)
    assert late.returncode == 1 and "metadata.resourceVersion" in late.stderr
    assert "refuse" in testbed.gateway.ctl("get service web -o yaml").stdout


def test_a_frontend_that_another_provider_holds_is_refused_with_its_holder(testbed):
    other = web(name="thief")
    done = testbed.gateway.apply(other, options=["--provider", "other"], check=False)
    assert done.returncode == 1
    assert "web" in done.stderr and "cli" in done.stderr


def test_a_dry_run_changes_nothing(testbed):
    before = testbed.gateway.get("get", "services")
    testbed.gateway.apply(web(numbers=[1]), options=["--dry-run"])
    assert testbed.gateway.get("get", "services")["services"][0]["service"] == \
        before["services"][0]["service"]


def test_an_expected_revision_that_is_not_the_providers_is_refused(testbed):
    done = testbed.gateway.apply(web(numbers=[1]), options=["--expected-revision", "99"],
                                 check=False)
    assert done.returncode == 1
    assert len(testbed.backend_rows()) == 6


def test_replace_sweeps_what_is_not_named_and_keeps_other_providers(testbed):
    extra = web(name="extra", vips=["203.0.113.30"])
    foreign = web(name="foreign", vips=["203.0.113.31"])
    testbed.gateway.apply(extra)
    testbed.gateway.apply(foreign, options=["--provider", "other"])
    testbed.gateway.apply(web(), options=["--replace"])
    names = {entry["service"]["metadata"]["name"]
             for entry in testbed.gateway.get("get", "services")["services"]}
    testbed.gateway.ctl("delete service foreign --provider other")
    assert names == {"web", "foreign"}


def test_the_namespace_option_chooses(testbed):
    extra = web(name="extra", vips=["203.0.113.30"])
    del extra["metadata"]["namespace"]
    testbed.gateway.apply(extra, options=["-n", "shop"])
    listed = testbed.gateway.ctl("get services -n shop -o name").stdout.split()
    assert listed == ["service/extra"]
    assert testbed.gateway.ctl("get services -o name").stdout.split() == ["service/web"]
    testbed.gateway.ctl("delete service extra -n shop")


def test_flows_of_a_deleted_service_are_still_shown(testbed):
    extra = web(name="extra", vips=["203.0.113.30"])
    testbed.gateway.apply(extra)
    ask_udp(testbed.client, "203.0.113.30")
    testbed.gateway.ctl("delete service extra")
    assert "203.0.113.30" in testbed.gateway.ctl("get flows --service extra").stdout
    assert "203.0.113.30" in testbed.gateway.ctl("get flows").stdout


def test_exit_codes_are_as_documented(testbed, tmp_path):
    code = lambda *words: testbed.gateway.ctl(*words, check=False).returncode  # noqa: E731
    assert code("status") == 0
    assert code("delete service absent") == 1
    assert code("get nonsense") == 2
    assert code(f"apply -f {tmp_path}/absent.yaml") == 2
    assert code(f"--server unix:{tmp_path}/absent.sock status") == 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell):
    assert "sluicectl" in run([SLUICECTL, "completion", shell]).stdout


def test_the_bash_completion_sources_cleanly(tmp_path):
    script = tmp_path / "completion.bash"
    script.write_text(run([SLUICECTL, "completion", "bash"]).stdout)
    done = run(["bash", "--norc", "-euc", f"source {script}; complete -p sluicectl"])
    assert "sluicectl" in done.stdout and done.stderr == ""


def test_endpoints_of_one_family_leave_the_other_family_unserved_and_say_so(testbed):
    manifest = web()
    manifest["spec"]["endpoints"] = [
        {"addresses": [address]} for address, _ in both_families([1, 2, 3]) if ":" not in address]
    testbed.gateway.apply(manifest)
    status = testbed.gateway.get("get", "service", "web")["status"]
    unserved = {front["address"] for front in status["frontends"] if not front.get("served")}
    assert unserved == {VIP_V6}
    assert all(front["reason"] for front in status["frontends"] if not front.get("served"))
