# SPDX-License-Identifier: Apache-2.0
"""Instructions per packet of the pipeline, counted by callgrind.

The machine's clock is noisy; instruction counts of one compiler are not. The record in
bench/instructions.json belongs to the code: a commit that lets a count grow by more than 3 %
changes the record too, and says why.

    instructions.py            print the counts
    instructions.py --check    compare with the record; exit 1 when one grew by more than 3 %
    instructions.py --record   write the record
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "bench" / "instructions.json"
BENCH = ROOT / "build" / "release" / "bench" / "pipeline" / "pipeline_bench"
PATHS = {
    "hit": "IPv4 UDP, FULL_NAT, established flow",
    "miss": "IPv4 TCP segment without a flow, dropped by name",
    "new": "IPv4 UDP, FULL_NAT, first packet of a flow",
}
GROWTH_MAX = 0.03


def count(path):
    """Instructions of run_pipeline for one packet on this path."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", "--toggle-collect=counted_section",
             f"--callgrind-out-file={folder}/out", str(BENCH), f"--instructions={path}"],
            capture_output=True, text=True, check=False, timeout=300)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    packets = re.search(r"packets: (\d+)", run.stdout)
    if run.returncode != 0 or not collected or not packets:
        sys.exit(f"instructions: callgrind failed on '{path}':\n{run.stdout}{run.stderr}")
    return int(collected[1]) / int(packets[1])


def main():
    counts = {path: round(count(path), 1) for path in PATHS}
    if "--record" in sys.argv:
        RECORD.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    grown = []
    print(f"{'path':6} {'now':>8} {'record':>8} {'change':>8}")
    for path, now in counts.items():
        before = record.get(path)
        change = now / before - 1 if before else 0
        print(f"{path:6} {now:8.1f} {before or 0:8.1f} {change:+8.1%}   {PATHS[path]}")
        if before is None or change > GROWTH_MAX:
            grown.append(path)
    if "--check" in sys.argv:
        if grown:
            sys.exit(f"instructions: {', '.join(grown)} grew by more than 3 % or has no record; "
                     "make it lean again, or record it with bench/instructions.py --record "
                     "and say why in the commit")
        print("instructions: 3 passed, 0 failed")


if __name__ == "__main__":
    main()
