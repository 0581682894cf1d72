# SPDX-License-Identifier: Apache-2.0
"""Certificates change while the server runs (KUBERNETES.md 1.23)."""

import socket
import ssl

import pytest

import tls
from apiserver import ApiServer
from client import Client

SERVICES = "/api/v1/services"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """Two, and a certificate of each for the server."""
    folder = tmp_path_factory.mktemp("authorities")
    made = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        authority = tls.Authority(folder / name, name)
        authority.server = tls.server_context(*authority.issue("kubernetes"))
        made.append(authority)
    return made


@pytest.fixture
def server(authorities):
    with ApiServer(ssl=authorities[0].server) as made:
        yield made


def trusting(server, authority, token="admin", certificate=()):
    return Client(server, token, tls.client_context(authority.certificate, *certificate))


def test_23_a_new_authority_is_for_new_connections_and_old_ones_stay(server, authorities):
    first, second = authorities
    stream = trusting(server, first).watch(f"{SERVICES}?watch=true&resourceVersion={server.store.version}")
    server.ssl = second.server
    with pytest.raises(ssl.SSLCertVerificationError):
        trusting(server, first).get(SERVICES)
    assert trusting(server, second).get(SERVICES).code == 200
    server.put("services", {"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}})
    assert stream.next()["object"]["metadata"]["name"] == "late"
    stream.close()


def test_23_a_new_certificate_of_the_same_authority_is_no_matter(server, authorities):
    first = authorities[0]

    def serial():
        stream = trusting(server, first).watch(f"{SERVICES}?watch=true")
        number = stream.socket.getpeercert()["serialNumber"]
        stream.close()
        return number
    before = serial()
    server.ssl = tls.server_context(*first.issue("renewed"))
    assert serial() != before


def test_23_a_name_that_is_not_in_the_certificate_is_seen(server, authorities):
    server.ssl = tls.server_context(*authorities[0].issue("elsewhere", "DNS:elsewhere.example,IP:127.0.0.2"))
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        trusting(server, authorities[0]).get(SERVICES)


def test_23_a_client_certificate_says_who_asks(server, authorities):
    first, second = authorities
    server.ssl = tls.server_context(*first.issue("kubernetes"), clients=second.certificate)
    server.grants["operator"] = {("list", "", "services", None)}
    operator = trusting(server, first, None, second.issue("operator", None))
    assert operator.get(SERVICES).code == 200
    stranger = trusting(server, first, None, second.issue("stranger", None))
    assert stranger.get(SERVICES).code == 403 and 'User "stranger"' in stranger.get(SERVICES).value["message"]
    assert trusting(server, first).get(SERVICES).code == 200, "a token is good as well"
    assert trusting(server, first, None).get(SERVICES).code == 403


def test_23_a_client_certificate_of_another_authority_is_refused_in_the_handshake(server, authorities):
    first, second = authorities
    server.ssl = tls.server_context(*first.issue("kubernetes"), clients=second.certificate)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        trusting(server, first, None, first.issue("operator", None)).get(SERVICES)
    server.ssl = tls.server_context(*first.issue("kubernetes"), clients=first.certificate)
    server.grants["operator"] = None
    assert trusting(server, first, None, first.issue("operator", None)).get(SERVICES).code == 200, "now it may"


def test_23_a_client_that_speaks_no_tls_harms_nobody(server, authorities):
    with socket.create_connection((server.address, server.port), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert not plain.recv(1000).startswith(b"HTTP")
    assert trusting(server, authorities[0]).get(SERVICES).code == 200
