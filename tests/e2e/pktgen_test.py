# SPDX-License-Identifier: Apache-2.0
"""sluice-pktgen and the gateway over memif and virtio-user: every packet there and back, judged whole."""

import json
import os
import pathlib
import sys

import pytest

from gateway import LCORES
from hugepages import reserved_hugepages
from memif import Run, SetUp, linked
from namespaces import run
from paths import ROOT

# An idle loop must leave the core to the other end: the machines of tests are small.
SMALL = {"flows": 500, "lcores": tuple(range(LCORES)), "idle_sleep": "100us",
         "idle_wait": "sleep"}
BOTH_WAYS = ("--replies", "--verify", "--rate", "20k", "--duration", "0.5", "--open-rate", "20k")


BOTH_ENDS_PAGES = 512  # of 2 MiB: SetUp's memory twice, and some that EAL takes at once
PAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


def one_trial(lab, set_up, *words):
    def measure():
        with Run(lab, set_up, *BOTH_WAYS, *words) as measured:
            return measured.result()["trials"][0]
    return linked(measure)


def all_came_back_right(trial, in_order=True):
    # What the generator itself was late with, on a busy machine, is not the gateway's loss.
    assert trial["forwarded"] == trial["offered"] >= 5_000, trial
    assert trial["replies"]["replied"] == trial["forwarded"], trial
    assert (trial["refused"], trial["mistranslated"]) == (0, 0), trial
    if in_order:
        assert (trial["reordered"], trial["replies"]["reordered"]) == (0, 0), trial


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
@pytest.mark.parametrize("mode", ["FULL_NAT", "DNAT"])
def test_each_packet_and_its_reply_come_through_translated_right(lab, mode, protocol, version):
    set_up = SetUp(version=version, mode=mode, protocol=protocol, **SMALL)
    trial = one_trial(lab, set_up)
    all_came_back_right(trial)
    assert trial["latency"]["timed"] > 100 and trial["latency"]["p50_us"] > 0, trial


@pytest.mark.parametrize("protocol, words", [
    ("UDP", ("--size", "imix", "--pattern", "zipf", "--new-flows", "2k")),
    ("TCP", ("--size", "imix", "--new-flows", "2k")),
    ("TCP", ("--syn-only",)),
], ids=["udp-imix-zipf-new", "tcp-imix-new", "syn-only"])
def test_new_flows_and_mixed_sizes_come_through_too(lab, protocol, words):
    set_up = SetUp(protocol=protocol, **SMALL | {"flows": 25_000})
    # Order is told by slots: the last packet of a flow and the first of the one in its place
    # may be different lcores', which owe each other no order.
    all_came_back_right(one_trial(lab, set_up, "--flows", 500, *words),
                        in_order=LCORES == 1 or "--new-flows" not in words)


@pytest.mark.parametrize("hugepages", [False, True], ids=["pages", "hugepages"])
def test_virtio_user_brings_each_packet_to_a_vhost_end_and_back(lab, hugepages):
    if hugepages and not os.access(PAGES, os.W_OK):
        pytest.skip("hugepages cannot be reserved here")
    set_up = SetUp(link="vhost", ring_log2=10, hugepages=hugepages, **SMALL | {"lcores": (0,)})
    with reserved_hugepages(BOTH_ENDS_PAGES if hugepages else 0):
        all_came_back_right(one_trial(lab, set_up))


@pytest.mark.skipif(not os.access(PAGES, os.W_OK) or (os.cpu_count() or 1) < 2,
                    reason="hugepages cannot be reserved here, or there is one core only")
@pytest.mark.skipif(LCORES > 1, reason="the bench has one lcore, whatever the suite has")
def test_the_end_to_end_bench_fills_its_table_and_returns_its_hugepages(tmp_path):
    before = PAGES.read_text()
    output = tmp_path / "endtoend.json"
    run([sys.executable, ROOT / "bench" / "endtoend.py", "--quick", "--output", output],
        timeout=240)
    rows = json.loads(output.read_text())["rows"]
    assert len(rows) == 2
    for row in rows:
        assert row["pdr_mpps"] >= row["ndr_mpps"] > 0.01, row
        assert [point["pdr_share"] for point in row["latency"]] == [0.5, 0.9], row
        assert row["set_up"]["ring"] == 1 << 14, row
    assert PAGES.read_text() == before
