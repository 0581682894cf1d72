# SPDX-License-Identifier: Apache-2.0
"""What the test API server holds, and its errors in the words of a real one."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Resource:
    group: str  # "" for the core
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    has_scale: bool = False
    short: tuple = ()

    @property
    def api_version(self):
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self):
        """Where its API lives."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def stored(self):
        """What its objects are kept as: both kinds of events are one."""
        return CORE_EVENTS if self.kind == "Event" else self


CORE_EVENTS = Resource("", "v1", "events", "Event", short=("ev",))
RESOURCES = (
    Resource("", "v1", "services", "Service", has_status=True, short=("svc",)),
    Resource("", "v1", "nodes", "Node", namespaced=False, has_status=True, short=("no",)),
    Resource("", "v1", "namespaces", "Namespace", namespaced=False, has_status=True, short=("ns",)),
    CORE_EVENTS,
    Resource("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",)),
    Resource("", "v1", "pods", "Pod", has_status=True, short=("po",)),
    Resource("apps", "v1", "deployments", "Deployment", has_status=True, has_scale=True, short=("deploy",)),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease"),
    Resource("events.k8s.io", "v1", "events", "Event", short=("ev",)),
)


class ApiError(Exception):
    """Becomes a Status object, as `kind: Status` bodies are."""

    def __init__(self, code, reason, message, details=None, headers=None, metadata=None):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details, self.headers, self.metadata = details, headers or {}, metadata or {}

    def status(self):
        status = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure",
                  "message": self.message, "code": self.code}
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        return status


def no_such_resource():
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def not_allowed():
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def not_found(resource, name):
    return ApiError(404, "NotFound", f'{resource.plural} "{name}" not found',
                    {"name": name, "kind": resource.plural})


def conflict(resource, name):
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {resource.plural} "{name}": the object '
                    "has been modified; please apply your changes to the latest version and try again",
                    {"name": name, "kind": resource.plural})


def invalid(resource, name, field, why, reason="FieldValueInvalid"):
    return ApiError(422, "Invalid", f'{resource.kind} "{name}" is invalid: {field}: {why}',
                    {"name": name, "kind": resource.kind,
                     "causes": [{"reason": reason, "message": why, "field": field}]})


def gone(asked, oldest):
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")
