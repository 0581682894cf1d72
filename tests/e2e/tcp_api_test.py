# SPDX-License-Identifier: Apache-2.0
"""The API over TCP: TLS on both sides, or nothing."""

import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from cluster import tls
from gateway import SLUICECTL, SLUICED, Gateway, base_config
from namespaces import wait_until

PORT = 5533
ADDRESS = f"127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return tls.Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def files(authority, tmp_path):
    """The gateway's, in a folder of its own: {field: file}."""
    folder = tmp_path / "tls"
    folder.mkdir()
    certificate, key = authority.issue("gateway")
    return {"certificate": shutil.copy(certificate, folder / "tls.crt"),
            "key": shutil.copy(key, folder / "tls.key"),
            "client_authority": shutil.copy(authority.certificate, folder / "ca.crt")}


@pytest.fixture
def gateway(lab, files):
    made = Gateway(lab.namespace("gateway"), lab.directory, base_config([("port0", "net_null0", [])], ["192.0.2.1"]))
    made.config["ports"][0]["twin"] = "none"
    made.config["api"] = {"listen": f"unix:{made.socket}",
                          "tcp": {"listen": ADDRESS} | {field: str(file) for field, file in files.items()}}
    return made


def client_environment(authority, name="operator"):
    certificate, key = authority.issue(name, names=None)
    return {"SLUICE_SERVER": ADDRESS, "SLUICE_CERTIFICATE_AUTHORITY": str(authority.certificate),
            "SLUICE_CLIENT_CERTIFICATE": str(certificate), "SLUICE_CLIENT_KEY": str(key)}


def status(gateway, environment):
    return gateway.namespace.run(SLUICECTL, "--timeout", "3s", "status", env=os.environ | environment, check=False)


def test_a_client_with_a_certificate_is_served(gateway, authority):
    gateway.start()
    done = status(gateway, client_environment(authority))
    assert done.returncode == 0, done.stderr
    gateway.stop()


def test_a_client_without_a_certificate_of_the_authority_is_not(gateway, authority, tmp_path):
    gateway.start()
    (tmp_path / "other").mkdir()
    stranger = client_environment(tls.Authority(tmp_path / "other", "stranger"))
    stranger["SLUICE_CERTIFICATE_AUTHORITY"] = str(authority.certificate)
    assert status(gateway, stranger).returncode == 3
    with gateway.namespace.socket(socket.SOCK_STREAM, "127.0.0.1") as plain:
        plain.settimeout(10)
        plain.connect(("127.0.0.1", PORT))
        plain.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))  # gRPC in the clear
        assert not plain.recv(4096).startswith(b"\x00\x00")
    assert status(gateway, client_environment(authority)).returncode == 0
    gateway.stop()


def test_a_client_does_not_speak_to_a_gateway_of_another_authority(gateway, authority, tmp_path):
    gateway.start()
    (tmp_path / "other").mkdir()
    environment = client_environment(authority) | {
        "SLUICE_CERTIFICATE_AUTHORITY": str(tls.Authority(tmp_path / "other", "stranger").certificate)}
    assert status(gateway, environment).returncode == 3
    gateway.stop()


def test_certificates_that_are_replaced_are_used_without_a_restart(gateway, authority, files, tmp_path):
    gateway.start()
    old = client_environment(authority)
    assert status(gateway, old).returncode == 0
    (tmp_path / "next").mkdir()
    following = tls.Authority(tmp_path / "next", "next")
    for target, source in zip(files.values(), (*following.issue("gateway"), following.certificate)):
        shutil.copy(source, f"{target}.new")
        os.rename(f"{target}.new", target)
    new = client_environment(following)
    wait_until(lambda: status(gateway, new).returncode == 0, 20, "the new certificates")
    assert status(gateway, old | {"SLUICE_CERTIFICATE_AUTHORITY": new["SLUICE_CERTIFICATE_AUTHORITY"]}).returncode == 3
    gateway.stop()


def test_a_watch_ends_when_its_gateway_says_nothing_any_more(gateway, authority):
    gateway.start()
    watch = gateway.namespace.spawn(SLUICECTL, "get", "services", "-w", env=os.environ | client_environment(authority),
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    assert watch.poll() is None
    gateway.process.send_signal(signal.SIGSTOP)  # as one whose host has lost its power
    try:
        _, said = watch.communicate(timeout=60)
    finally:
        gateway.process.send_signal(signal.SIGCONT)
    assert watch.returncode == 3, said
    gateway.stop()


@pytest.mark.parametrize("spoil, field", [
    (lambda tcp: tcp.update(listen="203.0.113.77:5533"), "api.tcp.listen"),
    (lambda tcp: tcp.update(certificate="/nowhere/tls.crt"), "api.tcp.certificate"),
    (lambda tcp: tcp.update(key=tcp["client_authority"]), "api.tcp.key"),
    (lambda tcp: tcp.update(client_authority="/dev/null"), "api.tcp.clientAuthority"),
], ids=["address of another host", "no certificate", "no key", "no authority"])
def test_what_cannot_be_served_is_refused_by_name(gateway, spoil, field):
    spoil(gateway.config["api"]["tcp"])
    done = gateway.namespace.run(SLUICED, "--config", gateway.write_config(), check=False, timeout=20)
    assert done.returncode == 1 and field in done.stderr
