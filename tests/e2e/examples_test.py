# SPDX-License-Identifier: Apache-2.0
"""The files a newcomer copies are good ones."""

import pytest

from gateway import SLUICED
from namespaces import run
from paths import ROOT

EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("sluiced-*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_every_example_configuration_passes_the_check(path):
    run([SLUICED, "--config", path, "--check"])


def test_the_example_service_is_accepted_and_serves_both_families(testbed):
    testbed.gateway.ctl("apply", "--replace", "-f", ROOT / "deploy" / "examples" / "web.yaml")
    status = testbed.gateway.get("get", "service", "web")["status"]
    assert [front["served"] for front in status["frontends"]] == [True, True]
