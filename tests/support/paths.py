# SPDX-License-Identifier: Apache-2.0
"""Where this repository is, and what was built of it."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build" / "release"))
