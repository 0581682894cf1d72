#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-k8s with a large cluster: 10,000 services with ten endpoints each from the test API server, a
gateway beside it. Prints how long it takes until the gateway has them all, what adapter and gateway need
of memory, and an endpoint change's way: from its event at the adapter until every lcore has seen it.

The API server is Python, in this process, which takes most of the time of a first list; the adapter's own
CPU time is printed beside. 50,000 services need 2.5 GiB of memory. Needs root, and no hugepages.

usage: kubernetes_bench.py [--services N] [--changes N]
"""

import argparse
import gc
import os
import pathlib
import re
import signal
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests" / "support"))

from cluster import PROVIDER, Adapter, Cluster, endpoint_slice, kube_service  # noqa: E402
from gateway import Gateway, base_config  # noqa: E402
from namespaces import CommandFailed, Lab, wait_until  # noqa: E402

ENDPOINTS = 10
SYNC_SECONDS, CHANGE_SECONDS = 600, 30
TOOK = re.compile(r"seen by every lcore ([\d.]+) ms")


def memory_mib(pid, field="VmRSS"):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def slice_of(number, hosts=range(ENDPOINTS)):
    return endpoint_slice(f"s{number}", [{
        "addresses": [f"10.{number >> 12 & 255}.{number >> 4 & 255}.{(number & 15) * 16 + host + 1}"],
        "conditions": {"ready": True, "serving": True, "terminating": False}, "nodeName": f"node{host}"}
        for host in hosts], name=f"s{number}-x")


def service_of(number):
    """As the last adapter wrote it, so that this one has nothing to write."""
    return kube_service(f"s{number}", vips=[f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"],
                        finalizers=["service.kubernetes.io/load-balancer-cleanup"],
                        annotations={"sluice.dev/provider": PROVIDER}, allocateLoadBalancerNodePorts=False)


def fill(cluster, services):
    """Seconds that it took."""
    begun = time.monotonic()
    gc.disable()
    cluster.load("services", (service_of(number) for number in range(services)))
    cluster.load("endpointslices", (slice_of(number) for number in range(services)))
    gc.freeze()  # else it goes through millions of objects again and again, while the server is asked
    gc.enable()
    return time.monotonic() - begun


def make_gateway(lab, services):
    # Without packets: else the forwarding lcore takes a CPU that adapter and API server need.
    config = base_config([("port0", "net_null0,no-rx=1", [])], ["192.0.2.1"])
    gateway = Gateway(lab.namespace("gateway"), lab.directory, config)
    gateway.config["ports"][0] |= {"twin": "none", "addresses": ["192.0.2.2/24"],
                                   "routes": [{"prefix": "10.0.0.0/8", "gateway": "192.0.2.254"}]}
    gateway.config["dataplane"] |= {"bindings": services * ENDPOINTS * 5 // 4 + 1024,
                                    "service_ports": services * 5 // 4 + 1024}
    return gateway.start()


def services_at(gateway):
    """Asked seldom, as the question takes time from what is measured."""
    time.sleep(0.2)
    return int(gateway.get("status").get("services", 0))


def changes(cluster, adapter, services, count):
    """Milliseconds of each, one at a time."""
    took = []
    with open(adapter.log_file, encoding="utf-8", errors="replace") as log:
        log.seek(0, os.SEEK_END)
        for number in range(count):
            lost = 1 - number // services % 2  # an endpoint goes, and comes back in the next round
            cluster.put("endpointslices", slice_of(number % services, range(lost, ENDPOINTS)))
            took.append(next_took(log))
    return took


def next_took(log):
    """Of the adapter's next line that says it."""
    text, begun = "", time.monotonic()
    while not (found := TOOK.search(text)):
        if time.monotonic() - begun > CHANGE_SECONDS:
            raise CommandFailed(f"a change was not sent within {CHANGE_SECONDS} s")
        time.sleep(0.005)
        text += log.read()
    return float(found[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=500)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all is taken back
    with Lab("sluice-bench") as lab, tempfile.TemporaryDirectory() as folder, Cluster(folder) as cluster:
        filled = fill(cluster, options.services)
        gateway = make_gateway(lab, options.services)
        empty = memory_mib(gateway.process.pid)
        begun = time.monotonic()
        with Adapter(folder, [gateway], cluster.kubeconfig(), log={"level": "debug"}) as adapter:
            wait_until(lambda: services_at(gateway) == options.services, SYNC_SECONDS, "all services")
            synced = time.monotonic() - begun
            spent = [cpu_seconds(of.process.pid) for of in (adapter, gateway)]
            time.sleep(3)
            took = changes(cluster, adapter, options.services, options.changes)
            print(f"services {options.services}, endpoints {options.services * ENDPOINTS}")
            print(f"filling the cluster   {filled:8.1f} s")
            print(f"time to synced        {synced:8.1f} s; CPU time of the adapter {spent[0]:.1f} s, "
                  f"of the gateway {spent[1]:.1f} s")
            print(f"adapter memory        {memory_mib(adapter.process.pid):8.0f} MiB, "
                  f"at most {memory_mib(adapter.process.pid, 'VmHWM'):.0f} MiB")
            print(f"gateway memory        {memory_mib(gateway.process.pid):8.0f} MiB, {empty:.0f} MiB when empty")
            print(f"API server memory     {memory_mib('self'):8.0f} MiB")
            print(f"one endpoint change   {statistics.median(took):8.2f} ms p50, "
                  f"{statistics.quantiles(took, n=100)[98]:.2f} ms p99 of {len(took)}, event to every lcore")
        gateway.stop()


if __name__ == "__main__":
    main()
