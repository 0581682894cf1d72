# SPDX-License-Identifier: Apache-2.0
"""The tour: every type of service, by the manifests in deploy/examples and the commands a user would
type. Real nginx, curl and DNS; each answer is checked."""

import contextlib
import os
import re
import subprocess
import time

from dnsmasq import Dns
from gateway import SLUICECTL
from load import curl_headers, url
from namespaces import CommandFailed, wait_until
from nginx import start_nginx
from paths import ROOT
from steps import Steps, short
from topology import BACKENDS, CLIENT_V4, SNAT_V4, Topology, backend_v4, choose_driver

EXAMPLES = ROOT / "deploy" / "examples"
HOST = "192.0.2.1"
EXTERNAL = "192.168.56.101"
PARTNER = "api.partner.example"
NODES = {"node1": HOST, "node2": backend_v4(2), "node3": backend_v4(3)}
BACKEND_PORTS = (80, 8000, 8080, 8443)
SETTINGS = {
    "cluster_ip_ranges": ["10.96.0.0/24"], "external_ip_ranges": ["192.168.56.0/24"],
    "address_pools": [{"name": "public", "addresses": ["203.0.113.64/26"]}],
    "node_port_addresses": [HOST], "node_addresses": [backend_v4(2), backend_v4(3)],
    "capture_node_addresses": True, "return_path": True, "dns_servers": ["127.0.0.1"],
}


class Tour(Steps):
    def __init__(self, lab):
        super().__init__(lab)
        self.topology = self.client = self.host = self.dns = self.names = None

    # What it does.

    def curl(self, address, port, namespace=None, name=None):
        """Shows the command and its answer, which is returned; "" without one. With `name`, by that
        name, which DNS knows."""
        namespace = namespace or self.client
        target = f"http://{name}:{port}/" if name else url(address, port=port)
        words = ["curl", "-gsS", "--max-time", "2", target]
        self.show_command(f"ip netns exec {namespace.name} {' '.join(words)}")
        if name:
            # The resolver of the machine is not the lab's: a mount of this process's own is.
            words = ["unshare", "--mount", "sh", "-c",
                     f'mount --bind {self.resolv_conf} /etc/resolv.conf && exec "$@"', "sh", *words]
        done = namespace.run(*words, check=False)
        self.show(done.stdout or done.stderr)
        return done.stdout.strip() if done.returncode == 0 else ""

    def expect_answer(self, answer, claim, among=BACKENDS):
        self.expect(answer in {f"backend{number}" for number in among}, claim)

    def service(self, name):
        return self.gateway.get("get", "service", name)

    @contextlib.contextmanager
    def port_forward(self, words, lines):
        """sluicectl port-forward on the gateway's host, once it has printed so many lines."""
        self.show_command(f"ip netns exec {self.host.name} sluicectl port-forward {words} &")
        process = self.host.spawn(SLUICECTL, "port-forward", *words.split(),
                                  env=self.gateway.environment(), stdout=subprocess.PIPE, text=True)
        printed = [process.stdout.readline().rstrip() for _ in range(lines)]
        self.show("\n".join(printed))
        try:
            yield printed
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()

    # The steps.

    def build(self):
        self.step("Network: client -- gateway -- three backends, nginx on four ports each, and a DNS server")
        self.topology = Topology(self.lab, choose_driver())
        self.client, self.host = self.topology.client, self.topology.gateway_host
        for number in BACKENDS:
            for port in BACKEND_PORTS:
                start_nginx(self.topology.backends[number], f"backend{number}", self.lab.directory, port)
            # Backends answer clients through the gateway, so that it may keep their addresses.
            self.topology.backends[number].ip("route", "add", "192.0.2.0/24", "via", "10.10.0.1")
        self.gateway = self.topology.gateway
        self.gateway.config |= SETTINGS
        self.topology.start_gateway()
        for address in (EXTERNAL, "10.96.0.0/24", *[node for node in NODES.values() if node != HOST]):
            self.client.ip("route", "add", address, "via", HOST)
        self.dns = Dns(self.host, self.lab.directory).start()
        self.names = Dns(self.host, self.lab.directory, HOST)
        self.names.write({name: [address] for name, address in NODES.items()})
        self.names.start()
        self.resolv_conf = os.path.join(self.lab.directory, "resolv.conf")
        with open(self.resolv_conf, "w", encoding="ascii") as resolv:
            resolv.write(f"nameserver {HOST}\n")
        self.show("\n".join(f"{name} {address}" for name, address in NODES.items()))
        self.show_command(f"export SLUICE_SERVER=unix:{self.gateway.socket}")

    def apply(self, name):
        done = self.sluicectl(f"apply -f {short(EXAMPLES / name)}")
        self.expect("seen by every lcore" in done.stdout, "every lcore forwards for it")

    def cluster_ip(self):
        self.step("ClusterIP: 9000 -> 8080, reached by who routes the range here, and by port-forward")
        self.apply("cluster-ip.yaml")
        shown = self.sluicectl("get svc shop").stdout
        self.expect(re.search(r"shop +ClusterIP +10\.96\.0\.\d+ +<none> +9000/TCP", shown) is not None,
                    "kubectl's columns")
        self.expect_answer(self.curl(self.service("shop")["spec"]["clusterIP"], 9000),
                           "answered by a backend that the selector picks", (1, 2))
        with self.port_forward("service/shop 9000", 2) as printed:
            self.expect(printed == ["Forwarding from 127.0.0.1:9000 -> 8080",
                                    "Forwarding from [::1]:9000 -> 8080"], "kubectl's words")
            self.expect_answer(self.curl("127.0.0.1", 9000, self.host), "on IPv4 loopback", (1, 2))
            self.expect_answer(self.curl("::1", 9000, self.host), "on IPv6 loopback", (1, 2))
        with self.port_forward(f"svc/shop 9001:9000 --address {HOST}", 1):
            self.expect_answer(self.curl(HOST, 9001), "from another host", (1, 2))

    def external_ips(self):
        self.step(f"externalIPs: 8811 -> 80 on {EXTERNAL}")
        self.apply("external-ips.yaml")
        self.sluicectl("get svc legacy")
        self.expect_answer(self.curl(EXTERNAL, 8811), "answered at the external address")
        refused = self.refused("expose thief --port 80 --external-ip 192.0.2.1 --backend 10.10.0.11")
        self.expect("externalIPs[0]" in refused, "an address that is not allowed is refused by its field")

    def refused(self, command):
        """What sluicectl says to a command that must not work."""
        self.show_command(f"sluicectl {command}")
        done = self.gateway.ctl(command, check=False)
        self.show(done.stdout + done.stderr)
        self.expect(done.returncode != 0, "refused")
        return done.stderr

    def node_ports(self):
        self.step("NodePort: 8899 -> 8000, on 30000 and on any, by the names of three nodes")
        self.apply("node-port.yaml")
        self.sluicectl("get svc")
        chosen = self.service("api-anywhere")["spec"]["ports"][0]["nodePort"]
        self.expect(30086 <= chosen <= 32767, f"{chosen} is above the low part")
        for port in (30000, chosen):
            for name in NODES:
                self.expect_answer(self.curl(None, port, name=name), f"answered at {name}:{port}")
        refused = self.refused("expose late --port 80 --type NodePort --node-port 30000 "
                               "--backend 10.10.0.11")
        self.expect("belongs to service default/api" in refused, "a node port has one holder")
        refused = self.refused("expose low --port 80 --type NodePort --node-port 8080 --backend 10.10.0.11")
        self.expect("nodePortRange" in refused, "and is of the range")

    def load_balancers(self):
        self.step("LoadBalancer: 9090 -> 8443 with node port 31680, and one from the pool")
        self.apply("load-balancer.yaml")
        self.sluicectl("get svc")
        self.sluicectl("get pools")
        vip = self.service("checkout")["status"]["loadBalancer"]["ingress"][0]["ip"]
        chosen = self.service("search")["status"]["loadBalancer"]["ingress"][0]["ip"]
        self.expect(vip == "203.0.113.90", "the VIP that was asked for")
        self.expect_answer(self.curl(vip, 9090), "answered at VIP:port")
        self.expect_answer(self.curl(vip, 31680), "answered at VIP:nodePort")
        self.expect_answer(self.curl(chosen, 9090), f"answered at {chosen}, chosen from the pool")
        same = {self.curl(vip, 9090) for _ in range(4)}
        self.expect(len(same) == 1, "session affinity: the same backend each time")

    def policies(self):
        self.step("Traffic policies and source ranges")
        vip = self.service("search")["status"]["loadBalancer"]["ingress"][0]["ip"]

        def client_seen():
            self.show_command(f"ip netns exec {self.client.name} curl -sSi {url(vip, port=9090)}")
            seen = curl_headers(self.client, url(vip, port=9090))[1]["x-client-address"]
            self.show(f"X-Client-Address: {seen}")
            return seen
        self.expect(client_seen() == SNAT_V4, "externalTrafficPolicy Cluster: backends see the gateway")
        self.change("search", "externalTrafficPolicy: Local", externalTrafficPolicy="Local",
                    forwarding={})
        self.expect(client_seen() == CLIENT_V4, "Local, and answers come back this way: they see the client")
        self.change("search", "loadBalancerSourceRanges: [198.51.100.0/24]",
                    loadBalancerSourceRanges=["198.51.100.0/24"])
        self.expect(self.curl(vip, 9090) == "", "a client outside the source ranges hears nothing")
        self.change("search", f"loadBalancerSourceRanges: [{CLIENT_V4}/32]",
                    loadBalancerSourceRanges=[f"{CLIENT_V4}/32"])
        self.expect_answer(self.curl(vip, 9090), "one inside is served")
        self.change("shop", "internalTrafficPolicy: Local", internalTrafficPolicy="Local")
        self.expect(self.curl(self.service("shop")["spec"]["clusterIP"], 9000) == "",
                    "at the cluster address nothing is local to a gateway")
        self.change("shop", "internalTrafficPolicy: Cluster", internalTrafficPolicy="Cluster")

    def change(self, name, words, **spec):
        self.show_command(f"sluicectl get svc {name} -o json | ... | sluicectl apply -f -   # {words}")
        manifest = self.service(name)
        manifest["spec"] |= spec
        done = self.gateway.apply(manifest, check=False)
        self.show(done.stdout + done.stderr)
        self.expect(done.returncode == 0, words)

    def expose(self):
        self.step("expose makes one of each type from words")
        backends = " ".join(f"--backend {backend_v4(number)}" for number in BACKENDS)
        for name, words, port in (("e-cluster", "", None), ("e-node", "--type NodePort", None),
                                  ("e-balancer", "--type LoadBalancer", 9100),
                                  ("e-external", f"--external-ip {EXTERNAL}", 9100)):
            done = self.sluicectl(f"expose deployment {name} --port 9100 --target-port 8080 {words} {backends}")
            self.expect(done.stdout == f"service/{name} exposed\n", "kubectl's words")
            shown = self.service(name)
            address = {"e-cluster": shown["spec"]["clusterIP"], "e-node": HOST, "e-external": EXTERNAL}.get(
                name) or shown["status"]["loadBalancer"]["ingress"][0]["ip"]
            self.expect_answer(self.curl(address, port or shown["spec"]["ports"][0].get("nodePort", 9100)),
                               f"{name} answers")
        self.sluicectl("get svc -o wide")

    def external_name(self):
        self.step("ExternalName: a VIP before what a name stands for, and its record changes")
        self.dns.write({PARTNER: [backend_v4(1)]})
        self.apply("external-name.yaml")
        self.follow([backend_v4(1)])
        self.expect_answer(self.curl("203.0.113.91", 9443), "answered by the name's address", (1,))
        self.show(f"(DNS: {PARTNER} is {backend_v4(3)} now)")
        self.dns.write({PARTNER: [backend_v4(3)]})
        self.follow([backend_v4(3)])
        self.expect_answer(self.curl("203.0.113.91", 9443), "and by its new one", (3,))
        self.show("(the DNS server is gone)")
        self.dns.stop()
        wait_until(lambda: "NameNotResolved" in self.gateway.ctl("get events").stdout, 20, "the alarm")
        self.expect_answer(self.curl("203.0.113.91", 9443), "without an answer the last address stays", (3,))
        self.sluicectl("describe svc partner")
        self.sluicectl("expose e-name --port 9443 --target-port 8443 --type ExternalName "
                       "--external-name api.other.example")

    def follow(self, addresses):
        def usable():
            rows = self.gateway.get("get", "backends", "partner").get("backends", [])
            return sorted(row["address"] for row in rows if row["state"] == "active") == addresses
        try:
            wait_until(usable, 10, f"backends {addresses}")
        except CommandFailed as late:
            self.expect(False, str(late))
        self.sluicectl("get backends partner")

    def again(self):
        self.step("What is shown can be applied again")
        names = [entry["service"]["metadata"]["name"]
                 for entry in self.gateway.get("get", "services")["services"]]
        for name in names:
            text = self.gateway.ctl("get", "service", name, "-o", "yaml").stdout
            done = self.gateway.ctl("apply", "-f", "-", input=text, check=False)
            self.expect("unchanged" in done.stdout, f"get svc {name} -o yaml | apply -f -: unchanged")

    def run(self):
        self.build()
        self.cluster_ip()
        self.external_ips()
        self.node_ports()
        self.load_balancers()
        self.policies()
        self.expose()
        self.external_name()
        self.again()
        self.stop()
