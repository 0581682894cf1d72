# SPDX-License-Identifier: Apache-2.0
"""Authorities and certificates for the test server (KUBERNETES.md 1.23)."""

import pathlib
import ssl
import subprocess

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Authority:
    """Its own certificate is in `certificate`, a file."""

    def __init__(self, folder, name="authority"):
        self.folder = pathlib.Path(folder)
        self.key, self.certificate = self.folder / f"{name}.key", self.folder / f"{name}.crt"
        _openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key,
                 "-out", self.certificate)

    def issue(self, common_name, names="IP:127.0.0.1,DNS:localhost"):
        """Files (certificate, key). `names`: of a server; None: a client's."""
        key, request, certificate = (self.folder / f"{common_name}.{end}" for end in ("key", "csr", "crt"))
        extensions = self.folder / f"{common_name}.extensions"
        extensions.write_text(f"subjectAltName={names}\n" if names else "extendedKeyUsage=clientAuth\n")
        _openssl("req", *KEY, "-subj", f"/CN={common_name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                 "-days", "2", "-extfile", extensions, "-out", certificate)
        return certificate, key


def server_context(certificate, key, clients=None):
    """`clients`: the file of an authority whose clients are who their certificates say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    if clients is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(clients)
    return context


def client_context(authority, certificate=None, key=None):
    context = ssl.create_default_context(cafile=authority)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def make(folder):
    """(the context of a server that is its own authority, the file a client trusts)."""
    folder = pathlib.Path(folder)
    key, certificate = folder / "server.key", folder / "server.crt"
    _openssl("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=kubernetes", "-addext",
             "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    return server_context(certificate, key), certificate
