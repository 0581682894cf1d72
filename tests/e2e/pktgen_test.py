# SPDX-License-Identifier: Apache-2.0
"""sluice-pktgen and the gateway over memif: every packet there and back, judged whole."""

import pytest

from gateway import LCORES
from memif import Run, SetUp

# An idle loop must leave the core to the other end: the machines of tests are small.
SMALL = {"flows": 500, "lcores": tuple(range(LCORES)), "idle_sleep": "100us"}
BOTH_WAYS = ("--replies", "--verify", "--rate", "20k", "--duration", "0.5", "--open-rate", "20k")


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
@pytest.mark.parametrize("mode", ["FULL_NAT", "DNAT"])
def test_each_packet_and_its_reply_come_through_translated_right(lab, mode, protocol, version):
    set_up = SetUp(version=version, mode=mode, protocol=protocol, **SMALL)
    with Run(lab, set_up, *BOTH_WAYS) as run:
        trial = run.result()["trials"][0]
    assert trial["forwarded"] == trial["offered"] >= 9_000, trial
    assert trial["replies"]["replied"] == trial["forwarded"], trial
    assert (trial["lost"], trial["mistranslated"]) == (0, 0), trial
    assert (trial["reordered"], trial["replies"]["reordered"]) == (0, 0), trial
    assert trial["latency"]["timed"] > 100 and trial["latency"]["p50_us"] > 0, trial
