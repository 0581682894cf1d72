# SPDX-License-Identifier: Apache-2.0
"""What the Linux kernel takes for the same work: DNAT and masquerade by nftables and by iptables,
with the rules that kube-proxy makes for 1, 1,000 and 10,000 services.

    kernel_bench.py [--out FILE] [--services N]... [--rounds N]

    client --veth--> router (rules, conntrack) --veth--> backend      the whole way
    client --veth--> sink                                             sender and sink alone

On a veth a packet is carried to its end in the softirq of its sender, so the CPU time of the
sending thread and of its CPU's ksoftirqd is all of it. Rounds alternate between the two ways; the
difference is the router's part, in nanoseconds of CPU a packet. Backend and sink drop at ingress.

What differs from sluiced: the kernel's part has a veth to receive from and one to send to, an skb
for each packet, routing and a neighbour lookup; sluiced polls DPDK ports. There are no answers, so
conntrack's entries stay unreplied, which costs the forward direction nothing. The service that
is asked is in the middle of its list, two endpoints each. `established` are 1,000 flows again and
again, `new` are flows that conntrack has not seen.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from namespaces import CommandFailed, Lab  # noqa: E402

SEND_FRAMES = ROOT / "build" / "release" / "bench" / "traffic" / "send_frames"

SERVICES = (1, 1_000, 10_000)
ROUNDS = 5
FLOWS = 1_000
ESTABLISHED_PACKETS = 100_000
NEW_PACKETS = 15_000
PODS = "10.244.0.0/16"
BACKENDS = ("192.0.2.1", "192.0.2.2")
MACS = {"client": "02:00:00:00:01:01", "wan": "02:00:00:00:02:01", "lan": "02:00:00:00:02:02",
        "backend": "02:00:00:00:03:01", "probe": "02:00:00:00:04:01", "sink": "02:00:00:00:04:02"}


def vip(number):
    return f"172.20.{number >> 8}.{number & 255}"


# ---- the rules, as kube-proxy writes them

def iptables_rules(services):
    """For iptables-restore; chains and marks as kube-proxy's iptables mode has them."""
    chains = ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"]
    first, rest = [], []
    for i in range(services):
        chains += [f"KUBE-SVC-{i:08d}", f"KUBE-SEP-{i:08d}-0", f"KUBE-SEP-{i:08d}-1"]
        label = f'-m comment --comment "bench/service{i}:udp'
        first.append(f"-A KUBE-SERVICES -d {vip(i)}/32 -p udp {label} cluster IP\" -m udp "
                     f"--dport 80 -j KUBE-SVC-{i:08d}")
        rest.append(f"-A KUBE-SVC-{i:08d} ! -s {PODS} -d {vip(i)}/32 -p udp {label} cluster IP\" "
                    "-m udp --dport 80 -j KUBE-MARK-MASQ")
        for end, backend in enumerate(BACKENDS):
            chance = "-m statistic --mode random --probability 0.5 " if end == 0 else ""
            rest.append(f"-A KUBE-SVC-{i:08d} {label} -> {backend}:8080\" {chance}"
                        f"-j KUBE-SEP-{i:08d}-{end}")
            rest.append(f"-A KUBE-SEP-{i:08d}-{end} -s {backend}/32 {label}\" -j KUBE-MARK-MASQ")
            rest.append(f"-A KUBE-SEP-{i:08d}-{end} -p udp {label}\" -m udp -j DNAT "
                        f"--to-destination {backend}:8080")
    return "\n".join([
        "*filter", ":KUBE-FORWARD - [0:0]",
        '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
        "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "COMMIT",
        "*nat", *[f":{chain} - [0:0]" for chain in chains],
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-A POSTROUTING -j KUBE-POSTROUTING",
        "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
        *first, *rest, "COMMIT", ""])


def nftables_rules(services):
    """For nft -f; one verdict map over all services, as kube-proxy's nftables mode has it."""
    chains, elements = [], []
    for i in range(services):
        for end, backend in enumerate(BACKENDS):
            chains.append(f"chain endpoint-{i}-{end} {{\n ip saddr {backend} jump "
                          f"mark-for-masquerade\n meta l4proto udp dnat to {backend}:8080\n}}")
        chains.append(f"chain service-{i} {{\n ip daddr {vip(i)} udp dport 80 ip saddr != {PODS} "
                      f"jump mark-for-masquerade\n numgen random mod 2 vmap "
                      f"{{ 0 : goto endpoint-{i}-0, 1 : goto endpoint-{i}-1 }}\n}}")
        elements.append(f"{vip(i)} . udp . 80 : goto service-{i}")
    return "\n".join([
        "table ip kube-proxy {",
        "chain mark-for-masquerade {\n meta mark set mark or 0x4000\n}",
        "chain masquerading {\n mark and 0x4000 == 0 return\n meta mark set mark xor 0x4000\n"
        " masquerade fully-random\n}",
        *chains,
        "map service-ips {\n type ipv4_addr . inet_proto . inet_service : verdict\n elements = {\n"
        + ",\n".join(elements) + "\n}\n}",
        "chain services {\n ip daddr . meta l4proto . th dport vmap @service-ips\n}",
        "chain filter-forward {\n type filter hook forward priority 0;\n"
        " ct state invalid drop\n}",
        "chain nat-prerouting {\n type nat hook prerouting priority -100;\n jump services\n}",
        "chain nat-postrouting {\n type nat hook postrouting priority 100;\n jump masquerading\n}",
        "}", ""])


# The iptables of the kernel's own tables where it has them: the nft-based command translates.
def load(kind, router, services):
    if kind == "nftables":
        router.run("nft", "-f", "-", input=nftables_rules(services), timeout=300)
    else:
        router.run(iptables_command(), input=iptables_rules(services), timeout=300)


def iptables_command():
    return shutil.which("iptables-legacy-restore") or "iptables-restore"


# ---- the hosts

def drop_at_ingress(host, device):
    host.run("nft", "-f", "-", input="table netdev sink {\n chain ingress_drop {\n type filter hook "
             f"ingress device \"{device}\" priority 0;\n drop\n }}\n}}\n")


class Hosts:
    """Client, router and backend in a row, and a sink beside them."""

    def __init__(self, lab):
        self.client, self.router = lab.namespace("client"), lab.namespace("router")
        backend, sink = lab.namespace("backend"), lab.namespace("sink")
        lab.cable(self.client, "wan", self.router, "wan")
        lab.cable(self.router, "lan", backend, "lan")
        lab.cable(self.client, "probe", sink, "probe")
        for host, device, mac in ((self.client, "wan", "client"), (self.router, "wan", "wan"),
                                  (self.router, "lan", "lan"), (backend, "lan", "backend"),
                                  (self.client, "probe", "probe"), (sink, "probe", "sink")):
            host.ip("link", "set", device, "address", MACS[mac])
        self.router.add_address("wan", "198.51.100.1/24")
        self.router.add_address("lan", "192.0.2.254/24")
        for backend_address in BACKENDS:
            self.router.ip("neigh", "replace", backend_address, "lladdr", MACS["backend"], "dev",
                           "lan")
        self.router.ip("route", "add", "10.0.0.0/8", "dev", "wan")
        self.router.sysctl("net.ipv4.ip_forward", "1")
        for device in ("all", "wan", "lan"):
            self.router.sysctl(f"net.ipv4.conf.{device}.rp_filter", "0")
        drop_at_ingress(backend, "lan")
        drop_at_ingress(sink, "probe")
        self._ends = {"router": (backend, "lan"), "sink": (sink, "probe")}

    def arrived(self, way):
        host, device = self._ends[way]
        shown = json.loads(host.ip("-s", "-j", "link", "show", "dev", device).stdout)
        return shown[0]["stats64"]["rx"]["packets"]

    def sender(self, way, service):
        device, here, there = (("wan", "client", "wan") if way == "router"
                               else ("probe", "probe", "sink"))
        return self.client.spawn(SEND_FRAMES, device, max(os.sched_getaffinity(0)), MACS[here],
                                 MACS[there], service, 80, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)


class Ways:
    """The whole way and the short one, for packets of the same flows."""

    def __init__(self, hosts, service):
        self._hosts = hosts
        self._senders = {way: hosts.sender(way, service) for way in ("router", "sink")}

    def cost_ns(self, way, first, flows, packets):
        sender = self._senders[way]
        before = self._hosts.arrived(way)
        sender.stdin.write(f"{first} {flows} {packets}\n")
        sender.stdin.flush()
        sent, spent_ns = (int(word) for word in sender.stdout.readline().split())
        arrived = self._hosts.arrived(way) - before
        if arrived < 0.999 * packets or sent != packets:
            raise CommandFailed(f"{arrived} of {packets} packets arrived by way of the {way}")
        return spent_ns / packets

    def difference_ns(self, first, flows, packets):
        whole = self.cost_ns("router", first, flows, packets)
        return whole - self.cost_ns("sink", first, flows, packets)


def measure(kind, services, rounds):
    with Lab() as lab:
        hosts = Hosts(lab)
        load(kind, hosts.router, services)
        ways = Ways(hosts, vip(services // 2))
        ways.cost_ns("router", 0, FLOWS, FLOWS)
        established = [ways.difference_ns(0, FLOWS, ESTABLISHED_PACKETS) for _ in range(rounds)]
        new = [ways.difference_ns((1 + i) * NEW_PACKETS, NEW_PACKETS, NEW_PACKETS)
               for i in range(rounds)]
    return [row(kind, "established", services, established), row(kind, "new flow", services, new)]


def row(kind, path, services, samples):
    return {"name": f"Linux {kind}, {path}", "services": services,
            "ns_median": round(statistics.median(samples)), "ns_min": round(min(samples)),
            "ns_max": round(max(samples)), "rounds": len(samples)}


def main():
    parser = argparse.ArgumentParser(description="the kernel's DNAT and masquerade, per packet")
    parser.add_argument("--out", help="JSON goes here")
    parser.add_argument("--services", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("kernel_bench: ended by SIGTERM"))
    rows = []
    print(f"{'path':36} {'services':>8} {'ns/packet':>10} {'min':>7} {'max':>7}")
    for services in options.services or SERVICES:
        for kind in ("nftables", "iptables"):
            for one in measure(kind, services, options.rounds):
                rows.append(one)
                print(f"{one['name']:36} {services:>8} {one['ns_median']:>10} {one['ns_min']:>7} "
                      f"{one['ns_max']:>7}", flush=True)
    if options.out:
        command = subprocess.run([iptables_command(), "--version"], capture_output=True, text=True,
                                 check=False).stdout.strip()
        pathlib.Path(options.out).write_text(json.dumps(
            {"unit": "ns of CPU per packet, router's part", "kernel": os.uname().release,
             "iptables": command, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
