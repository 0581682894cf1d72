# SPDX-License-Identifier: Apache-2.0
"""kubectl asks for tables (KUBERNETES.md 1.33)."""

import calendar
import dataclasses
import time
import typing


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    cell: typing.Callable  # of an object and the time
    is_wide: bool = False  # shown only by `-o wide`


def _external_ip(service, _):
    spec = service["spec"]
    ingress = [entry.get("ip") or entry.get("hostname")
               for entry in service.get("status", {}).get("loadBalancer", {}).get("ingress") or []]
    addresses = ingress + (spec.get("externalIPs") or [])
    if addresses:
        return ",".join(addresses)
    return "<pending>" if spec.get("type") == "LoadBalancer" else "<none>"


def _ports(service, _):
    return ",".join(f"{port['port']}{':%d' % port['nodePort'] if port.get('nodePort') else ''}/{port['protocol']}"
                    for port in service["spec"].get("ports") or []) or "<none>"


def age(stamp, now):
    """As kubectl says it: 5s, 3m10s, 4h5m, 3d."""
    if not stamp:
        return "<unknown>"
    seconds = max(0, int(now - calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))))
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 2:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


def _first_seen(event, now):
    return age(event.get("firstTimestamp") or event.get("eventTime"), now)


def _last_seen(event, now):
    series = event.get("series") or {}
    return age(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("firstTimestamp")
               or event.get("eventTime"), now)


def _object(event, _):
    about = event["involvedObject"]
    return "/".join(word for word in (about.get("kind", "").lower(), about.get("name")) if word)


def _source(event, _):
    source = event.get("source") or {}
    return ", ".join(word for word in (source.get("component") or event.get("reportingComponent"),
                                       source.get("host")) if word)


NAME = Column("Name", lambda thing, _: thing["metadata"]["name"])
AGE = Column("Age", lambda thing, now: age(thing["metadata"].get("creationTimestamp"), now))

COLUMNS = {
    "Service": [NAME, Column("Type", lambda thing, _: thing["spec"]["type"]),
                Column("Cluster-IP", lambda thing, _: thing["spec"].get("clusterIP", "<none>")),
                Column("External-IP", _external_ip), Column("Port(s)", _ports), AGE],
    "Event": [Column("Last Seen", _last_seen), Column("Type", lambda event, _: event.get("type", "")),
              Column("Reason", lambda event, _: event.get("reason", "")), Column("Object", _object),
              Column("Subobject", lambda event, _: event["involvedObject"].get("fieldPath", ""), True),
              Column("Source", _source, True), Column("Message", lambda event, _: event.get("message", "").strip()),
              Column("First Seen", _first_seen, True),
              Column("Count", lambda event, _: (event.get("series") or {}).get("count") or event.get("count") or 1,
                     True), dataclasses.replace(NAME, is_wide=True)],
}


def table_of(resource, things, version, clock):
    """A meta.k8s.io/v1 Table of stored objects."""
    columns, now = COLUMNS.get(resource.kind, [NAME, AGE]), clock.now()
    rows = [{"cells": [column.cell(thing, now) for column in columns],
             "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                        "metadata": thing["metadata"]}} for thing in things]
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
            "columnDefinitions": [{"name": column.name, "type": "integer" if column.name == "Count" else "string",
                                   "format": "name" if column.name == "Name" else "", "description": column.name,
                                   "priority": int(column.is_wide)} for column in columns],
            "rows": rows}
