# SPDX-License-Identifier: Apache-2.0
"""bench/report.py: the budget of DESIGN.md, section 7, made of what the benches wrote."""

import json
import pathlib
import sys
import xml.dom.minidom

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import plots  # noqa: E402
import report  # noqa: E402

COLUMNS = {"name", "flows", "target_ratio", "measured_ratio", "cycles_median", "cycles_min",
           "cycles_max", "floor_median"}


def write(folder, name, content):
    (folder / f"{name}.json").write_text(json.dumps(content))


def cycles(name, flows, ratio):
    return {"name": name, "flows": flows, "measured_ratio": ratio, "ratio_min": ratio,
            "ratio_max": ratio, "cycles_median": 50 * ratio, "cycles_min": 40 * ratio,
            "cycles_max": 60 * ratio, "floor_median": 50}


def everything(folder):
    """Benches that all reached their targets, exactly."""
    rows = [cycles("hit, IPv4 UDP", flows, target) for flows, target in report.HIT_TARGETS.items()]
    rows.append(cycles("new flow, IPv4 UDP", 1_000_000, 9))
    for flows in (1_000, 1_000_000):
        rows += [cycles("TCP beside UDP", flows, 1.2), cycles("IPv6 beside IPv4", flows, 1.6)]
    write(folder, "pipeline_bench", {"rows": rows, "tsc_hz": 2_600_000_000,
                                     "memory": {"flows": 10_000_000, "bytes": 3 << 29},
                                     "aging": [{"packets_per_second": rate, "core_share": 0.03}
                                               for rate in report.AGING_BESIDE]})
    write(folder, "pcap", {"rows": [cycles(report.PCAP, flows, target)
                                    for flows, target in report.PCAP_TARGETS.items()]})
    write(folder, "scaling_bench", {"rows": [cycles("two lcores beside one", flows, 1.9)
                                             for flows in (1_000, 64_000, 1_000_000)]})
    write(folder, "endtoend", {"rows": [
        {"name": "x", "flows": flows, "target_mpps": mpps, "best_mpps": mpps,
         "best_loss_ratio": 0.001} for flows, mpps in report.MEMIF_MPPS_MIN.items()]})
    write(folder, "publish", publish())


def publish(**changes):
    return {"services": 50_000, "endpoints": 500_000, "load_s": 2, "change_p99_us": 1_000,
            "changes_per_s": 10_000, "traffic_mpps": 1, "lost_packets": 0, "latency_p999_ratio": 2,
            "maglev_ms": 1} | changes


def rows_of(folder, reasons=None):
    return report.budget(folder, reasons or {})


def missed(folder, reasons=None):
    return {row["name"]: row["reason"] for row in rows_of(folder, reasons) if not row["met"]}


def test_what_is_exactly_at_its_target_meets_it(tmp_path):
    everything(tmp_path)
    rows = rows_of(tmp_path)
    assert [row["name"] for row in rows if not row["met"]] == []
    assert len(rows) == 27
    assert all(COLUMNS <= row.keys() for row in rows)


def test_what_nobody_measured_is_missed_and_says_so(tmp_path):
    rows = rows_of(tmp_path)
    assert len(rows) == 27 and not any(row["met"] for row in rows)
    assert {row["reason"] for row in rows} == {"not measured: its bench left no figure"}


def test_each_bench_can_miss(tmp_path):
    for name, change in (("pcap", {"rows": [cycles(report.PCAP, 1_000, 1.61)]}),
                         ("scaling_bench",
                          {"rows": [cycles("two lcores beside one", 1_000, 1.89)]}),
                         ("publish", publish(lost_packets=1)),
                         ("publish", publish(change_p99_us=1_001)),
                         ("publish", publish(changes_per_s=9_999)),
                         ("publish", publish(traffic_mpps=0.98)),
                         ("publish", publish(latency_p999_ratio=2.1)),
                         ("publish", publish(services=49_999)),
                         ("publish", publish(maglev_ms=1.1))):
        everything(tmp_path)
        write(tmp_path, name, change)
        assert missed(tmp_path), (name, change)


def test_a_rate_with_too_much_loss_is_no_rate(tmp_path):
    everything(tmp_path)
    write(tmp_path, "endtoend", {"rows": [
        {"name": "x", "flows": flows, "target_mpps": mpps, "best_mpps": mpps + 5,
         "best_loss_ratio": 0.0011} for flows, mpps in report.MEMIF_MPPS_MIN.items()]})
    assert list(missed(tmp_path)) == ["one lcore over memif, FULL_NAT IPv4 UDP"]


def test_a_miss_over_memif_tells_what_testpmd_carries_there(tmp_path):
    everything(tmp_path)
    write(tmp_path, "endtoend", {"rows": [
        {"name": "x", "flows": flows, "target_mpps": mpps, "best_mpps": mpps - 1}
        for flows, mpps in report.MEMIF_MPPS_MIN.items()] + [
            {"name": "y", "flows": 1_000, "mode": "IO", "best_mpps": 12.345}]})
    rows = rows_of(tmp_path, {"one lcore over memif, FULL_NAT IPv4 UDP": "the ports"})
    assert [row["reason"] for row in rows[:2]] == [
        "the ports; testpmd io in sluiced's place, same run: 12.35", "the ports"]


def test_misses_come_first_and_with_their_reason(tmp_path):
    everything(tmp_path)
    pipeline = json.loads((tmp_path / "pipeline_bench.json").read_text())
    pipeline["rows"][3] = cycles("hit, IPv4 UDP", 10_000_000, 2.6)
    pipeline["aging"][0]["core_share"] = 0.04
    write(tmp_path, "pipeline_bench", pipeline)
    rows = rows_of(tmp_path, {"hit, IPv4 UDP, 10000000 flows": "pages",
                              "aging, no packets": "memory"})
    assert [(row["name"], row["reason"]) for row in rows[:2]] == [
        ("hit, IPv4 UDP", "pages"), ("aging, no packets", "memory")]
    assert all(row["met"] for row in rows[2:])
    assert "write it into bench/reasons.json" in missed(tmp_path)["aging, no packets"]


def test_the_table_names_every_row_with_target_measured_floor_and_ratio(tmp_path, capsys):
    everything(tmp_path)
    report.print_table(rows_of(tmp_path))
    said = capsys.readouterr().out
    assert "0 of 27 figures miss" in said
    line = next(line for line in said.splitlines()
                if line.startswith("hit, IPv4 UDP") and "10,000,000" in line)
    assert line.split()[4:8] == ["2.50x", "125.0", "50.0", "2.50"]


def test_the_plots_are_xml_and_mark_what_is_over_its_target(tmp_path):
    everything(tmp_path)
    kernel = {"rows": [{"name": "Linux <nft>", "services": 1, "ns_median": 1181}]}
    drawings = plots.draw(rows_of(tmp_path), kernel)
    assert set(drawings) == {"ratios", "kernel"}
    for drawing in drawings.values():
        xml.dom.minidom.parseString(drawing)
    assert plots.MISSED not in drawings["ratios"]
    assert plots.MISSED in plots.bars("t", "u", [("over", 2, 1)])
    assert plots.draw([], {}) == {}


def test_every_reason_that_is_kept_belongs_to_a_row(tmp_path):
    names = {row["name"] for row in rows_of(tmp_path)}
    with open(report.REASONS, encoding="utf-8") as file:
        reasons = json.load(file)
    assert [key for key in reasons if not any(key.startswith(name) for name in names)] == []
