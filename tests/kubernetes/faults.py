# SPDX-License-Identifier: Apache-2.0
"""What a test lets go wrong."""

import collections
import dataclasses

from patches import merge


@dataclasses.dataclass
class Faults:
    """From now on; each as long as it is set, those in queues once for each entry. `plural` is a
    resource: "services"."""

    # Requests.
    refuse: collections.deque = dataclasses.field(default_factory=collections.deque)  # (code, headers)
    storm: tuple = None     # (code, headers) of every answer
    deny: set = dataclasses.field(default_factory=set)  # names of which an admission webhook denies changes
    # Objects.
    longer: int = 0         # lists are shorter than their Content-Length by so much; less than 0: longer
    spoil: dict = dataclasses.field(default_factory=dict)  # {name: merge patch} of what is told of it
    delay: dict = dataclasses.field(default_factory=dict)  # {plural: seconds} that lists and events are late
    hold: set = dataclasses.field(default_factory=set)     # plurals with no list and no event for now
    # Watches.
    gone: float = 0         # watches that are answered 410; math.inf: all
    cut_at: list = dataclasses.field(default_factory=list)  # (plural, "before", "inside" or "after" its event)
    cut_after: int = None   # octets of a watch stream, then it is cut
    byte_delay: float = 0   # seconds for each octet of a watch stream
    silent: bool = False    # watches are open and say nothing; what they owe comes afterwards
    duplicate: bool = False  # each event is sent twice

    def refusal(self):
        """(code, headers) for a request, or None."""
        return self.refuse.popleft() if self.refuse else self.storm

    def told(self, thing):
        """An object as it goes out."""
        patch = self.spoil.get(thing["metadata"].get("name"))
        return thing if patch is None else merge(thing, patch)

    def is_late(self, plural, waited_seconds):
        return plural in self.hold or waited_seconds < self.delay.get(plural, 0)

    def cut_of(self, plural):
        """Where the next event of a resource is cut, if at all."""
        for entry in self.cut_at:
            if entry[0] == plural:
                self.cut_at.remove(entry)
                return entry[1]
        return None
