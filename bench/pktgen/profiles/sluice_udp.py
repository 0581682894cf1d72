# SPDX-License-Identifier: Apache-2.0
"""TRex, stateless: clients of a Sluice gateway. 250 addresses x 4 ports = 1,000 flows of UDP."""

from trex_stl_lib.api import (STLFlowLatencyStats, STLPktBuilder, STLScVmRaw, STLStream, STLTXCont,
                              STLVmFixChecksumHw, STLVmFlowVar, STLVmWrFlowVar, CTRexVmInsFixHwCs)
from scapy.all import IP, UDP, Ether

GATEWAY, CLIENT, VIP = "02:00:00:00:00:aa", "02:00:00:00:00:01", "203.0.113.10"


def frame(payload=18):
    return (Ether(dst=GATEWAY, src=CLIENT) / IP(src="198.18.0.1", dst=VIP)
            / UDP(sport=16384, dport=80) / (b"\0" * payload))


class SluiceUdp:
    def get_streams(self, direction=0, **_):
        if direction != 0:  # backends only receive
            return []
        flows = STLScVmRaw([
            STLVmFlowVar("client", min_value="198.18.0.1", max_value="198.18.0.250", size=4,
                         op="inc"),
            STLVmWrFlowVar("client", pkt_offset="IP.src"),
            STLVmFlowVar("port", min_value=16384, max_value=16387, size=2, op="random"),
            STLVmWrFlowVar("port", pkt_offset="UDP.sport"),
            STLVmFixChecksumHw(l3_offset="IP", l4_offset="UDP",
                               l4_type=CTRexVmInsFixHwCs.L4_TYPE_UDP)])
        return [STLStream(packet=STLPktBuilder(pkt=frame(), vm=flows), mode=STLTXCont()),
                STLStream(packet=STLPktBuilder(pkt=frame()), mode=STLTXCont(pps=1000),
                          flow_stats=STLFlowLatencyStats(pg_id=7))]


def register():
    return SluiceUdp()
