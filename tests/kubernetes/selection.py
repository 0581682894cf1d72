# SPDX-License-Identifier: Apache-2.0
"""labelSelector and fieldSelector, as predicates on stored objects."""

from events import CORE_NAMES, NEW_GROUP
from resources import ApiError

# Besides metadata.name and metadata.namespace, which all have.
FIELDS = {
    "Event": {f"involvedObject.{field}" for field in ("kind", "namespace", "name", "uid", "apiVersion",
                                                      "resourceVersion", "fieldPath")}
             | {"reason", "reportingComponent", "source", "type"},
    "Pod": {"spec.nodeName", "status.phase", "status.podIP"},
    "Service": {"spec.clusterIP", "spec.type"},
}


def selection(resource, query):
    """Whether an object is among those that a list or watch asks for."""
    labels = parse_labels(query.get("labelSelector", ""))
    fields = parse_fields(resource, query.get("fieldSelector", ""))
    return lambda thing: labels(thing) and fields(thing)


def is_selective(query):
    return bool(query.get("labelSelector") or query.get("fieldSelector"))


def parse_labels(text):
    """"a=b,c!=d,e,!f"."""
    def term(word):
        if "!=" in word:
            key, value = word.split("!=", 1)
            return lambda labels: labels.get(key) != value
        if "=" in word:
            key, value = word.replace("==", "=").split("=", 1)
            return lambda labels: labels.get(key) == value
        if word.startswith("!"):
            return lambda labels: word[1:] not in labels
        return lambda labels: word in labels
    terms = [term(word.strip()) for word in text.split(",") if word.strip()]
    return lambda thing: all(holds(thing["metadata"].get("labels") or {}) for holds in terms)


def parse_fields(resource, text):
    """"a=b,c!=d" of the fields that a resource can be asked for by."""
    terms = []
    for word in text.split(","):
        if not word:
            continue
        field, equals, value = word.partition("=")
        if not equals:
            raise ApiError(400, "BadRequest", f"invalid selector: '{text}'; can't understand '{word}'")
        is_wanted = not field.endswith("!")
        field = _stored_name(resource, field.rstrip("!"))
        terms.append((field, value.removeprefix("="), is_wanted))
    return lambda thing: all((_value(thing, field) == value) == is_wanted for field, value, is_wanted in terms)


def _stored_name(resource, field):
    first, *rest = field.split(".")
    if resource.group == NEW_GROUP:
        name = ".".join([CORE_NAMES.get(first, first), *rest]) if first not in CORE_NAMES.values() else ""
    else:
        name = field
    if name not in ("metadata.name", "metadata.namespace") and name not in FIELDS.get(resource.kind, ()):
        raise ApiError(400, "BadRequest", f"field label not supported: {field}")
    return name


def _value(thing, field):
    """As text; what is not there is empty."""
    if field == "source" and thing["kind"] == "Event":
        return (thing.get("source") or {}).get("component") or thing.get("reportingComponent") or ""
    for part in field.split("."):
        thing = thing.get(part) if isinstance(thing, dict) else None
    return "" if thing is None else str(thing)
