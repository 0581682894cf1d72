# SPDX-License-Identifier: Apache-2.0
"""What most of the tests here need. Those for whom the server is another one have their own."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from apiserver import ApiServer  # noqa: E402
from client import Client  # noqa: E402


@pytest.fixture
def server():
    with ApiServer(future_seconds=0.2) as made:
        yield made


@pytest.fixture
def client(server):
    return Client(server)
