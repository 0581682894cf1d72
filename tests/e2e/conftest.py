# SPDX-License-Identifier: Apache-2.0
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from gateway import SLUICECTL, SLUICED  # noqa: E402
from namespaces import Lab  # noqa: E402
from testbed import Testbed, web  # noqa: E402
from topology import choose_driver  # noqa: E402


def pytest_configure():
    # As by Ctrl-C: what tests started and made is taken back.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", 143))


def pytest_report_header():
    return f"sluiced: {SLUICED}"


@pytest.fixture(scope="session")
def driver():
    """The DPDK port driver of this run: af_xdp or af_packet, or a guest's."""
    for program in (SLUICED, SLUICECTL):
        assert program.exists(), f"{program} is not built: make build"
    return choose_driver()


@pytest.fixture
def lab():
    """Namespaces of one test, gone when it ends."""
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def shared_testbed(driver):
    with Lab() as lab:
        testbed = Testbed(lab, driver)
        yield testbed
        testbed.gateway.finish()


@pytest.fixture
def testbed(shared_testbed):
    """A running gateway with the service `web` as it was applied first, and nothing else."""
    shared_testbed.gateway.apply(web(), options=["--replace"])
    return shared_testbed
