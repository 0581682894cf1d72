# SPDX-License-Identifier: Apache-2.0
"""Hugepages for as long as they are needed."""

import contextlib
import pathlib

POOL = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def pages_of(name):
    return int((POOL / name).read_text())


def grow_pool(pages):
    (POOL / "nr_hugepages").write_text(f"{pages_of('nr_hugepages') + pages}\n")


@contextlib.contextmanager
def reserved_hugepages(pages):
    """At least so many of 2 MiB are free inside the block; what was added goes again after it."""
    before = pages_of("nr_hugepages")
    grow_pool(max(pages - pages_of("free_hugepages"), 0))
    added = pages_of("nr_hugepages") - before
    try:
        free = pages_of("free_hugepages")
        if free < pages:
            raise OSError(f"{pages} hugepages of 2 MiB are needed and the kernel has {free}; "
                          "free some memory")
        yield
    finally:
        grow_pool(-added)
