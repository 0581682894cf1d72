# SPDX-License-Identifier: Apache-2.0
"""A cluster behind the gateway: the test API server, sluice-k8s, sluiced, and kubectl as a user types
it. Pods are nginx in namespaces, which end with them; a small controller does what
kube-controller-manager does. What is shown as a command is what is run. Each answer is checked."""

import os
import re
import shlex
import shutil
import subprocess
import time

from cluster import ADAPTER, Adapter, Cluster
from load import CURL, Wrk, curl_many, failures, url
from namespaces import wait_until
from nginx import POD_CONNECTION_LIFE, POD_GRACE_SECONDS, Nginx, Pods
from paths import ROOT
from steps import Steps, short
from topology import BACKENDS, Topology, backend_v4, choose_driver

from controller import Controller

EXAMPLES = ROOT / "deploy" / "kubernetes" / "examples"
EVENTS = "get events.events.k8s.io -o custom-columns=TYPE:.type,REASON:.reason,SERVICE:.regarding.name,NOTE:.note"
HOST = "192.0.2.1"
LOAD_SECONDS_MAX = 120
EXTERNAL = "192.168.56.101"
SETTINGS = {
    "address_pools": [{"name": "public", "addresses": ["203.0.113.16/28"]}],
    "cluster_ip_ranges": ["10.96.0.0/16"], "external_ip_ranges": ["192.168.56.0/24"],
    "node_port_addresses": [HOST],
}


class KubernetesTour(Steps):
    def __init__(self, lab):
        super().__init__(lab)
        self.topology = self.client = self.cluster = self.adapter = self.controller = self.pods = None

    # What it does.

    def kubectl(self, words, note=""):
        self.show_command(f"kubectl {words}{'   # ' + note if note else ''}")
        done = subprocess.run(
            [shutil.which("kubectl"), *words.split()], check=False, capture_output=True, text=True, timeout=60,
            env=os.environ | {"HOME": str(self.lab.directory), "KUBECONFIG": self.kubeconfig})
        self.show(done.stdout + done.stderr)
        if done.returncode != 0:
            self.expect(False, f"kubectl {words}: exit code {done.returncode}")
        return done.stdout

    def answers(self, address, port=80, count=20, namespace=None):
        namespace = namespace or self.client
        target = url(address, port)
        self.show_command(f"{shlex.join(namespace.argv(*CURL, target))}   # {count} times")
        found = curl_many(namespace, target, count)
        self.show(", ".join(f"{name} {times}" for name, times in sorted(found.items())))
        return found

    def await_answer(self, target, claim):
        wait_until(lambda: self.client.run("curl", "-s", "--max-time", "1", target, check=False).returncode == 0,
                   10, claim)

    def begin_load(self, target):
        """Until it is stopped."""
        load = Wrk(self.client, target, LOAD_SECONDS_MAX, pause_ms=5)
        self.show_command(f"{shlex.join(load.process.args)} &")
        return load

    def end_load(self, load):
        self.show_command(f"kill -INT {load.process.pid}   # wrk")
        result = load.stop()
        self.show(f"{result['requests']} requests, failed: {failures(result) or 'none'}")
        self.expect(not failures(result), "no request is lost")

    def run_adapter(self):
        self.show_command(f"{short(ADAPTER)} --config {self.adapter.write()} &")
        self.adapter.start()

    def await_pods(self, vip, count):
        """Until so many answer, and no other is running."""
        self.await_answer(url(vip), "a pod answering")
        wait_until(lambda: len(self.pods.running()) == len(curl_many(self.client, url(vip), 20)) == count, 30,
                   f"{count} pods answering")

    def external_ip(self, name, seconds=10):
        """Once there is one."""
        def address():
            ingress = (self.cluster.get("services", name)["status"].get("loadBalancer") or {}).get("ingress")
            return ingress[0]["ip"] if ingress else ""
        return wait_until(address, seconds, f"an EXTERNAL-IP of {name}")

    def expect_row(self, name, pattern, claim):
        row = self.kubectl(f"get svc {name}").splitlines()[-1]
        self.expect(re.fullmatch(pattern, row.strip()) is not None, claim)

    # The steps.

    def build(self):
        self.step("A cluster (API server, three hosts for pods), and the gateway before it")
        self.topology = Topology(self.lab, choose_driver())
        self.client = self.topology.client
        self.pods = Pods({backend_v4(number): Nginx(
            self.topology.backends[number], f"backend{number}", self.lab.directory,
            connection_life=POD_CONNECTION_LIFE) for number in BACKENDS})
        self.gateway = self.topology.gateway
        self.gateway.config |= SETTINGS
        self.topology.start_gateway()
        for address in (EXTERNAL, "10.96.0.0/16"):
            self.client.ip("route", "add", address, "via", HOST)
        self.kubeconfig = str(self.cluster.kubeconfig())
        self.controller = Controller(self.cluster, self.pods, drain_seconds=POD_GRACE_SECONDS, kubelet=self.pods)
        self.show_command(f"export SLUICE_SERVER=unix:{self.gateway.socket} KUBECONFIG={self.kubeconfig}")

    def start_adapter(self):
        self.step("The adapter: a kubeconfig, the gateway, a name for the cluster")
        self.adapter = Adapter(self.lab.directory, [self.gateway], self.kubeconfig, default_class=True,
                               expose_cluster_ips=True, external_ip_ranges=["192.168.56.0/24"])
        self.run_adapter()
        self.show("\n".join(f"{key}: {value}" for key, value in self.adapter.config.items()))

    def load_balancer(self):
        self.step("A LoadBalancer gets an EXTERNAL-IP, and answers")
        self.kubectl(f"apply --validate=false -f {short(EXAMPLES / 'load-balancer.yaml')}")
        vip = self.external_ip("web")
        self.expect_row("web", rf"web +LoadBalancer +10\.96\.0\.\d+ +{re.escape(vip)} +80:\d+/TCP +\S+",
                        "kubectl shows it")
        self.await_pods(vip, 2)
        self.expect(sum(self.answers(vip).values()) == 20, "20 answers of 20")
        self.sluicectl("-A get svc", note="the gateway's view")
        self.expect(f"served at {vip}" in self.kubectl(EVENTS), "an event says so")

    def other_types(self):
        self.step("kubectl expose, each type")
        self.kubectl("expose deployment web --name inside --port 8000 --target-port http")
        self.kubectl("expose deployment web --name nodes --port 8001 --target-port http --type NodePort")
        self.kubectl("expose deployment web --name edge --port 8002 --target-port http --type LoadBalancer")
        self.kubectl(f"expose deployment web --name legacy --port 8811 --target-port http --external-ip {EXTERNAL}")
        vip = self.external_ip("edge")
        node_port = self.cluster.get("services", "nodes")["spec"]["ports"][0]["nodePort"]
        cluster_ip = self.cluster.get("services", "inside")["spec"]["clusterIP"]
        self.kubectl("get svc")
        for address, port, claim in ((cluster_ip, 8000, "the cluster address, for who routes the range here"),
                                     (HOST, node_port, "the node port, at the gateway's own address"),
                                     (vip, 8002, "a second address of the pool"),
                                     (EXTERNAL, 8811, "the external address")):
            self.await_answer(url(address, port), claim)
            self.expect(sum(self.answers(address, port, 5).values()) == 5, claim)

    def requested(self):
        self.step("An address that is asked for; one that cannot be had, and why")
        self.kubectl(f"apply --validate=false -f {short(EXAMPLES / 'requested-address.yaml')}")
        self.expect(self.external_ip("fixed") == "203.0.113.20", "the address asked for")
        self.await_answer(url("203.0.113.20", 8080), "a pod answering")
        self.expect(sum(self.answers("203.0.113.20", 8080, 5).values()) == 5, "it answers")
        self.kubectl("expose deployment web --name late --port 8080 --target-port http --type LoadBalancer "
                     "--load-balancer-ip 203.0.113.20")
        wait_until(lambda: any((each["regarding"]["name"], each["reason"]) == ("late", "AddressPending")
                               for each in self.cluster.all("events.k8s.io")), 10, "an event")
        self.kubectl("get svc late")
        self.expect("another service's" in self.kubectl(EVENTS), "the event says why it is pending")

    def roll(self):
        self.step("A rolling update and a scale-down under load")
        self.show(f"A pod that is to go serves for {POD_GRACE_SECONDS} s more, and then its nginx ends")
        vip = self.external_ip("web")
        load = self.begin_load(url(vip))
        time.sleep(1)
        self.kubectl("rollout restart deployment web")
        self.kubectl("rollout status deployment web")
        self.kubectl("scale deployment web --replicas 1")
        self.await_pods(vip, 1)
        self.end_load(load)

    def away(self):
        self.step("The API server dies; the adapter is restarted; forwarding does not notice")
        vip = self.external_ip("web")
        load = self.begin_load(url(vip))
        self.show("The API server, which is part of this program, is killed, and is there again 2 s later")
        self.cluster.kill()
        time.sleep(2)
        self.cluster.restart()
        self.show_command(f"kill {self.adapter.process.pid}   # sluice-k8s")
        self.adapter.stop()
        self.run_adapter()
        self.kubectl("scale deployment web --replicas 2")
        self.await_pods(vip, 2)
        self.end_load(load)
        self.expect(self.external_ip("web") == vip, f"the address is still {vip}, and changes arrive")

    def delete(self):
        self.step("Deleted: withdrawn from the gateway first, then gone")
        self.kubectl("delete svc web edge inside nodes legacy fixed late", note="waits for the finalizers")
        self.expect(self.sluicectl("-A get svc -o name").stdout.strip() == "", "the gateway has none of them")

    def run(self):
        with Cluster(self.lab.directory) as self.cluster:
            self.build()
            self.start_adapter()
            try:
                with self.controller.running():
                    for step in (self.load_balancer, self.other_types, self.requested, self.roll, self.away,
                                 self.delete):
                        step()
            finally:
                if self.adapter.process.poll() is None:
                    self.adapter.stop()
            self.stop()
