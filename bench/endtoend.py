#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole of sluiced under load: one lcore on one core, sluice-pktgen on another, memif between
them (rings of 2^14). For each row: the best of ten one-second trials
at full speed, NDR and PDR, and latency at 50 and 90 % of PDR. JSON in build/bench/endtoend.json.

What has a target has the same with dpdk-testpmd in sluiced's place beside it, which hands each
packet on as it is (io): what the generator and the two ports carry at most, whoever forwards.

Needs root, two cores, and hugepages, which it reserves for as long as it runs.
"""

import argparse
import contextlib
import datetime
import functools
import json
import os
import pathlib
import platform
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from memif import PKTGEN, IoRun, Run, SetUp, linked  # noqa: E402
from namespaces import CommandFailed, Lab  # noqa: E402

PAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
PKTGEN_MIB = 400
PDR_LOSS = 0.001
BACKENDS = 64
TARGETS_MPPS = {1_000: 20.0, 1_000_000: 14.88}  # forward, FULL_NAT, IPv4 UDP of 64 bytes
SIZES = (("1k", 1_000), ("64k", 64_000), ("1M", 1_000_000))


def rows(quick):
    """(name, set-up, further words for the generator)."""
    if quick:
        return [row("FULL_NAT", 4, "UDP", ("1k", 1_000)), row("DNAT", 6, "TCP", ("1k", 1_000))]
    chosen = [row(mode, version, "UDP", size)
              for version in (4, 6) for mode in ("FULL_NAT", "DNAT") for size in SIZES]
    chosen[1:1] = [row("IO", 4, "UDP", size) for size in SIZES if size[1] in TARGETS_MPPS]
    chosen += [row("FULL_NAT", 4, "TCP", size) for size in SIZES]
    chosen.append(row("FULL_NAT", 4, "UDP", SIZES[0], "both directions", "--replies"))
    chosen.append(row("FULL_NAT", 4, "UDP", SIZES[1], "Zipf", "--pattern", "zipf"))
    chosen.append(row("FULL_NAT", 4, "UDP", SIZES[1], "IMIX", "--size", "imix"))
    return chosen


def row(mode, version, protocol, size, kind="", *words):
    label, flows = size
    name = f"{mode}, IPv{version} {protocol}, {label}" + (f", {kind}" if kind else "")
    tables_mib = 2 * flows * (300 if version == 6 else 180) >> 20
    set_up = SetUp(version=version, mode=mode, protocol=protocol, flows=flows,
                   backends=1 if mode == "IO" else BACKENDS,
                   hugepages=True, ring_log2=14, memory_mib=512 + tables_mib)
    return name, set_up, words


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if "model name" in line), "")
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


@contextlib.contextmanager
def hugepages(mebibytes):
    """So many free ones more than are in use, until the block ends."""
    before = int(PAGES.read_text(encoding="ascii"))
    PAGES.write_text(str(before + mebibytes // 2), encoding="ascii")
    try:
        if int(PAGES.read_text(encoding="ascii")) < before + mebibytes // 2:
            raise CommandFailed(f"no {mebibytes} MiB of hugepages; free some memory")
        yield
    finally:
        PAGES.write_text(str(before), encoding="ascii")


def measure(lab, set_up, words, options):
    seconds = 0.2 if options.quick else 1
    trials = 2 if options.quick else 10
    search = ["--search", "--search-duration", str(seconds / 2), "--precision",
              "0.05" if options.quick else "0.01"]
    kind = IoRun if set_up.mode == "IO" else Run
    with kind(lab, set_up, "--memory", PKTGEN_MIB, "--trials", trials, "--duration", seconds,
             "--pdr-loss", PDR_LOSS, *search, *words, core=options.cores[1],
             preferred=True) as run:
        result = run.result(seconds=300)
        version = "dpdk-testpmd"
        if set_up.mode != "IO":
            version = run.gateway.ctl("version", check=False).stdout.strip()
    return result, version


def fold(name, set_up, words, result):
    """One row of the table: what was found, and the set-up it was found in."""
    best = result.get("best")
    search = result["search"]
    target = None
    if (set_up.mode, set_up.version, set_up.protocol, words) == ("FULL_NAT", 4, "UDP", ()):
        target = TARGETS_MPPS.get(set_up.flows)
    return {
        "name": name, "flows": set_up.flows, "mode": set_up.mode, "family": f"ipv{set_up.version}",
        "protocol": set_up.protocol, "both_directions": "--replies" in words,
        "target_mpps": target,
        "best_mpps": best["forwarded_pps"] / 1e6 if best else None,
        "best_loss_ratio": best["loss_ratio"] if best else None,
        "preempted": bool(best) and max(best["preempted_us"], best["watched_preempted_us"]) > 100,
        "repeated_trials": result["repeated"],
        "ndr_mpps": search["ndr_pps"] / 1e6, "pdr_mpps": search["pdr_pps"] / 1e6,
        "pdr_loss": PDR_LOSS, "search_gave_up": search["gave_up"],
        "latency": [{"pdr_share": point["pdr_share"], "loss_ratio": point["loss_ratio"]}
                    | point["latency"] for point in search["latency"]],
        "set_up": result["set_up"] | {"ring": 1 << set_up.ring_log2,
                                      "gateway_lcores": len(set_up.lcores)},
    }


def print_row(found):
    def number(value):
        return "-" if value is None else f"{value:.2f}"

    latency = "  ".join(f"{point['p50_us']:.0f}/{point['p99_us']:.0f}"
                        for point in found["latency"])
    mark = ""
    if found["target_mpps"] is not None:
        reached = (found["best_mpps"] or 0) >= found["target_mpps"]
        mark = f"  target {found['target_mpps']}: {'reached' if reached else 'MISSED'}"
    mark += "  (pre-empted)" if found["preempted"] else ""
    print(f"{found['name']:38} {number(found['best_mpps']):>7} {number(found['ndr_mpps']):>7} "
          f"{number(found['pdr_mpps']):>7}  {latency}{mark}", flush=True)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rows, short trials: a test")
    parser.add_argument("--cores", default="0,1", help="of the gateway's lcore and the generator")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--output", default=ROOT / "build" / "bench" / "endtoend.json",
                        type=pathlib.Path)
    options = parser.parse_args(argv)
    options.cores = [int(core) for core in options.cores.split(",")]
    return options


def run_rows(chosen, options):
    found = []
    print(f"{'Mpps, latency p50/p99 in us':38} {'best':>7} {'NDR':>7} {'PDR':>7}  "
          "at 50 %, at 90 % of PDR", flush=True)
    with Lab() as lab:
        for number, (name, set_up, words) in enumerate(chosen):
            progress(f"[{number + 1} of {len(chosen)}] {name}")
            set_up.lcores = (options.cores[0],)
            try:
                result, version = linked(functools.partial(measure, lab, set_up, words, options))
            except CommandFailed as fault:
                progress("")
                print(f"{name}: not measured: {fault}", flush=True)
                found.append({"name": name, "flows": set_up.flows, "fault": str(fault)})
                write_json(found, options)
                continue
            progress("")
            found.append(fold(name, set_up, words, result) | {"version": version})
            print_row(found[-1])
            write_json(found, options)
    return found


def write_json(found, options):
    """After each row: a run that is broken off leaves what it has."""
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(
        {"unit": "Mpps forwarded", "machine": machine(), "quick": options.quick, "rows": found},
        indent=1) + "\n", encoding="ascii")


def main(argv):
    options = parse(argv)
    if not PKTGEN.exists():
        print(f"{PKTGEN} is not built: make build", file=sys.stderr)
        return 1
    if (os.cpu_count() or 1) < 2:
        print("endtoend: needs two cores, one for each end", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all is taken back
    chosen = [one for one in rows(options.quick) if options.only in one[0]]
    need = max(set_up.memory_mib for _, set_up, _ in chosen) + PKTGEN_MIB
    with hugepages(need + 64):
        found = run_rows(chosen, options)
    print(f"JSON in {options.output}")
    return 1 if any("fault" in one for one in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
