# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes: rendered by kubectl, the one that is here and 1.20; what comes out is held to Kubernetes' own
models, applied to the test API server where it knows the kind, and its configurations are checked by the programs that read them."""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml
from kubernetes import client

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "kubernetes"))

import kubectl  # noqa: E402
import tls  # noqa: E402
from apiserver import ApiServer  # noqa: E402
from resources import RESOURCES  # noqa: E402

BUILD = ROOT / "build" / "release" / "controlplane"
MANIFESTS = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
EXAMPLES = sorted(MANIFESTS.glob("examples/*.yaml"))
PAGES = sorted(MANIFESTS.glob("**/*.md"))
KINDS = {
    "external-gateways": ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Namespace", "NetworkPolicy", "Role",
                          "RoleBinding", "ServiceAccount"],
    "edge-nodes": ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "ConfigMap", "DaemonSet", "Namespace", "Role", "RoleBinding",
                   "ServiceAccount"],
}
NO_SETTINGS_OF_OURS = {"cilium_host", "rp_filter"}
KNOWN_TO_THE_SERVER = {resource.kind for resource in RESOURCES}
MIB = 1 << 20


def kubectl_of(choice):
    try:
        return kubectl.find(choice)
    except kubectl.Unavailable as why:
        pytest.skip(str(why))


@functools.lru_cache
def render(overlay, choice="here"):
    done = subprocess.run([kubectl_of(choice), "kustomize", MANIFESTS / "overlays" / overlay], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay, kind):
    return [thing for thing in render(overlay) if thing["kind"] == kind]


def workload(overlay):
    return next(thing for thing in render(overlay) if thing["kind"] in ("Deployment", "DaemonSet"))


def pod(overlay):
    return workload(overlay)["spec"]["template"]["spec"]


def settings(overlay, name):
    """{file: text} of the ConfigMap that kustomize has given this name and a hash."""
    found = [thing for thing in of_kind(overlay, "ConfigMap") if re.fullmatch(name + "-[a-z0-9]{10}", thing["metadata"]["name"])]
    assert len(found) == 1
    return found[0]["data"]


def without_hashes(things):
    """In any order; the hash of a ConfigMap's content is another one for each generation of kustomize."""
    names = "|".join(thing["metadata"]["name"] for thing in things if thing["kind"] == "ConfigMap")
    return sorted(re.sub(names, lambda name: name[0][:-11], json.dumps(thing, sort_keys=True)) for thing in things)


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


class Body:
    """What the client library takes for an answer."""

    def __init__(self, thing):
        self.data = json.dumps(thing)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return tls.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(authority):
    with ApiServer(ssl=authority[0]) as made:
        yield made


@pytest.fixture(scope="module", params=kubectl.choices())
def apply(request, server, authority, tmp_path_factory):
    program = kubectl_of(request.param)
    home = tmp_path_factory.mktemp("home")

    def run(things):
        done = subprocess.run(
            [program, "--server", server.url, "--token", "admin", "--certificate-authority", authority[1], "apply",
             "--validate=false", "-f", "-"], input=yaml.safe_dump_all(things), capture_output=True, text=True, timeout=60,
            env=os.environ | {"HOME": str(home)}, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
    return run


def test_each_way_to_run_it_is_looked_at():
    assert sorted(KINDS) == OVERLAYS


@pytest.mark.parametrize("choice", kubectl.choices())
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_kubectl_renders_the_same(overlay, choice):
    assert sorted(thing["kind"] for thing in render(overlay, choice)) == KINDS[overlay]
    assert without_hashes(render(overlay, choice)) == without_hashes(render(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_field_is_one_of_kubernetes(overlay):
    api = client.ApiClient()
    for thing in render(overlay):
        assert api.sanitize_for_serialization(api.deserialize(Body(thing), "V1" + thing["kind"])) == thing


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_every_field_of_an_example_is_one_of_kubernetes(path):
    api = client.ApiClient()
    for thing in documents(path):
        assert api.sanitize_for_serialization(api.deserialize(Body(thing), "V1" + thing["kind"])) == thing


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_server_knows_can_be_applied_and_again(overlay, apply):
    things = [thing for thing in render(overlay) if thing["kind"] in KNOWN_TO_THE_SERVER]
    assert {thing["kind"] for thing in things} >= {"Namespace", "ServiceAccount"}
    apply(things)
    assert apply(things).count("unchanged") == len(things)


def test_every_example_can_be_applied_together(apply):
    things = [thing for path in EXAMPLES for thing in documents(path)]
    apply(things)
    assert apply(things).count("unchanged") == len(things)


def test_there_is_an_example_of_every_type():
    services = [thing for path in EXAMPLES for thing in documents(path) if thing["kind"] == "Service"]
    assert {service["spec"]["type"] for service in services} == {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}
    assert any("externalIPs" in service["spec"] for service in services)
    for service in services:
        if service["spec"]["type"] == "LoadBalancer":
            assert service["spec"]["loadBalancerClass"] == "sluice.dev/gateway"
    names = [service["metadata"]["name"] for service in services]
    assert len(set(names)) == len(names), "they are applied together"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_in_the_manifests_are_of_things_that_are_there(overlay):
    maps = {thing["metadata"]["name"] for thing in of_kind(overlay, "ConfigMap")}
    for volume in pod(overlay)["volumes"]:
        if "configMap" in volume:
            assert volume["configMap"]["name"] in maps
    volumes = {volume["name"] for volume in pod(overlay)["volumes"]}
    for container in pod(overlay)["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    account = of_kind(overlay, "ServiceAccount")[0]["metadata"]
    assert pod(overlay)["serviceAccountName"] == account["name"]
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in of_kind(overlay, kind):
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}]
    space = of_kind(overlay, "Namespace")[0]["metadata"]["name"]
    assert {thing["metadata"]["namespace"] for thing in render(overlay)
            if thing["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding")} == {space}
    adapter = yaml.safe_load(settings(overlay, "sluice-k8s")["sluice-k8s.yaml"])
    assert adapter["lease_namespace"] == space
    for policy in of_kind(overlay, "NetworkPolicy"):
        wanted = policy["spec"]["podSelector"]["matchLabels"].items()
        assert wanted <= workload(overlay)["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_adapter_accepts_its_settings_and_has_its_files(overlay, authority, tmp_path):
    config = yaml.safe_load(settings(overlay, "sluice-k8s")["sluice-k8s.yaml"])
    mounts = [mount["mountPath"] for container in pod(overlay)["containers"] if container["name"] == "sluice-k8s"
              for mount in container["volumeMounts"]]
    for gateway in config["gateways"]:
        assert not gateway.startswith("unix:") or str(pathlib.Path(gateway.removeprefix("unix:")).parent) in mounts
    for key, file in config.get("tls", {}).items():
        assert str(pathlib.Path(file).parent) in mounts
        config["tls"][key] = str(authority[1])
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [
            {"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}], "users": [{"name": "u", "user": {}}]}))
    file = tmp_path / "sluice-k8s.yaml"
    file.write_text(yaml.safe_dump(config | {"kubeconfig": str(kubeconfig)}))
    subprocess.run([BUILD / "kubernetes" / "sluice-k8s", "--config", file, "--check"], check=True)


def node_configs():
    return {name.removesuffix(".yaml"): yaml.safe_load(text) for name, text in settings("edge-nodes", "sluiced").items()}


@pytest.mark.parametrize("node", sorted(node_configs()))
def test_the_gateway_accepts_the_settings_of_each_node(node, tmp_path):
    file = tmp_path / "sluiced.yaml"
    file.write_text(settings("edge-nodes", "sluiced")[f"{node}.yaml"])
    subprocess.run([BUILD / "sluiced", "--config", file, "--check"], check=True)


def test_edge_nodes_have_what_their_gateways_take():
    sluiced = next(container for container in pod("edge-nodes")["containers"] if container["name"] == "sluiced")
    limits, requests = sluiced["resources"]["limits"], sluiced["resources"]["requests"]
    assert sluiced["args"] == ["--config", "/etc/sluice/$(NODE_NAME).yaml"]
    assert requests["hugepages-2Mi"] == limits["hugepages-2Mi"], "Kubernetes knows no other"
    for config in node_configs().values():
        memory = {"1GiB": 1024 * MIB, "512MiB": 512 * MIB}[config["dataplane"]["memory"]]
        assert int(limits["hugepages-2Mi"].removesuffix("Mi")) * MIB == memory + 64 * MIB
        assert int(requests["cpu"]) > len(config["dataplane"]["lcores"]), "its threads need one that no lcore polls on"


def test_gateways_of_one_cluster_share_pools_and_no_snat_address():
    configs = list(node_configs().values())
    assert len(configs) > 1
    assert len({json.dumps(config["address_pools"]) for config in configs}) == 1
    snat = [entry["address"] for config in configs for entry in config["snat"]]
    assert len(set(snat)) == len(snat)
    assert {config["announce"] for config in configs} == {"routes"}, "all have the same VIPs at once"


def test_a_gateway_has_time_to_drain():
    sluiced = next(container for container in pod("edge-nodes")["containers"] if container["name"] == "sluiced")
    command = sluiced["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:3] == ["sluicectl", "drain", "--deadline"]
    assert int(command[3].removesuffix("s")) + 10 <= pod("edge-nodes")["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_adapter_runs_without_any_right_on_its_node(overlay):
    adapter = next(container for container in pod(overlay)["containers"] if container["name"] == "sluice-k8s")
    context = pod(overlay).get("securityContext", {}) | adapter["securityContext"]
    assert context["runAsNonRoot"] and context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]} and context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(MANIFESTS)) for page in PAGES])
def test_pages_name_settings_that_exist_and_files_that_are_there(page):
    text = page.read_text()
    sources = "".join(path.read_text() for path in (ROOT / "controlplane").rglob("*.cpp")) + "".join(
        path.read_text() for path in (ROOT / "controlplane").rglob("*.h"))
    for annotation in set(re.findall(r"sluice\.dev/[a-z-]+", text)):
        assert f'"{annotation}"' in sources or f'{annotation}"' in sources, annotation
    schema = "".join(path.read_text() for path in (ROOT / "proto/sluice/v1").glob("*.proto"))
    for setting in set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?::[^`]*)?`", text)) - NO_SETTINGS_OF_OURS:
        assert re.search(rf"\b{setting}\b", schema), f"{setting} is no setting"
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
