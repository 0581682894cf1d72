# SPDX-License-Identifier: Apache-2.0
"""What the demo and the tour have in common: steps that are shown, and checks that count."""

import os
import pathlib
import sys
import time

from namespaces import NETNS_DIRECTORY, CommandFailed, Lab
from paths import ROOT


class Steps:
    """`gateway` is set once there is one."""

    def __init__(self, lab):
        self.lab = lab
        self.failed = []
        self.step_number = 0
        self.begun = time.monotonic()
        self.gateway = None

    def step(self, title):
        self.step_number += 1
        print(f"\n\033[1m{self.step_number}. {title}\033[0m" if sys.stdout.isatty()
              else f"\n{self.step_number}. {title}", flush=True)

    @staticmethod
    def show_command(command):
        print(f"   $ {command}", flush=True)

    @staticmethod
    def show(text):
        for line in text.rstrip().splitlines():
            print(f"     {line}")

    def expect(self, held, claim):
        print(f"   {'ok' if held else 'FAILED'}: {claim}", flush=True)
        if not held:
            self.failed.append(claim)

    def sluicectl(self, command, note="", shown=True):
        """Runs and shows `sluicectl COMMAND`; a refusal is a failed check."""
        self.show_command(f"sluicectl {command}{'   # ' + note if note else ''}")
        done = self.gateway.ctl(command, check=False)
        if shown or done.returncode != 0:
            self.show(done.stdout + done.stderr)
        if done.returncode != 0:
            self.expect(False, f"sluicectl {command}: exit code {done.returncode}")
        return done

    def stop(self):
        self.step("Stop: SIGTERM ends it cleanly")
        try:
            self.gateway.stop()
            self.expect(True, "exit code 0, socket gone")
        except CommandFailed as failure:
            self.show(str(failure))
            self.expect(False, "exit code 0, socket gone")


def short(path):
    return os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)


def prefix():
    """`sluice-demo`, unless another demo is up."""
    taken = any(pathlib.Path(NETNS_DIRECTORY).glob("sluice-demo-*"))
    return f"sluice-demo{os.getpid()}" if taken else "sluice-demo"


def run_steps(make, *arguments):
    """Runs `make(lab).run(*arguments)`; what is wrong in the end, or 0."""
    with Lab(prefix()) as lab:
        steps = make(lab)
        try:
            steps.run(*arguments)
        except (CommandFailed, OSError) as failure:
            print(f"\n{failure}")
            if steps.gateway is not None:
                print(f"log of sluiced:\n{steps.gateway.log()}")
            steps.failed.append("every step")
    print(f"\n{time.monotonic() - steps.begun:.0f} s; namespaces, processes and files are gone")
    if steps.failed:
        return "demo: did not hold:\n  " + "\n  ".join(steps.failed)
    print("demo: everything held")
    return 0
