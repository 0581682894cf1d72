# SPDX-License-Identifier: Apache-2.0
"""The whole sluiced process on net_pcap with infinite_rx, beside testpmd on the same port.

    pcap_bench.py [--out FILE] [--flows N]... [--launches N]

Both receive the same capture for ever, 60-byte UDP packets of N flows in random order, and send
what they have done with it to the same port, which drops it: testpmd forwards it as it is (io),
sluiced with one lcore and one arm as a FULL_NAT service does, every flow established before the
clock starts. Launches alternate (testpmd, sluiced, the floor of pipeline_bench, testpmd ...), each
is a fresh process. Cycles a packet are TSC cycles of the forwarding thread on its CPU: time that
other programs took from it does not count.

The target is testpmd's cycles and the budget of DESIGN.md, section 7: so many times the floor.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from gateway import Gateway, service  # noqa: E402
from hugepages import reserved_hugepages  # noqa: E402
from namespaces import CommandFailed, Lab, wait_until  # noqa: E402

BENCH = ROOT / "build" / "release" / "bench"
PIPELINE_BENCH = BENCH / "pipeline" / "pipeline_bench"
WRITE_CAPTURE = BENCH / "traffic" / "write_capture"

# DESIGN.md, section 7: what FULL_NAT may cost on top of the port, in floors.
TARGETS = {1_000: 1.6, 64_000: 2.2, 1_000_000: 2.2}
LAUNCHES = 5
WINDOW_S = 1.0
WINDOWS_MAX = 4
CPU_SHARE_MIN = 0.95
MAC = "02:70:63:61:70:00"  # what net_pcap gives its first port
VIP = "203.0.113.10"
BACKENDS = [f"192.0.2.{number}" for number in range(1, 17)]
SNAT = [f"192.0.2.{number}" for number in range(100, 116)]
BURST = 64
BUFFER_BYTES = 128  # of a packet: 384-byte mbufs with DPDK's own 128 and the headroom
SPARE_BUFFERS = 16_384
HUGEPAGE = 2 << 20


def hugepages_for(flows):
    """Pages for the capture's buffers (a mempool's object has 64 bytes of its own) and the flow
    table, and 192 MiB for everything else."""
    buffers = (flows + SPARE_BUFFERS) * (384 + 64)
    table = flows * 2 * 160
    return (buffers + table + (192 << 20)) // HUGEPAGE


def device(capture):
    return f"net_pcap0,rx_pcap={capture},infinite_rx=1"


def sluiced_config(capture, flows, core):
    return {
        "dataplane": {
            "lcores": [core],
            "memory": f"{hugepages_for(flows) * 2}MiB",
            "flows_ipv4": max(flows + flows // 8, 1_024),
            "flows_ipv6": 64,
            "affinity_clients": 64,
        },
        "ports": [{
            "name": "wan0",
            "device": device(capture),
            "twin": "none",
            "buffers": flows + SPARE_BUFFERS,
            "buffer_size": str(BUFFER_BYTES),
            "addresses": ["198.51.100.2/24", "192.0.2.254/24"],
            "neighbours": [{"address": "198.51.100.1", "mac": "02:00:00:00:01:01"}] + [
                {"address": address, "mac": f"02:00:00:00:02:{number:02x}"}
                for number, address in enumerate(BACKENDS, 1)],
            "routes": [{"prefix": "0.0.0.0/0", "gateway": "198.51.100.1"}],
        }],
        "snat": [{"address": address} for address in SNAT],
    }


def forwarding_thread(pid):
    """The thread that polls: it is on a CPU the most."""
    tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    before = {task: cpu_ns(task) for task in tasks}
    time.sleep(0.3)
    return max(tasks, key=lambda task: cpu_ns(task) - before[task])


def cpu_ns(task):
    """Nanoseconds that a thread has been on a CPU; 0 of one that has ended."""
    with contextlib.suppress(OSError):
        return int((task / "schedstat").read_text().split()[0])
    return 0


class Meter:
    """Cycles a packet between two looks at a thread's CPU time and its packets."""

    def __init__(self, pid, packets_of, tsc_hz):
        thread = forwarding_thread(pid)
        self._look = lambda: (time.monotonic(), cpu_ns(thread), packets_of())
        self._tsc_hz = tsc_hz

    def cycles_per_packet(self):
        """Of the first window in which the thread had its CPU to itself, or of the best of some:
        what others take from it leaves its caches cold."""
        windows = []
        while len(windows) < WINDOWS_MAX:
            windows.append(self._window())
            if windows[-1][0] >= CPU_SHARE_MIN:
                break
        return max(windows)[1]

    def _window(self):
        """The thread's share of its CPU, and cycles a packet."""
        began, began_ns, began_packets = self._look()
        time.sleep(WINDOW_S)
        ended, ended_ns, ended_packets = self._look()
        packets = ended_packets - began_packets
        if packets <= 0:
            raise CommandFailed("no packet moved while the clock ran")
        on_cpu_s = (ended_ns - began_ns) * 1e-9
        return on_cpu_s / (ended - began), on_cpu_s * self._tsc_hz / packets


class Testpmd:
    """dpdk-testpmd in io mode, asked on its own command line."""

    __test__ = False

    def __init__(self, lab, capture, flows, core):
        self.prefix = f"sluice-testpmd-{os.getpid()}"
        self.process = lab.spawn(
            # By lines, or what it says would wait in its buffer until it ends.
            ["stdbuf", "-oL", "dpdk-testpmd",
             "--lcores", f"0@0,{core + 1}@{core}", "--main-lcore", "0",
             "--in-memory", "--no-telemetry", "--no-pci", f"--file-prefix={self.prefix}",
             "-m", str(hugepages_for(flows) * 2), "--vdev", device(capture), "--",
             "--interactive", "--nb-cores=1", "--forward-mode=io", "--port-topology=loop",
             f"--burst={BURST}", "--mbcache=256", f"--total-num-mbufs={flows + SPARE_BUFFERS}",
             f"--mbuf-size={128 + BUFFER_BYTES}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.ask("start", "nb forwarding ports")

    def ask(self, command, last):
        """Sends a command; what is said up to the line with `last`."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        said = []
        for line in self.process.stdout:
            said.append(line)
            if last in line:
                return "".join(said)
        raise CommandFailed(f"testpmd ended:\n{''.join(said)}")

    def packets(self):
        said = self.ask("show port stats 0", "Tx-pps")
        return int(re.search(r"TX-packets: (\d+)", said)[1])

    def stop(self):
        self.process.stdin.write("stop\nquit\n")
        self.process.stdin.flush()
        self.process.communicate(timeout=30)


def measure_testpmd(lab, capture, flows, core, tsc_hz):
    testpmd = Testpmd(lab, capture, flows, core)
    cycles = Meter(testpmd.process.pid, testpmd.packets, tsc_hz).cycles_per_packet()
    testpmd.stop()
    return cycles


class Sluiced:
    """A gateway where there are no routes but its own."""

    def __init__(self, lab, capture, flows, core):
        host = lab.namespace("gateway")
        self.gateway = Gateway(host, lab.directory, sluiced_config(capture, flows, core))
        self.gateway.start()
        self.gateway.apply(service("pcap", [VIP], [("udp", "UDP", 80, 8080)], BACKENDS))
        self.flows = flows

    def wait_for_flows(self):
        wait_until(lambda: self.counter("flowsIpv4") >= self.flows, 60,
                   f"{self.flows} flows are open")

    def counter(self, name):
        status = self.gateway.get("status")
        return sum(int(lcore.get(name, 0)) for lcore in status["lcores"])

    def packets(self):
        port = self.gateway.get("get", "ports")["ports"][0]
        return int(port["txPackets"])

    def dropped(self):
        return sum(int(row.get("packets", 0)) for row in self.gateway.get("get", "drops")["drops"])

    def stop(self):
        self.gateway.stop()


def measure_sluiced(lab, capture, flows, core, tsc_hz):
    sluiced = Sluiced(lab, capture, flows, core)
    sluiced.wait_for_flows()
    before = sluiced.dropped()
    cycles = Meter(sluiced.gateway.process.pid, sluiced.packets, tsc_hz).cycles_per_packet()
    dropped = sluiced.dropped() - before
    sluiced.stop()
    if dropped:
        raise CommandFailed(f"sluiced dropped {dropped} packets while the clock ran")
    return cycles


def measure_floor(flows):
    """Cycles a packet, and TSC ticks a second."""
    said = subprocess.run([PIPELINE_BENCH, f"--floor={flows}"], capture_output=True, text=True,
                          check=True, timeout=120)
    floor, hertz = said.stdout.split()
    return float(floor), float(hertz)


def summary(values):
    return {"median": round(statistics.median(values), 1), "min": round(min(values), 1),
            "max": round(max(values), 1)}


def row(flows, samples):
    """`samples`: a list of (testpmd, sluiced, floor), cycles a packet."""
    testpmd, sluiced, floor = zip(*samples)
    ratios = [(ours - theirs) / plain for theirs, ours, plain in samples]
    ours = summary(sluiced)
    return {
        "name": "whole process on net_pcap, beyond testpmd io", "flows": flows,
        "target_ratio": TARGETS.get(flows), "measured_ratio": round(statistics.median(ratios), 2),
        "ratio_min": round(min(ratios), 2), "ratio_max": round(max(ratios), 2),
        "cycles_median": ours["median"], "cycles_min": ours["min"], "cycles_max": ours["max"],
        "floor_median": summary(floor)["median"], "testpmd": summary(testpmd),
        "launches": len(samples),
    }


def measure(flows, launches, tsc_hz):
    core = max(os.sched_getaffinity(0))
    pages = hugepages_for(flows) + 16
    samples = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, reserved_hugepages(pages):
        capture = f"{folder}/capture.pcap"
        subprocess.run([WRITE_CAPTURE, capture, str(flows), MAC, VIP, "80"], check=True)
        for _ in range(launches):
            with Lab() as lab:
                samples.append((measure_testpmd(lab, capture, flows, core, tsc_hz),
                                measure_sluiced(lab, capture, flows, core, tsc_hz),
                                measure_floor(flows)[0]))
            print(f"  {flows} flows: testpmd {samples[-1][0]:.1f}, sluiced {samples[-1][1]:.1f}, "
                  f"floor {samples[-1][2]:.1f} cycles a packet", flush=True)
    return row(flows, samples)


def main():
    parser = argparse.ArgumentParser(description="sluiced beside testpmd on net_pcap")
    parser.add_argument("--out", help="JSON goes here")
    parser.add_argument("--flows", type=int, action="append", help="instead of 1k, 64k and 1M")
    parser.add_argument("--launches", type=int, default=LAUNCHES)
    options = parser.parse_args()
    if not shutil.which("dpdk-testpmd"):
        sys.exit("pcap_bench: dpdk-testpmd is missing; install the package dpdk-dev")
    # What was made is taken away again, also when a timeout ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("pcap_bench: ended by SIGTERM"))
    hertz = measure_floor(1_000)[1]
    rows = [measure(flows, options.launches, hertz) for flows in options.flows or list(TARGETS)]
    for one in rows:
        print(f"{one['flows']:>9} flows: sluiced {one['cycles_median']} "
              f"({one['cycles_min']}-{one['cycles_max']}), testpmd {one['testpmd']['median']}, "
              f"floor {one['floor_median']}: {one['measured_ratio']} floors beyond testpmd, "
              f"target {one['target_ratio']}")
    if options.out:
        pathlib.Path(options.out).write_text(
            json.dumps({"unit": "TSC cycles per packet on the CPU", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
