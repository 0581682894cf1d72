# SPDX-License-Identifier: Apache-2.0
"""What deploy/install-packages would install of a list, told by a user who may not."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def install(tmp_path):
    """install(list, word...): its exit code and what it says."""
    shutil.copy(ROOT / "deploy" / "install-packages", tmp_path)
    user = tmp_path / "bin" / "id"
    user.parent.mkdir()
    user.write_text("#!/bin/sh\necho 1000\n")
    user.chmod(0o755)

    def run(packages, *words):
        (tmp_path / "packages.txt").write_text(packages)
        done = subprocess.run(
            [tmp_path / "install-packages", *words], capture_output=True, text=True, check=False,
            env=os.environ | {"PATH": f"{user.parent}:{os.environ['PATH']}"})
        return done.returncode, (done.stdout + done.stderr).strip()

    return run


def test_what_lacks_is_named_and_root_asked_for(install):
    assert install("sluice-none-1\nsluice-none-2  # why\n") == (
        1, "install-packages: missing: sluice-none-1 sluice-none-2; run as root to install them")


def test_a_command_that_is_there_is_taken_as_it_is(install):
    assert install("sluice-none command=sh\n") == (0, "")
    assert "sluice-none" in install("sluice-none command=sluice-no-command\n")[1]


def test_what_has_a_use_is_installed_for_it_alone(install):
    listed = "sluice-none for=guest\n"
    assert install(listed) == (0, "")
    assert install(listed, "other") == (0, "")
    assert "missing: sluice-none;" in install(listed, "guest")[1]
    assert install("sluice-none command=sh for=guest\n", "guest") == (0, "")


def test_a_word_that_it_does_not_know_is_refused(install):
    code, said = install("sluice-none command=sh colour=red\n")
    assert code == 1
    assert "'colour=red' after 'sluice-none' is neither command=NAME nor for=USE" in said
