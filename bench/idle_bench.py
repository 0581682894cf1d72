#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What waiting costs and saves: sluiced with one lcore on one core, sluice-pktgen on another, memif
between them. For each `dataplane.idle_sleep` and rate: one-way latency, the share of the core that
the kernel says the lcore used, and the one that sluiced says it was busy. JSON in
build/bench/idle.json.

How an lcore waits is what the CPU has (`dataplane.idle_wait`: auto). Needs root, two cores, and
hugepages, which it reserves for as long as it runs.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
sys.path.insert(0, str(ROOT / "bench"))

from endtoend import PKTGEN_MIB, hugepages, machine  # noqa: E402
from memif import Run, SetUp, lcore_thread  # noqa: E402
from namespaces import Lab  # noqa: E402

SLEEPS = ("0s", "10us", "100us")
RATES = ("1k", "100k", "max")


def cpu_seconds(thread):
    """That a thread, "PID/TID", has had so far."""
    pid, tid = thread.split("/")
    with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Of an lcore, while a trial runs: its CPU time, and its busy share, over the same window."""

    def __init__(self, gateway, lcore, seconds):
        self._thread = threading.Thread(target=self._run, args=(gateway, lcore, seconds))
        self._thread.start()
        self.found = {}

    def _run(self, gateway, lcore, seconds):
        time.sleep(seconds / 4)  # the flows have opened
        thread = lcore_thread(gateway.process, lcore)
        begun, before = time.monotonic(), cpu_seconds(thread)
        time.sleep(seconds / 2)
        share = (cpu_seconds(thread) - before) / (time.monotonic() - begun)
        status = gateway.get("status")
        self.found = {"cpu_share": round(share, 3), "idle": status["idle"],
                      "busy_share": status["lcores"][0].get("busyPermille", 0) / 1000}

    def result(self):
        self._thread.join()
        return self.found


def measure(lab, sleep, rate, options):
    set_up = SetUp(flows=1000, lcores=(options.cores[0],), hugepages=True, memory_mib=320,
                   idle_sleep=sleep)
    with Run(lab, set_up, "--memory", PKTGEN_MIB, "--rate", rate, "--duration", options.seconds,
             "--latency-sample", 1 if rate.endswith("k") else 64, core=options.cores[1]) as run:
        watch = Watch(run.gateway, options.cores[0], options.seconds)
        trial = run.result(seconds=120)["trials"][0]
    latency = trial["latency"]
    return {"idle_sleep": sleep, "rate": rate, "loss_ratio": trial["loss_ratio"],
            "p50_us": latency["p50_us"], "p99_us": latency["p99_us"]} | watch.result()


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", default="0,1", help="of the gateway's lcore and the generator")
    parser.add_argument("--seconds", type=float, default=5, help="of a trial, at least 4")
    parser.add_argument("--output", type=pathlib.Path,
                        default=ROOT / "build" / "bench" / "idle.json")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all is taken back
    options.cores = [int(core) for core in options.cores.split(",")]
    rows = []
    print(f"{'idle_sleep':10} {'rate':>6} {'p50 us':>8} {'p99 us':>8} {'CPU':>6} {'busy':>6}")
    with hugepages(320 + PKTGEN_MIB + 64), Lab() as lab:
        for sleep in SLEEPS:
            for rate in RATES:
                row = measure(lab, sleep, rate, options)
                rows.append(row)
                print(f"{sleep:10} {rate:>6} {row['p50_us']:8.1f} {row['p99_us']:8.1f} "
                      f"{row['cpu_share']:6.1%} {row['busy_share']:6.1%}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n",
                              encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
