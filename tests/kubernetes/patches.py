# SPDX-License-Identifier: Apache-2.0
"""The three ways to patch an object (KUBERNETES.md 1.27)."""

import copy

from resources import ApiError

# Lists that a strategic merge goes into by the key that names their elements; a list of words by the
# word itself (""). All others are replaced.
MERGE_KEYS = {"ports": "port", "finalizers": "", "conditions": "type", "ownerReferences": "uid",
              "containers": "name", "ingress": "ip"}


def merge(target, patch):
    """RFC 7386: a list is replaced whole."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target, patch, field=""):
    """A list of known key is merged into, element by element."""
    if isinstance(patch, list) and field in MERGE_KEYS:
        return _merge_list(target if isinstance(target, list) else [], patch, MERGE_KEYS[field])
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key == "$patch" or key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            result[name] = [word for word in result.get(name, []) if word not in value]
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, key)
    return result


def _merge_list(target, patch, key):
    if key == "":
        return target + [word for word in patch if word not in target]
    result = list(target)
    for element in patch:
        same = [i for i, old in enumerate(result) if old.get(key) == element.get(key)]
        if element.get("$patch") == "delete":
            result = [old for i, old in enumerate(result) if i not in same]
        elif same:
            result[same[0]] = strategic(result[same[0]], element)
        else:
            result.append(copy.deepcopy(element))
    return result


def json_patch(target, operations):
    """RFC 6902, as far as clients of ours go: add, replace, remove, test."""
    result = copy.deepcopy(target)
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        holder = result
        for part in way:
            holder = holder[int(part)] if isinstance(holder, list) else holder.setdefault(part, {})
        _carry_out(holder, last, operation)
    return result


def _carry_out(holder, last, operation):
    kind, path = operation["op"], operation["path"]
    if isinstance(holder, list):
        place = len(holder) if last == "-" else int(last)
        present = holder[place] if place < len(holder) else None
    else:
        place, present = last, holder.get(last)
    if kind == "test":
        if present != operation.get("value"):
            raise ApiError(422, "Invalid", f"the server rejected our request: testing path {path} failed")
    elif kind == "remove":
        if present is None:
            raise ApiError(422, "Invalid", f"remove operation does not apply: doc is missing path: {path}")
        del holder[place]
    elif kind == "add" and isinstance(holder, list):
        holder.insert(place, operation["value"])
    elif kind in ("add", "replace"):
        holder[place] = operation["value"]
    else:
        raise ApiError(400, "BadRequest", f"unknown operation {kind}")


PATCHES = {"application/merge-patch+json": merge,
           "application/strategic-merge-patch+json": strategic,
           "application/json-patch+json": json_patch}
