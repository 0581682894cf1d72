# SPDX-License-Identifier: Apache-2.0
"""How sluice-k8s gets in at an API server: by which context, as whom, whom it believes; and what of it is
replaced while it runs."""

import base64
import json
import os
import shlex
import time

import pytest
import yaml

from cluster import Adapter, tls
from kubernetes_lab import adapter, await_ingress, cluster, gateway, network, serve  # noqa: F401
from namespaces import wait_until
from topology import VIP_V4

from h2 import Http2Front

NEXT_VIP = "203.0.113.11"
VERSION = "client.authentication.k8s.io/v1"


def get_in(cluster):
    serve(cluster)
    await_ingress(cluster, "web", [VIP_V4])


def get_in_again(cluster):
    """Its connections are gone."""
    cluster.restart()
    serve(cluster, "later")
    await_ingress(cluster, "later", [NEXT_VIP], seconds=30)


def put(target, source):
    fresh = target.with_suffix(".fresh")
    fresh.write_bytes(source.read_bytes())
    os.replace(fresh, target)


def plugin(folder, *command):
    """A user whose credentials are what a command prints."""
    script = folder / "plugin"
    script.write_text("#!/bin/sh\n" + shlex.join(map(str, command)) + "\n")
    script.chmod(0o755)
    return {"exec": {"apiVersion": VERSION, "command": str(script), "interactiveMode": "Never"}}


def credential(**status):
    return json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})


def encoded(file):
    return base64.b64encode(file.read_bytes()).decode()


@pytest.fixture
def authority(cluster, tmp_path):
    """Whose clients the API server takes for who their certificates say."""
    made = tls.Authority(tmp_path, "clients")
    cluster.ssl = tls.server_context(cluster.folder / "server.crt", cluster.folder / "server.key",
                                     clients=made.certificate)
    cluster.grants["operator"] = None
    return made


def test_a_token_that_is_replaced_is_used_at_the_next_request(cluster, tmp_path, gateway):
    token = tmp_path / "token"
    token.write_text("admin")
    with Adapter(tmp_path, [gateway], cluster.kubeconfig(tokenFile=str(token))):
        get_in(cluster)
        cluster.tokens["next"] = cluster.tokens.pop("admin")
        (tmp_path / "token.new").write_text("next")
        os.replace(tmp_path / "token.new", token)
        get_in_again(cluster)


def test_a_plugin_is_asked_again_when_its_token_is_not_good_any_more(cluster, tmp_path, gateway):
    said = tmp_path / "said"
    said.write_text(credential(token="admin"))
    with Adapter(tmp_path, [gateway], cluster.kubeconfig(**plugin(tmp_path, "cat", said))):
        get_in(cluster)
        cluster.tokens["next"] = cluster.tokens.pop("admin")
        said.write_text(credential(token="next"))
        get_in_again(cluster)


def in_files(_, certificate, key):
    return {"client-certificate": str(certificate), "client-key": str(key)}


def embedded(_, certificate, key):
    return {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}


def by_plugin(folder, certificate, key):
    said = folder / "said"
    said.write_text(credential(clientCertificateData=certificate.read_text(), clientKeyData=key.read_text()))
    return plugin(folder, "cat", said)


@pytest.mark.parametrize("user_of", [in_files, embedded, by_plugin])
def test_a_client_certificate_says_who_it_is(cluster, authority, tmp_path, gateway, user_of):
    user = user_of(tmp_path, *authority.issue("operator", names=None))
    with Adapter(tmp_path, [gateway], cluster.kubeconfig(**user)):
        get_in(cluster)


def test_a_client_certificate_without_rights_gets_no_further(cluster, authority, tmp_path, gateway):
    user = in_files(tmp_path, *authority.issue("stranger", names=None))
    with Adapter(tmp_path, [gateway], cluster.kubeconfig(**user)) as stranger:
        wait_until(lambda: 'User "stranger"' in stranger.log(), 10, "the log saying whom the server refuses")


def test_a_client_certificate_that_is_replaced_is_used_at_the_next_connection(
        cluster, authority, tmp_path, gateway):
    files = (tmp_path / "client.crt", tmp_path / "client.key")
    for file, source in zip(files, authority.issue("operator", names=None)):
        put(file, source)
    with Adapter(tmp_path, [gateway], cluster.kubeconfig(**in_files(tmp_path, *files))):
        get_in(cluster)
        for file, source in zip(files, authority.issue("next", names=None)):
            put(file, source)
        cluster.grants["next"] = cluster.grants.pop("operator")
        get_in_again(cluster)


def test_a_new_authority_is_believed_without_a_restart(cluster, adapter, tmp_path):
    get_in(cluster)
    following = tls.Authority(tmp_path, "next")
    cluster.ssl = tls.server_context(*following.issue("kubernetes"))
    os.replace(following.certificate, cluster.authority)
    get_in_again(cluster)


def test_everything_goes_over_http_2_too(cluster, gateway, tmp_path):
    authority = tls.Authority(tmp_path)
    with Http2Front(cluster, *authority.issue("front"), tmp_path) as front:
        kubeconfig = cluster.kubeconfig(server=front.url, authority=authority.certificate)
        with Adapter(tmp_path, [gateway], kubeconfig):
            get_in(cluster)
            serve(cluster, "later")
            await_ingress(cluster, "later", [NEXT_VIP])
        assert front.protocols() == {"HTTP/2.0"}


def test_a_connection_of_http_2_that_has_gone_silent_is_given_up(cluster, gateway, tmp_path):
    authority = tls.Authority(tmp_path)

    def renewed():
        return [lease["spec"]["renewTime"] for lease in cluster.all("coordination.k8s.io")]
    with Http2Front(cluster, *authority.issue("front"), tmp_path) as front:
        kubeconfig = cluster.kubeconfig(server=front.url, authority=authority.certificate)
        with Adapter(tmp_path, [gateway], kubeconfig):
            get_in(cluster)
            front.freeze()
            time.sleep(1)  # what had come through
            before = renewed()
            wait_until(lambda: renewed() != before, 20, "the Lease being renewed by another connection")


def test_a_server_with_a_path_is_reached_by_the_name_in_its_certificate(cluster, gateway, tmp_path):
    authority = tls.Authority(tmp_path)
    prefix = "/k8s/clusters/c-1"
    with Http2Front(cluster, *authority.issue("front", "DNS:api.invalid"), tmp_path, prefix=prefix) as front:
        kubeconfig = cluster.kubeconfig(server=front.url + prefix, authority=authority.certificate)
        made = yaml.safe_load(kubeconfig.read_text())
        made["clusters"][0]["cluster"]["tls-server-name"] = "api.invalid"
        kubeconfig.write_text(yaml.safe_dump(made))
        with Adapter(tmp_path, [gateway], kubeconfig):
            get_in(cluster)


def test_the_context_that_is_named_counts_and_not_the_current_one(cluster, tmp_path, gateway):
    kubeconfig = cluster.kubeconfig()
    made = yaml.safe_load(kubeconfig.read_text())
    made["contexts"].append({"name": "nowhere", "context": {"cluster": "nowhere", "user": "adapter"}})
    made["clusters"].append({"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}})
    made["current-context"] = "nowhere"
    kubeconfig.write_text(yaml.safe_dump(made))
    with Adapter(tmp_path, [gateway], kubeconfig, context="test"):
        get_in(cluster)


@pytest.mark.parametrize(("level", "expected"), [("debug", {"debug", "info"}), ("info", {"info"}), ("error", set())])
def test_the_log_has_what_its_level_says(cluster, tmp_path, gateway, level, expected):
    with Adapter(tmp_path, [gateway], cluster.kubeconfig(), log={"level": level}) as made:
        get_in(cluster)
        lines = made.log().splitlines()
    assert {line.split()[1] for line in lines} & {"debug", "info"} == expected
