# SPDX-License-Identifier: Apache-2.0
"""Who asks, and what they may (KUBERNETES.md 1.21 to 1.23)."""

import base64
import dataclasses
import json
import secrets

from resources import RESOURCES, ApiError, invalid

ACCOUNTS = next(resource for resource in RESOURCES if resource.kind == "ServiceAccount")
AUDIENCE = "https://kubernetes.default.svc"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
TOKEN_SECONDS, TOKEN_SECONDS_MIN = 3600, 600


@dataclasses.dataclass(frozen=True)
class User:
    name: str
    rights: object  # None: all; else those that rbac.rights_of describes

    def may(self, verb, group, what, namespace):
        """`what`: a resource, or resource/subresource. `namespace` None: in all of them, or what is in none."""
        return self.rights is None or any((verb, group, what, where) in self.rights for where in (None, namespace))

    def check(self, verb, resource, what, namespace):
        if not self.may(verb, resource.group, what, namespace):
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
            raise ApiError(403, "Forbidden", f'{name} is forbidden: User "{self.name}" cannot {verb} resource '
                           f'"{what}" in API group "{resource.group}" {where}')


def review(user, asked):
    """The answer to a SelfSubjectAccessReview, which everybody may ask for."""
    what = asked.get("spec", {}).get("resourceAttributes", {})
    name = what.get("resource", "") + (f"/{what['subresource']}" if what.get("subresource") else "")
    allowed = user.may(what.get("verb", ""), what.get("group", ""), name, what.get("namespace") or None)
    return asked | {"metadata": {}, "status": {"allowed": allowed}}


def _part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class Accounts:
    """Tokens of ServiceAccounts. One is good until a while after its end, and for as long as its
    account is there; that it was good is remembered for a few seconds."""

    def __init__(self, store, clock, grace_seconds, cache_seconds):
        self.store, self.clock = store, clock
        self.grace_seconds, self.cache_seconds = grace_seconds, cache_seconds
        self._issued = {}  # token: (namespace, name, uid, end)
        self._remembered = {}  # token: until when

    def issue(self, namespace, name, seconds):
        """A JWT, as far as its reader can tell."""
        uid = self.store.get(ACCOUNTS, namespace, name)["metadata"]["uid"]
        now = self.clock.now()
        claims = {"aud": [AUDIENCE], "exp": int(now + seconds), "iat": int(now), "iss": AUDIENCE,
                  "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
                  "sub": f"system:serviceaccount:{namespace}:{name}"}
        token = f"{_part({'alg': 'RS256', 'kid': 'test'})}.{_part(claims)}.{secrets.token_urlsafe(32)}"
        self._issued[token] = (namespace, name, uid, now + seconds)
        return token

    def user(self, token):
        """Its name; None: the token is not, or no longer, good."""
        if token not in self._issued:
            return None
        namespace, name, uid, end = self._issued[token]
        now = self.clock.now()
        if now >= self._remembered.get(token, 0):
            account = self.store.objects.get(ACCOUNTS, {}).get((namespace, name))
            if account is None or account["metadata"]["uid"] != uid or now >= end + self.grace_seconds:
                return None
            self._remembered[token] = now + self.cache_seconds
        return f"system:serviceaccount:{namespace}:{name}"

    def answer(self, namespace, name, asked):
        """To a TokenRequest."""
        seconds = asked.get("spec", {}).get("expirationSeconds") or TOKEN_SECONDS
        if seconds < TOKEN_SECONDS_MIN:
            raise invalid(ACCOUNTS, name, "spec.expirationSeconds",
                          f"Invalid value: {seconds}: may not specify a duration less than 10 minutes")
        token = self.issue(namespace, name, seconds)
        return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
                "metadata": {"name": name, "namespace": namespace, "creationTimestamp": self.clock.stamp()},
                "spec": {"audiences": [AUDIENCE], "expirationSeconds": seconds},
                "status": {"token": token, "expirationTimestamp": self.clock.stamp(seconds)}}


class Authenticator:
    """`tokens`: {token: rights} of tokens without an end; `grants`: {name: rights} of ServiceAccounts
    (system:serviceaccount:NAMESPACE:NAME) and of client certificates (their CN)."""

    def __init__(self, tokens, accounts):
        self.tokens, self.accounts = tokens, accounts
        self.grants = {}

    def user(self, request, writer):
        """1.21: a bad token is unauthorized, none at all is anonymous."""
        certified = self._common_name(writer.get_extra_info("peercert"))
        if certified is not None:
            return User(certified, self.grants.get(certified, ()))
        words = request.headers.get("authorization", "").split()
        if len(words) != 2:
            raise ApiError(403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path '
                           f'"{request.path}"')
        if words[1] in self.tokens:
            return User("test", self.tokens[words[1]])
        account = self.accounts.user(words[1])
        if account is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return User(account, self.grants.get(account, ()))

    @staticmethod
    def _common_name(certificate):
        """Of one that the TLS context has verified."""
        for part in (certificate or {}).get("subject", ()):
            for key, value in part:
                if key == "commonName":
                    return value
        return None
