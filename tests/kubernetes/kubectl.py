# SPDX-License-Identifier: Apache-2.0
"""The kubectls that hold the test server to what they expect: the one that is here, and 1.20, whose
questions are others. The first use unpacks 1.20 from Debian's package into build/kubectl-1.20."""

import functools
import json
import pathlib
import shutil
import subprocess
import tempfile

OLD = "1.20"
UNPACKED = pathlib.Path(__file__).resolve().parents[2] / "build" / f"kubectl-{OLD}"
PACKAGE = "kubernetes-client"
DOWNLOAD_SECONDS = 60


class Unavailable(Exception):
    """And why."""


def choices():
    """Words for `find`. A machine whose kubectl is 1.20 needs no other."""
    return ["here"] if shutil.which("kubectl") and version_of("kubectl") == OLD else ["here", OLD]


@functools.cache
def find(choice):
    """The program's path. Raises Unavailable."""
    if choice == OLD:
        program = UNPACKED / "usr" / "bin" / "kubectl"
        if not program.is_file():
            _unpack()
        return str(program)
    found = shutil.which("kubectl")
    if found is None:
        raise Unavailable("kubectl is not here")
    return found


def version_of(program):
    """"1.20": what a client's version begins with."""
    done = _run([program, "version", "--client", "-o", "json"])
    told = json.loads(done.stdout)["clientVersion"] if done.returncode == 0 else {"major": "?", "minor": "?"}
    return f"{told['major']}.{told['minor'].rstrip('+')}"


def _unpack():
    """Beside its place, and then into it: it is there whole or not at all."""
    UNPACKED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED.parent, prefix="kubectl-") as folder:
        # Not as user _apt, who may not write here.
        done = _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", PACKAGE], cwd=folder)
        packages = list(pathlib.Path(folder).glob("*.deb"))
        if done.returncode != 0 or not packages:
            raise Unavailable(f"apt-get cannot download {PACKAGE}: {done.stderr[-500:]}")
        fresh = pathlib.Path(folder) / "kubectl"
        done = _run(["dpkg", "-x", packages[0], fresh])
        if done.returncode != 0:
            raise Unavailable(f"dpkg cannot unpack {packages[0].name}: {done.stderr[-500:]}")
        found = version_of(fresh / "usr" / "bin" / "kubectl")
        if found != OLD:
            raise Unavailable(f"{PACKAGE} is of version {found} here, not {OLD}")
        shutil.rmtree(UNPACKED, ignore_errors=True)
        fresh.rename(UNPACKED)


def _run(words, cwd=None):
    try:
        return subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DOWNLOAD_SECONDS, check=False)
    except FileNotFoundError as missing:
        raise Unavailable(f"{words[0]} is not here") from missing
    except subprocess.TimeoutExpired as late:
        raise Unavailable(f"{words[0]} has not ended within {DOWNLOAD_SECONDS} s") from late
