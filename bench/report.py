# SPDX-License-Identifier: Apache-2.0
"""Every figure of DESIGN.md, section 7, beside its target, from what the benches left behind.

    report.py [FOLDER]      FOLDER holds their JSON (build/bench)

Prints the table, what misses its target first and with the reason (bench/reasons.json), and writes
budget.json and the plots *.svg into the folder. A figure that nobody measured is a miss too.
"""

import json
import os
import pathlib
import platform
import subprocess
import sys

import plots

ROOT = pathlib.Path(__file__).resolve().parent.parent
REASONS = ROOT / "bench" / "reasons.json"

HIT_TARGETS = {1_000: 1.6, 64_000: 2.2, 1_000_000: 2.2, 10_000_000: 2.5}
PCAP = "whole process on net_pcap, beyond testpmd io"
PCAP_TARGETS = {1_000: 1.6, 64_000: 2.2, 1_000_000: 2.2}
MEMORY_GIB_MAX = 1.5
AGING_SHARE_MAX = 0.03
AGING_BESIDE = {0: "no packets", 1_024_000: "1 Mpps, each of another flow",
                10_240_000: "10 Mpps, each of another flow"}
SCALING_MIN = 1.9
MEMIF_MPPS_MIN = {1_000: 20.0, 1_000_000: 14.88}
LOSS_MAX = 0.001
SERVICES, ENDPOINTS = 50_000, 500_000
TRAFFIC_MPPS = 0.99  # a millisecond of the trial is its last tick


def read(folder, name):
    """What a bench wrote; an empty object when it did not run."""
    file = pathlib.Path(folder) / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def find(rows, name, flows):
    return next((row for row in rows if row["name"] == name and row.get("flows") == flows), {})


def ratio_row(rows, name, flows, target):
    """A row in cycles; the ratio to the floor, or to what the path is compared with."""
    found = find(rows, name, flows)
    measured = found.get("measured_ratio")
    row = {"name": name, "flows": flows, "target_ratio": target, "measured_ratio": measured,
           "met": measured is not None and measured <= target}
    for key in ("cycles_median", "cycles_min", "cycles_max", "floor_median"):
        row[key] = found.get(key)
    row["ratio_min"], row["ratio_max"] = found.get("ratio_min"), found.get("ratio_max")
    return row


def value_row(name, flows, measured, target, unit, at_least=False):
    """A row in a unit of its own; the ratio is measured to target."""
    met = measured is not None and (measured >= target if at_least else measured <= target)
    return {"name": name, "flows": flows, "target_ratio": 1,
            "measured_ratio": None if measured is None or not target else measured / target,
            "cycles_median": None, "cycles_min": None, "cycles_max": None, "floor_median": None,
            "target": target, "measured": measured, "unit": unit, "at_least": at_least, "met": met}


def pipeline_rows(folder):
    pipeline = read(folder, "pipeline_bench")
    rows = pipeline.get("rows", [])
    made = [ratio_row(rows, "hit, IPv4 UDP", flows, target)
            for flows, target in HIT_TARGETS.items()]
    made.append(ratio_row(rows, "new flow, IPv4 UDP", 1_000_000, 9))
    for flows in (1_000, 1_000_000):
        made.append(ratio_row(rows, "TCP beside UDP", flows, 1.2))
        made.append(ratio_row(rows, "IPv6 beside IPv4", flows, 1.6))
    memory = pipeline.get("memory", {})
    made.append(value_row("memory of the flow table, IPv4", 10_000_000,
                          memory["bytes"] / (1 << 30) if memory else None, MEMORY_GIB_MAX, "GiB"))
    for rate, beside in AGING_BESIDE.items():
        share = next((row["core_share"] for row in pipeline.get("aging", [])
                      if row["packets_per_second"] == rate), None)
        made.append(value_row(f"aging, {beside}", 10_000_000,
                              None if share is None else share * 100, AGING_SHARE_MAX * 100,
                              "% of the core"))
    return made


def scaling_rows(folder):
    rows = read(folder, "scaling_bench").get("rows", [])
    name = "two lcores beside one"
    return [value_row(name, flows, find(rows, name, flows).get("measured_ratio"), SCALING_MIN,
                      "x one", at_least=True) for flows in (1_000, 64_000, 1_000_000)]


def pcap_rows(folder):
    rows = read(folder, "pcap").get("rows", [])
    made = [ratio_row(rows, PCAP, flows, target) for flows, target in PCAP_TARGETS.items()]
    for row in made:
        row["testpmd"] = find(rows, PCAP, row["flows"]).get("testpmd")
    return made


def memif_rows(folder):
    measured = read(folder, "endtoend").get("rows", [])
    rows = [row for row in measured if row.get("target_mpps")]
    made = []
    for flows, target in MEMIF_MPPS_MIN.items():
        found = next((row for row in rows if row["flows"] == flows), {})
        row = value_row("one lcore over memif, FULL_NAT IPv4 UDP", flows, found.get("best_mpps"),
                        target, "Mpps", at_least=True)
        row["loss_ratio"] = found.get("best_loss_ratio")
        row["testpmd_io"] = next((io.get("best_mpps") for io in measured
                                  if io.get("mode") == "IO" and io["flows"] == flows), None)
        row["met"] = row["met"] and (row["loss_ratio"] or 0) <= LOSS_MAX
        made.append(row)
    return made


def publish_rows(folder):
    found = read(folder, "publish")
    full = found.get("services", 0) >= SERVICES and found.get("endpoints", 0) >= ENDPOINTS
    loaded = found.get("traffic_mpps", 0) >= TRAFFIC_MPPS

    def row(name, value, target, unit, at_least=False):
        # A smaller set-up than the one of the target proves nothing.
        return value_row(name, None, value if full else None, target, unit, at_least)

    p99 = found.get("change_p99_us")
    return [
        row("50,000 services, 500,000 endpoints loaded", found.get("load_s"), 2, "s"),
        row("one endpoint change, p99", None if p99 is None else p99 / 1_000, 1, "ms"),
        row("endpoint changes under 1 Mpps", found.get("changes_per_s") if loaded else None, 10_000,
            "1/s", True),
        row("latency p99.9 meanwhile, beside none", found.get("latency_p999_ratio"), 2, "x"),
        row("packets lost meanwhile", found.get("lost_packets"), 0, "packets"),
        value_row("Maglev, 65,537 slots, 1,000 backends", None, found.get("maglev_ms"), 1, "ms"),
    ]


def budget(folder, reasons):
    """All rows, the ones that miss first; each of those with its reason."""
    rows = [row for part in (pipeline_rows, pcap_rows, scaling_rows, memif_rows, publish_rows)
            for row in part(folder)]
    for row in rows:
        if not row["met"]:
            row["reason"] = reason_of(row, reasons)
    return sorted(rows, key=lambda row: row["met"])  # stable: the order of the design in each half


def reason_of(row, reasons):
    if row["measured_ratio"] is None and row.get("measured") is None:
        return "not measured: its bench left no figure"
    noted = reasons.get(f"{row['name']}, {row['flows']} flows", reasons.get(row["name"]))
    if noted and row.get("testpmd_io"):
        noted += f"; testpmd io in sluiced's place, same run: {row['testpmd_io']:.2f}"
    return noted or "no reason is known; write it into bench/reasons.json"


def number(value, digits=2):
    return "-" if value is None else f"{value:,.{digits}f}".removesuffix(".00")


def line_of(row):
    flows = "" if row["flows"] is None else f"{row['flows']:,}"
    sign = "" if row["met"] else "MISSED"
    if "unit" in row:
        bound = "at least" if row["at_least"] else "at most"
        return (f"{row['name']:46} {flows:>10} {number(row['target']):>8} "
                f"{number(row['measured']):>8} {'':>8} {number(row['measured_ratio']):>7}  "
                f"{sign:6} {bound}, {row['unit']}")
    return (f"{row['name']:46} {flows:>10} {number(row['target_ratio']) + 'x':>8} "
            f"{number(row['cycles_median'], 1):>8} {number(row['floor_median'], 1):>8} "
            f"{number(row['measured_ratio']):>7}  {sign:6} cycles "
            f"({number(row['cycles_min'], 0)}-{number(row['cycles_max'], 0)})")


def print_table(rows):
    head = (f"{'':46} {'flows':>10} {'target':>8} {'measured':>8} {'floor':>8} {'ratio':>7}")
    missed = [row for row in rows if not row["met"]]
    print(f"\n{len(missed)} of {len(rows)} figures miss their target\n{head}")
    for row in missed:
        print(f"{line_of(row)}\n    because: {row['reason']}")
    print(f"\nat their target\n{head}")
    for row in rows:
        if row["met"]:
            print(line_of(row))


def print_kernel(kernel):
    if not kernel:
        return
    print(f"\nwhat Linux {kernel['kernel']} takes ({kernel['unit']}; see bench/kernel_bench.py)")
    for row in kernel["rows"]:
        print(f"{row['name']:46} {row['services']:>8} services {row['ns_median']:>7} ns "
              f"({row['ns_min']}-{row['ns_max']})")


# ---- the machine

def first_line(path, key):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    return ""


def machine(folder):
    dpdk = subprocess.run(["pkg-config", "--modversion", "libdpdk"], capture_output=True, text=True,
                          check=False).stdout.strip()
    hertz = read(folder, "pipeline_bench").get("tsc_hz", 0)
    return {
        "cpu": first_line("/proc/cpuinfo", "model name"), "cpus": os.cpu_count(),
        "kernel": platform.release(), "dpdk": dpdk, "tsc_mhz": round(hertz / 1e6),
        "memory": first_line("/proc/meminfo", "MemTotal"),
        "hugepages": first_line("/proc/meminfo", "HugePages_Total"),
        "transparent_hugepages": pathlib.Path(
            "/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii").strip(),
    }


def main(folder):
    reasons = json.loads(REASONS.read_text(encoding="utf-8"))
    facts = machine(folder)
    rows = budget(folder, reasons)
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print_table(rows)
    kernel = read(folder, "kernel")
    print_kernel(kernel)
    folder = pathlib.Path(folder)
    (folder / "budget.json").write_text(
        json.dumps({"machine": facts, "rows": rows, "linux": kernel.get("rows", [])}, indent=1)
        + "\n", encoding="utf-8")
    for name, drawing in plots.draw(rows, kernel).items():
        (folder / f"{name}.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "bench")
