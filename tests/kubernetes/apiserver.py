# SPDX-License-Identifier: Apache-2.0
"""A test API server that behaves as KUBERNETES.md section 1 says a real one does; numbers in comments
are that section's. What of it is here, each with a test of its own, is listed in README.md."""

import asyncio
import base64
import copy
import json
import time

from auth import REVIEWS, Accounts, Authenticator, review
from clock import Clock
from discovery import discovery
from events import NEW_GROUP, view
from faults import Faults
from http1 import PROTOBUF, Reply, read_request
from listener import Listener
from patches import PATCHES
from resources import RESOURCES, ApiError, no_such_resource, not_allowed, not_found
from scale import scale_of, scaled
from selection import is_selective, selection
from semantics import Semantics
from store import Store
from stored import compact, item_json
from table import table_of
from watch import LOOK_SECONDS, Watch

LOAD_SECONDS = 600


class ApiServer(Listener):
    """Runs in a thread of its own; a context manager. `tokens`: {token: None for everything, or the
    rights it has, as rbac.rights_of gives them}; `grants` the same by name, for ServiceAccounts and client
    certificates."""

    def __init__(self, tokens=None, ssl=None, address="127.0.0.1", bookmark_seconds=60, watch_seconds=1800,
                 future_seconds=3, token_grace_seconds=60, token_cache_seconds=10):
        super().__init__(ssl, address)
        self.clock, self.faults = Clock(), Faults()
        self.store = Store(self.clock)
        self.semantics = Semantics(self.store)
        self.tokens = {"admin": None} if tokens is None else tokens
        self.accounts = Accounts(self.store, self.clock, token_grace_seconds, token_cache_seconds)
        self.authenticator = Authenticator(self.tokens, self.accounts)
        self.grants = self.authenticator.grants
        self.bookmark_seconds, self.watch_seconds = bookmark_seconds, watch_seconds
        self.future_seconds = future_seconds
        self.requests = []  # (method, path) of each, in order
        self.verbs = []  # (verb, resource) of each that was let in, in order
        self.watches = {}  # that are open, by their connection
        self.snapshots = {}  # of lists that are read page by page, by resource, namespace, selectors and version

    # For tests, from their own thread: as if a client had written it.

    def put(self, plural, *things):
        """Creates or replaces objects, their status too; runs on the server's thread. Returns the last."""
        async def write():
            return copy.deepcopy([self.write(plural, thing) for thing in things][-1])
        return self.call(write(), 60)

    def load(self, plural, things):
        """As `put` of many that are not there yet, for large clusters: they are not copied, so nobody
        may change them any more."""
        resource = self.resource(plural)

        async def write():
            self.store.load(resource, (self.semantics.admit(resource, thing, None) for thing in things))
        self.call(write(), LOAD_SECONDS)

    def write(self, plural, thing):
        """As `put`, on the server's thread."""
        resource = self.resource(plural)
        namespace = thing["metadata"].get("namespace", "default") if resource.namespaced else None
        name = thing["metadata"].get("name")
        held = self.store.objects.get(resource, {}).get((namespace or "", name))
        whole = self.semantics.admit(resource, copy.deepcopy(thing), held)
        if held is None:
            return self.store.create(resource, namespace, whole)
        return self.store.replace(resource, namespace, name, whole)

    @staticmethod
    def resource(plural):
        return next(each for each in RESOURCES if each.plural == plural and each.group != NEW_GROUP)

    def say(self, plural, event):
        """An event of no object that is stored, or octets in its place, to all watches of a resource."""
        async def say():
            for watch in self.watches.values():
                if watch.resource.stored == self.resource(plural):
                    watch.say(event)
        self.call(say())

    def issue_token(self, name, seconds, namespace="default", rights=None):
        """For a ServiceAccount, which is made if it is not there. Any time is long enough."""
        async def issue():
            if (namespace, name) not in self.store.objects.get(self.resource("serviceaccounts"), {}):
                self.write("serviceaccounts", {"metadata": {"name": name, "namespace": namespace}})
            self.grants[f"system:serviceaccount:{namespace}:{name}"] = rights
            return self.accounts.issue(namespace, name, seconds)
        return self.call(issue())

    async def _forget(self):
        """1.11: a new process knows the objects, and no version from before."""
        self.snapshots.clear()
        self.store.restart()

    def _begin_what_is_never_ended(self, writer):
        if writer in self.watches:
            self.watches[writer].begin_event()

    # The way of a request.

    async def _connection(self, reader, writer):
        while not self.stopping and (request := await read_request(reader)) is not None:
            self.requests.append((request.method, request.path))
            self.busy.add(writer)
            reply = Reply(writer, request, self.clock)
            try:
                await self._answer(request, reply)
            except ApiError as error:
                await reply.whole(error.code, error.status(), error.headers)
            except json.JSONDecodeError as bad:
                error = ApiError(400, "BadRequest", f"the object provided is unrecognized: {bad}")
                await reply.whole(error.code, error.status())
            self.busy.discard(writer)

    async def _answer(self, request, reply):
        refusal = self.faults.refusal()
        if refusal is not None:
            code, headers = refusal
            raise ApiError(code, {401: "Unauthorized", 429: "TooManyRequests"}.get(code, "ServiceUnavailable"),
                           "Unauthorized" if code == 401 else "try again later", headers=headers)
        user = self.authenticator.user(request, reply.writer)
        found = discovery(request.path)
        if found is not None:
            await reply.whole(200, found)
            return
        if (request.method, request.path) == ("POST", REVIEWS):
            await reply.whole(201, review(user, request.json()))
            return
        resource, namespace, name, sub = self._route(request.path)
        verb, what = self._verb(request, name), resource.plural + (f"/{sub}" if sub else "")
        user.check(verb, resource, what, namespace)
        self.verbs.append((verb, what))
        self._check_accept(request)
        handler = {"list": self._list, "watch": self._watch, "create": self._create}.get(verb)
        if handler is not None and name is None:
            await handler(request, reply, resource, namespace)
        elif (resource.kind, sub, verb) == ("ServiceAccount", "token", "create"):
            await reply.whole(201, self.accounts.answer(namespace, name, request.json()))
        else:
            await self._one(verb, request, reply, resource, namespace, name, sub)

    @staticmethod
    def _route(path):
        """Resource, namespace (None: all, or none), name, subresource."""
        for resource in RESOURCES:
            if not path.startswith(resource.root + "/"):
                continue
            parts = path[len(resource.root) + 1:].split("/")
            namespace = None
            if parts[0] == "namespaces" and len(parts) > 2:
                namespace, parts = parts[1], parts[2:]
            if parts[0] == resource.plural and len(parts) <= 3:
                return resource, namespace, *(parts[1:] + [None, None])[:2]
        raise no_such_resource()

    @staticmethod
    def _verb(request, name):
        if request.method == "GET" and name is None:
            return "watch" if request.flag("watch") else "list"
        return {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]

    @staticmethod
    def _check_accept(request):
        accept = request.headers.get("accept", "*/*")
        if not any(word in accept for word in ("json", "*/*", "application/*", PROTOBUF, "yaml")):
            raise ApiError(406, "NotAcceptable", "only the following media types are accepted: application/json, "
                           "application/yaml, application/vnd.kubernetes.protobuf")

    # Lists.

    async def _list(self, request, reply, resource, namespace):
        await self._check_future(request.query.get("resourceVersion", ""))
        things, meta = self._page(request, resource, namespace)
        begun = time.monotonic()
        while self.faults.is_late(resource.plural, time.monotonic() - begun):
            await asyncio.sleep(LOOK_SECONDS)
        accept = request.headers.get("accept", "")
        if "as=Table" in accept:
            things = [self.faults.told(thing) for thing in things]
            await reply.whole(200, table_of(resource, things, meta["resourceVersion"], self.clock))
        elif request.wants_protobuf:  # 1.7
            await reply.whole(200, b"k8s\x00" + json.dumps(meta).encode(), content_type=PROTOBUF)
        else:
            items = b",".join(item_json(self.faults.told(view(resource, thing))) for thing in things)
            head = compact({"kind": resource.kind + "List", "apiVersion": resource.api_version, "metadata": meta})
            body = b'%s,"items":[%s]}\n' % (head[:-1], items)
            await reply.whole(200, json.loads(body) if reply.indent else body, compress=True,
                              longer=self.faults.longer)
            if self.faults.longer > 0:
                reply.cut()

    async def _check_future(self, version):
        if version.isdigit() and int(version) > self.store.version:  # 1.5
            await asyncio.sleep(self.future_seconds)
            raise ApiError(504, "Timeout", f"Too large resource version: {version}, current: {self.store.version}",
                           {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                            "retryAfterSeconds": 1}, {"Retry-After": "1"})

    def _page(self, request, resource, namespace):
        """1.2 to 1.4: all pages are of the first one's version, from a snapshot that can expire."""
        query = request.query
        asked_of = resource, namespace, query.get("labelSelector"), query.get("fieldSelector")
        limit = int(query.get("limit", 0))
        asked = query.get("resourceVersion", "")
        if asked == "0":
            limit = 0
        if query.get("resourceVersionMatch") == "Exact" and int(asked) < self.store.oldest:
            raise ApiError(410, "Expired", f"The resourceVersion for the provided list is too old. ({asked})")
        fits = selection(resource, query) if is_selective(query) else None
        version, begin = self._continued(query["continue"], asked_of) if query.get("continue") else (None, 0)
        things = self.snapshots.get((asked_of, version))
        if things is None:
            version, things = self.store.version, self.store.list(resource.stored, namespace, fits)
        meta = {"resourceVersion": str(version)}
        end = begin + limit if limit else len(things)
        if end < len(things):
            self.snapshots[asked_of, version] = things
            meta["continue"] = self._token(version, end)
            if not is_selective(query):
                meta["remainingItemCount"] = len(things) - end
        return things[begin:end], meta

    @staticmethod
    def _token(version, begin):
        return base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": begin}).encode()
                                        ).decode()

    def _continued(self, token, asked_of):
        """Version (None: what is there now, inconsistent with the pages before) and where to begin."""
        try:
            told = json.loads(base64.urlsafe_b64decode(token))
            version, begin = told["rv"], told["start"]
        except (ValueError, KeyError, TypeError) as bad:
            raise ApiError(400, "BadRequest", "continue key is not valid") from bad
        if version == -1:
            return None, begin
        if (asked_of, version) not in self.snapshots:
            raise ApiError(410, "Expired", "The provided continue parameter is too old to display a consistent list "
                           "result.", metadata={"continue": self._token(-1, begin)})
        return version, begin

    def expire(self):
        """Lists that are under way cannot be continued any more, nor watches from before."""
        self.snapshots.clear()
        self.store.compact()

    async def _watch(self, _, reply, resource, namespace):
        await Watch(self, reply, resource, namespace).run()

    # Single objects.

    async def _create(self, request, reply, resource, namespace):
        thing = request.json()
        if resource.namespaced and namespace is None:
            raise not_found(resource, "")
        made = self.store.create(resource.stored, namespace, self.semantics.admit(resource, thing, None))
        await reply.whole(201, view(resource, made))

    async def _one(self, verb, request, reply, resource, namespace, name, sub):
        held = self.store.get(resource.stored, namespace, name)
        if sub == "scale":
            await reply.whole(200, self._scale(verb, request, resource, held))
            return
        if verb == "get" and "as=Table" in request.headers.get("accept", ""):
            await reply.whole(200, table_of(resource, [held], str(self.store.version), self.clock))
            return
        held = view(resource, held)
        if verb == "get":
            await reply.whole(200, self.faults.told(held))
            return
        if verb == "delete":
            grace = request.query.get("gracePeriodSeconds", request.json().get("gracePeriodSeconds"))
            last = self.store.delete(resource.stored, namespace, name, None if grace is None else int(grace))
            await reply.whole(200, view(resource, last))
            return
        if verb == "create":
            raise not_allowed()
        if name in self.faults.deny:
            raise ApiError(403, "Forbidden", 'admission webhook "policy.example.com" denied the request: not this one')
        thing = self._wanted(verb, request, resource, held, sub)
        await reply.whole(200, view(resource, self.store.replace(resource.stored, namespace, name, thing)))

    def _scale(self, verb, request, resource, held):
        """As it is, after what was asked for."""
        if not resource.has_scale:
            raise no_such_resource()
        if verb not in ("get", "update", "patch"):
            raise not_allowed()
        if verb != "get":
            meta, asked = held["metadata"], self._asked(verb, request, scale_of(held))
            held = self.store.replace(resource, meta["namespace"], meta["name"], scaled(resource, held, asked))
        return scale_of(held)

    @staticmethod
    def _asked(verb, request, held):
        """What a PUT says, or a PATCH makes of what is there."""
        if verb == "update":
            return request.json()
        kind = request.headers.get("content-type", "").split(";")[0]
        if kind not in PATCHES:
            raise ApiError(415, "UnsupportedMediaType", "the body of the request was in an unknown format - "
                           f"accepted media types include: {', '.join(PATCHES)}")
        body = json.loads(request.body)
        asked = PATCHES[kind](copy.deepcopy(held), body)  # what comes out is changed further
        if isinstance(body, dict) and "resourceVersion" not in body.get("metadata", {}):
            asked["metadata"].pop("resourceVersion", None)  # the last writer wins
        return asked

    def _wanted(self, verb, request, resource, held, sub):
        """The whole object that a PUT or PATCH of it, or of its status, means."""
        asked = self._asked(verb, request, held)
        if sub == "status":
            return self.semantics.status_write(resource, held, asked)
        if resource.has_status and "status" in held:
            asked["status"] = copy.deepcopy(held["status"])
        return self.semantics.admit(resource, asked, held)
