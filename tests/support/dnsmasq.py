# SPDX-License-Identifier: Apache-2.0
"""A real dnsmasq in a namespace, whose records change while it runs; they live one second."""

import os
import signal

from namespaces import wait_until


class Dns:
    def __init__(self, namespace, directory, address="127.0.0.1"):
        self.namespace, self.address = namespace, address
        self.folder = os.path.join(directory, f"dnsmasq-{address}")
        os.makedirs(self.folder)
        self.records = os.path.join(self.folder, "hosts")
        self.process = None
        self.write({})

    def start(self):
        self.process = self.namespace.spawn(
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            "--local=/example.com/", "--local=/example/",
            f"--addn-hosts={self.records}", "--local-ttl=1", f"--listen-address={self.address}",
            "--bind-interfaces", "--user=root", f"--pid-file={self.folder}/pid", "--log-facility=/dev/null")
        wait_until(lambda: self.namespace.run("ss", "-Hlun", "sport = :53").stdout, 10, "dnsmasq listening")
        return self

    def write(self, records):
        """{name: addresses}, of either family."""
        with open(self.records, "w", encoding="ascii") as hosts:
            for name, addresses in records.items():
                hosts.writelines(f"{address} {name}\n" for address in addresses)
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process = None
