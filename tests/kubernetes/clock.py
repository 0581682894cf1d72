# SPDX-License-Identifier: Apache-2.0
"""The server's wall clock, which may be wrong."""

import email.utils
import time


class Clock:
    """A test may set it wrong, or on, by `skew` seconds: Date headers, timestamps in objects and the ends
    of tokens go by it. What is awaited (timeouts, bookmarks) does not."""

    def __init__(self):
        self.skew = 0

    def now(self):
        return time.time() + self.skew

    def stamp(self, later=0):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now() + later))

    def http_date(self):
        return email.utils.formatdate(self.now(), usegmt=True)
