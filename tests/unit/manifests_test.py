# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes: rendered by kubectl, the one that is here and 1.20; what comes out is held to Kubernetes' own
models, applied to the test API server where it knows the kind, and its configurations are checked by the programs that read them.
And what its pages have people do: commands that make files are run, those for a cluster are held to what there is in it."""

import base64
import functools
import json
import os
import pathlib
import re
import shutil
import ssl
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
    "appliance": ["ClusterRole", "ClusterRoleBinding", "Namespace", "Role", "RoleBinding", "Secret", "ServiceAccount"],
    "external-gateways": ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Namespace", "NetworkPolicy",
                          "PodDisruptionBudget", "Role", "RoleBinding", "ServiceAccount"],
    "edge-nodes": ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "ConfigMap", "DaemonSet", "Namespace", "Role", "RoleBinding",
                   "ServiceAccount"],
}
IN_THE_CLUSTER = [overlay for overlay in KINDS if {"Deployment", "DaemonSet"} & set(KINDS[overlay])]
CLUSTER_WIDE = ("Namespace", "ClusterRole", "ClusterRoleBinding")
SYSTEMD = ROOT / "deploy" / "systemd"
GATEWAY_EXAMPLE = ROOT / "deploy" / "examples" / "sluiced-two-arm.yaml"
ADAPTER_EXAMPLE = ROOT / "deploy" / "examples" / "sluice-k8s.yaml"
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


def space_of(overlay):
    return of_kind(overlay, "Namespace")[0]["metadata"]["name"]


def workload(overlay):
    return next(thing for thing in render(overlay) if thing["kind"] in ("Deployment", "DaemonSet"))


def pod(overlay):
    return workload(overlay)["spec"]["template"]["spec"]


def container(overlay, name):
    return next(each for each in pod(overlay)["containers"] if each["name"] == name)


def settings(overlay, name):
    """{file: text} of the ConfigMap that kustomize has given this name and a hash."""
    found = [thing for thing in of_kind(overlay, "ConfigMap") if re.fullmatch(name + "-[a-z0-9]{10}", thing["metadata"]["name"])]
    assert len(found) == 1
    return found[0]["data"]


def adapter_of(overlay):
    return yaml.safe_load(settings(overlay, "sluice-k8s")["sluice-k8s.yaml"])


def without_hashes(things):
    """In any order; the hash of a ConfigMap's content is another one for each generation of kustomize."""
    names = "|".join(thing["metadata"]["name"] for thing in things if thing["kind"] == "ConfigMap")
    return sorted(re.sub(names, lambda name: name[0][:-11], json.dumps(thing, sort_keys=True)) for thing in things)


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def page_of(overlay):
    return (MANIFESTS / "overlays" / overlay / "README.md").read_text()


def commands(page, word):
    """The one block of a page's commands that this word is in."""
    found = [block for block in re.findall(r"^```\n(.*?)^```", page, re.M | re.S) if word in block]
    assert len(found) == 1, f"{word} is in {len(found)} blocks"
    return found[0]


def installed(page):
    """{target: (group, mode)} of every `install` of a page."""
    found = {}
    for line in re.findall(r"^install (.*)$", page, re.M):
        words = line.split()
        options = dict(zip(words[::2], words[1::2])) if words[0] != "-d" else dict(zip(words[1::2], words[2::2]))
        found[words[-1]] = (options.get("-g", "root"), int(options["-m"], 8))
    return found


def host_of(gateway):
    return gateway.rpartition(":")[0]


def port_of(gateway):
    return int(gateway.rpartition(":")[2])


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


@pytest.mark.parametrize("choice", kubectl.choices())
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_applied_before_what_it_needs(overlay, choice):
    kinds = [thing["kind"] for thing in render(overlay, choice)]
    assert kinds[0] == "Namespace"
    later = {"Secret", "Deployment", "DaemonSet"} & set(kinds)
    assert all(kinds.index("ServiceAccount") < kinds.index(kind) for kind in later)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rights_are_those_of_roles_that_are_there_and_of_the_account(overlay):
    space = space_of(overlay)
    assert {thing["metadata"]["namespace"] for thing in render(overlay) if thing["kind"] not in CLUSTER_WIDE} == {space}
    account = of_kind(overlay, "ServiceAccount")[0]["metadata"]
    for kind in ("ClusterRole", "Role"):
        roles = {role["metadata"]["name"] for role in of_kind(overlay, kind)}
        bindings = of_kind(overlay, kind + "Binding")
        for binding in bindings:
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}]
        bound = [binding["roleRef"] for binding in bindings]
        assert {(role["apiGroup"], role["kind"]) for role in bound} == {("rbac.authorization.k8s.io", kind)}
        assert {role["name"] for role in bound} == roles, "each is there, and each is bound"


@pytest.mark.parametrize("overlay", IN_THE_CLUSTER)
def test_names_in_the_manifests_are_of_things_that_are_there(overlay):
    maps = {thing["metadata"]["name"] for thing in of_kind(overlay, "ConfigMap")}
    for volume in pod(overlay)["volumes"]:
        if "configMap" in volume:
            assert volume["configMap"]["name"] in maps
    volumes = {volume["name"] for volume in pod(overlay)["volumes"]}
    for container in pod(overlay)["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert pod(overlay)["serviceAccountName"] == of_kind(overlay, "ServiceAccount")[0]["metadata"]["name"]
    assert adapter_of(overlay)["lease_namespace"] == space_of(overlay)
    labels = workload(overlay)["spec"]["template"]["metadata"]["labels"]
    selectors = [policy["spec"]["podSelector"] for policy in of_kind(overlay, "NetworkPolicy")]
    selectors += [budget["spec"]["selector"] for budget in of_kind(overlay, "PodDisruptionBudget")]
    selectors += [each["labelSelector"] for each in pod(overlay).get("topologySpreadConstraints", [])]
    selectors.append(workload(overlay)["spec"]["selector"])
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("overlay", IN_THE_CLUSTER)
def test_the_adapter_accepts_its_settings_and_has_its_files(overlay, authority, tmp_path):
    config = adapter_of(overlay)
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
    sluiced = container("edge-nodes", "sluiced")
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
    command = container("edge-nodes", "sluiced")["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:3] == ["sluicectl", "drain", "--deadline"]
    assert int(command[3].removesuffix("s")) + 10 <= pod("edge-nodes")["terminationGracePeriodSeconds"]


def test_an_update_waits_until_the_adapter_has_filled_the_gateway():
    command = container("edge-nodes", "sluiced")["readinessProbe"]["exec"]["command"]
    assert command[:2] == ["sluicectl", "status"]
    assert command[command.index("--provider") + 1] == adapter_of("edge-nodes")["provider"]
    seconds = int(command[command.index("--timeout") + 1].removesuffix("s"))
    assert 2 * seconds < container("edge-nodes", "sluiced")["readinessProbe"]["timeoutSeconds"], "it makes two calls"
    assert "--provider" not in container("edge-nodes", "sluiced")["startupProbe"]["exec"]["command"], "that would restart it"
    assert workload("edge-nodes")["spec"]["minReadySeconds"] > 0
    assert workload("edge-nodes")["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1}


def test_who_cannot_ask_the_other_gateways_gives_them_time():
    assert len(node_configs()) > len(adapter_of("edge-nodes")["gateways"])
    assert int(adapter_of("edge-nodes")["release_delay"].removesuffix("s")) >= 10
    assert "release_delay" not in adapter_of("external-gateways"), "it asks them all"


def test_the_adapter_is_let_out_to_whom_it_speaks_and_nobody_in():
    policy = of_kind("external-gateways", "NetworkPolicy")[0]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"] and "ingress" not in policy
    assert all(rule.get("ports") for rule in policy["egress"]), "one without ports is for all of them"
    out = {(port["protocol"], port["port"], port.get("endPort", port["port"])) for rule in policy["egress"] for port in rule["ports"]}
    config = adapter_of("external-gateways")
    kube_proxy = int(re.search(r"kKubeProxyHealthPort = (\d+)", (ROOT / "controlplane/kubernetes/node_health.h").read_text())[1])
    wanted = {("TCP", port_of(gateway), port_of(gateway)) for gateway in config["gateways"]}
    wanted |= {("TCP", 443, 443), ("TCP", 6443, 6443)}
    if any(re.search("[a-z]", host_of(gateway)) for gateway in config["gateways"]):
        wanted |= {("UDP", 53, 53), ("TCP", 53, 53)}
    if config.get("node_health_interval") != "0s":
        wanted |= {("TCP", kube_proxy, kube_proxy), ("TCP", 30000, 32767)}
    assert out == wanted


def test_one_adapter_stays_while_nodes_are_emptied():
    spec = workload("external-gateways")["spec"]
    budget = of_kind("external-gateways", "PodDisruptionBudget")[0]
    assert budget["apiVersion"] == "policy/v1"
    assert budget["spec"]["selector"] == spec["selector"], "of all its pods"
    assert budget["spec"]["minAvailable"] == 1 < spec["replicas"]
    assert [each["topologyKey"] for each in pod("external-gateways")["topologySpreadConstraints"]] == ["kubernetes.io/hostname"]


@pytest.mark.parametrize("overlay", IN_THE_CLUSTER)
def test_the_pages_have_the_doctor_run_where_both_programs_are(overlay):
    kind = {"Deployment": "deploy", "DaemonSet": "ds"}[workload(overlay)["kind"]]
    adapter = container(overlay, "sluice-k8s")
    config = adapter["args"][adapter["args"].index("--config") + 1]
    assert str(pathlib.Path(config).parent) in [mount["mountPath"] for mount in adapter["volumeMounts"]]
    command = (f"kubectl -n {space_of(overlay)} exec {kind}/{workload(overlay)['metadata']['name']} -c {adapter['name']} -- "
               f"sluicectl doctor --kubernetes --config {config}")
    for page in (page_of(overlay), (MANIFESTS / "README.md").read_text()):
        assert re.search(rf"^{re.escape(command)}(\s|$)", page, re.M), command
    image = re.search(r"^FROM \S+ AS sluice-k8s\n(.*?)(?=^FROM)", (ROOT / "deploy/container/Containerfile").read_text(), re.M | re.S)[1]
    assert re.search(r"^COPY --from=build (/out/sluice-k8s /out/sluicectl) /usr/local/bin/$", image, re.M)


def test_the_appliance_has_a_token_of_the_account():
    token = of_kind("appliance", "Secret")[0]
    account = of_kind("appliance", "ServiceAccount")[0]["metadata"]
    assert token["type"] == "kubernetes.io/service-account-token"
    assert token["metadata"]["annotations"] == {"kubernetes.io/service-account.name": account["name"]}
    assert token["metadata"]["namespace"] == account["namespace"] == space_of("appliance")
    assert not {"data", "stringData"} & token.keys(), "the cluster fills it in"


def test_the_kubeconfig_that_the_page_makes_is_one_for_the_adapter(authority, tmp_path):
    token = of_kind("appliance", "Secret")[0]["metadata"]
    certificate = base64.b64encode(pathlib.Path(authority[1]).read_bytes()).decode()
    said = {"config view --minify -o jsonpath={.clusters[0].cluster.server}": "https://192.0.2.10:6443"}
    for key, value in (("ca\\.crt", certificate), ("token", base64.b64encode(b"the-token").decode())):
        said[f"-n {token['namespace']} get secret {token['name']} -o jsonpath={{.data.{key}}}"] = value
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *(f"'{asked}') printf %s '{answer}' ;;" for asked, answer in said.items()),
                                  "*) exit 1 ;;", "esac"]))
    program.chmod(0o755)
    subprocess.run(["sh", "-euc", commands(page_of("appliance"), "cat >kubeconfig")], cwd=tmp_path, check=True,
                   env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"})
    made = tmp_path / "kubeconfig"
    config = yaml.safe_load(made.read_text())
    assert made.stat().st_mode & 0o77 == 0
    assert config["clusters"][0]["cluster"] == {"server": "https://192.0.2.10:6443", "certificate-authority-data": certificate}
    assert config["users"][0]["user"] == {"token": "the-token"}
    assert config["contexts"][0]["context"]["namespace"] == space_of("appliance")
    adapter = yaml.safe_load(ADAPTER_EXAMPLE.read_text())
    file = tmp_path / "sluice-k8s.yaml"
    file.write_text(yaml.safe_dump(adapter | {"kubeconfig": str(made)}))
    subprocess.run([BUILD / "kubernetes" / "sluice-k8s", "--config", file, "--check"], check=True)
    assert adapter["lease_namespace"] == space_of("appliance")


def test_the_unit_may_read_what_the_page_installs_for_it():
    unit = (SYSTEMD / "sluice-k8s.service").read_text()
    group = re.search(r"^SupplementaryGroups=(\S+)$", unit, re.M)[1]
    assert re.search(rf"^g {group} -$", (SYSTEMD / "sluice.conf").read_text(), re.M)
    there = installed(page_of("appliance"))
    config = re.search(r"^ExecStart=\S+ --config (\S+)$", unit, re.M)[1]
    example = ADAPTER_EXAMPLE.read_text()
    named = yaml.safe_load(re.sub(r"^#(?=tls:|  (?:certificate_authority|client_\w+):)", "", example, flags=re.M))
    secret = {named["kubeconfig"], named["tls"]["client_key"]}
    for file in {config, *named["tls"].values()} | secret:
        assert there[file] == ((group, 0o640) if file in secret else ("root", 0o644)), file
        assert there[str(pathlib.Path(file).parent)] == ("root", 0o755)


def test_the_certificates_that_the_page_makes_are_good_for_their_gateways_and_the_adapter(tmp_path):
    page = page_of("external-gateways")
    subprocess.run(["sh", "-euc", commands(page, "openssl req -x509")], cwd=tmp_path, check=True, capture_output=True)

    def verify(purpose, name, *words):
        subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", "-purpose", purpose, *words, f"{name}.crt"],
                       cwd=tmp_path, check=True, capture_output=True)
        ssl.create_default_context().load_cert_chain(tmp_path / f"{name}.crt", tmp_path / f"{name}.key")
        assert (tmp_path / f"{name}.key").stat().st_mode & 0o77 == 0

    config = adapter_of("external-gateways")
    for gateway in config["gateways"]:
        verify("sslserver", host_of(gateway), "-verify_hostname", host_of(gateway))
    verify("sslclient", "client")
    created = re.search(r"^kubectl -n (\S+) create secret generic (\S+) (.*) --dry-run=client", page, re.M)
    volume = next(volume for volume in pod("external-gateways")["volumes"] if "secret" in volume)
    assert created.groups()[:2] == (space_of("external-gateways"), volume["secret"]["secretName"])
    files = dict(re.findall(r"--from-file=(\S+)=(\S+)", created[3]))
    assert files.keys() == {pathlib.Path(file).name for file in config["tls"].values()}
    assert files == {"ca.crt": "ca.crt", "tls.crt": "client.crt", "tls.key": "client.key"}


def test_the_example_of_a_gateway_shows_the_side_of_it_that_adapters_speak_to(tmp_path):
    text = GATEWAY_EXAMPLE.read_text()
    with_tcp = re.sub(r"^  #(?=tcp:|  )", "  ", text, flags=re.M)
    tcp = yaml.safe_load(with_tcp)["api"]["tcp"]
    assert "tcp" not in yaml.safe_load(text)["api"]
    assert tcp.keys() == {"listen", "certificate", "key", "client_authority"}
    assert {port_of(tcp["listen"])} == {port_of(gateway) for gateway in adapter_of("external-gateways")["gateways"]}
    there = installed(page_of("external-gateways"))
    assert there[tcp["key"]] == ("root", 0o600)
    assert there[tcp["certificate"]] == there[tcp["client_authority"]] == ("root", 0o644)
    for name, example in (("without", text), ("with", with_tcp)):
        file = tmp_path / f"{name}.yaml"
        file.write_text(example)
        subprocess.run([BUILD / "sluiced", "--config", file, "--check"], check=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("unit", sorted(path.name for path in SYSTEMD.glob("*.service")))
def test_systemd_understands_every_line_of_a_unit(unit, tmp_path):
    """With programs that are there, as it asks for them too."""
    file = tmp_path / unit
    file.write_text(re.sub(r"/usr/local/s?bin/[a-z0-9-]+", "/bin/true", (SYSTEMD / unit).read_text()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if unit in line]
    if done.returncode != 0 and not complaints:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr[-500:]}")
    assert complaints == []


@pytest.mark.parametrize("overlay", IN_THE_CLUSTER)
def test_the_adapter_runs_without_any_right_on_its_node(overlay):
    adapter = container(overlay, "sluice-k8s")
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
