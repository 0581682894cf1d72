# SPDX-License-Identifier: Apache-2.0
"""Events are one storage with two views (KUBERNETES.md 1.29): they are kept as core/v1 has them, and
events.k8s.io/v1 has other names for the same fields."""

CORE_NAMES = {"regarding": "involvedObject", "note": "message", "reportingController": "reportingComponent",
              "deprecatedSource": "source", "deprecatedFirstTimestamp": "firstTimestamp",
              "deprecatedLastTimestamp": "lastTimestamp", "deprecatedCount": "count"}
NEW_NAMES = {core: new for new, core in CORE_NAMES.items()}
NEW_GROUP = "events.k8s.io"


def to_core(event):
    """Of what a client of events.k8s.io/v1 says."""
    return {CORE_NAMES.get(name, name): value for name, value in event.items()}


def view(resource, thing):
    """A stored object as the clients of a resource see it."""
    if resource.group != NEW_GROUP:
        return thing
    return {NEW_NAMES.get(name, name): value for name, value in thing.items()} | {"apiVersion": resource.api_version}


def fill(event):
    """What a real server says of an event in any case, in the core form."""
    event.setdefault("involvedObject", {})
    event.setdefault("source", {})
    for field in ("firstTimestamp", "lastTimestamp", "eventTime"):
        event.setdefault(field, None)
    for field in ("reportingComponent", "reportingInstance"):
        event.setdefault(field, "")
    return event
