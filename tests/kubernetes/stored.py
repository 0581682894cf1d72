# SPDX-License-Identifier: Apache-2.0
"""An object as the store holds it, and JSON of objects: that of a stored one is made once, which is
what lets a list of 50,000 be answered in no time."""

import copy
import json


def compact(value):
    """As Go writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


class Stored(dict):
    """Never changed. A deep copy of it is a plain object, for those who want to change it."""

    __slots__ = ("_item",)

    def __deepcopy__(self, memo):
        return copy.deepcopy(dict(self), memo)

    @property
    def item(self):
        """Its JSON without kind and apiVersion."""
        try:
            return self._item
        except AttributeError:
            self._item = _item_json(self)
            return self._item


def _item_json(thing):
    return compact({key: value for key, value in thing.items() if key not in ("kind", "apiVersion")})


def item_json(thing):
    """As an item of a list (1.1)."""
    return thing.item if isinstance(thing, Stored) else _item_json(thing)


def event_json(event):
    """Of a watch. What a test says need not be of any form."""
    thing = event.get("object")
    if not isinstance(thing, Stored):
        return compact(event)
    head = compact({"kind": thing["kind"], "apiVersion": thing["apiVersion"]})
    return b'{"type":%s,"object":%s,%s}' % (compact(event["type"]), head[:-1], thing.item[1:])
