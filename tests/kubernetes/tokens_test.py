# SPDX-License-Identifier: Apache-2.0
"""Tokens of ServiceAccounts end (KUBERNETES.md 1.22). The server's clock is set on, so nobody waits."""

import base64
import json
import time

from apiserver import ApiServer
from client import Client

SERVICES = "/api/v1/services"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


def code(server, token):
    return Client(server, token).get(SERVICES).code


def test_22_a_token_is_good_for_a_minute_after_its_end_and_no_longer(server):
    token = server.issue_token("adapter", 600)
    assert code(server, token) == 200
    server.clock.skew = 600 + 59
    assert code(server, token) == 200
    server.clock.skew = 600 + 59 + 11
    refused = Client(server, token).get(SERVICES)
    assert refused.code == 401 and refused.value["reason"] == "Unauthorized"


def test_22_that_a_token_was_good_is_remembered_for_ten_seconds(server):
    token = server.issue_token("adapter", 600)
    server.clock.skew = 659
    assert code(server, token) == 200
    server.clock.skew = 668
    assert code(server, token) == 200, "past its end and the minute, but remembered"
    server.clock.skew = 670
    assert code(server, token) == 401, "what is remembered is not remembered anew"
    server.clock.skew = 661
    assert code(server, server.issue_token("adapter", 0)) == 200
    never_seen = server.issue_token("adapter", -61)
    assert code(server, never_seen) == 401


def test_22_both_times_can_be_short():
    with ApiServer(token_grace_seconds=0, token_cache_seconds=0) as server:
        token = server.issue_token("adapter", 0.5)
        assert code(server, token) == 200
        time.sleep(0.6)
        assert code(server, token) == 401
        assert code(server, server.issue_token("adapter", 600)) == 200, "a new one is as good as the first was"


def test_22_a_watch_opened_before_the_end_is_not_cut(server):
    token = server.issue_token("adapter", 600)
    stream = Client(server, token).watch(f"{SERVICES}?watch=true&resourceVersion={server.store.version}")
    server.clock.skew = 3600
    assert code(server, token) == 401
    server.put("services", {"metadata": {"name": "late"}, "spec": {"ports": [{"port": 80}]}})
    assert stream.next()["object"]["metadata"]["name"] == "late"
    stream.close()


def test_22_tokens_go_with_their_account_once_they_are_forgotten(server):
    token = server.issue_token("adapter", 600)
    assert code(server, token) == 200
    Client(server).request("DELETE", f"{ACCOUNTS}/adapter")
    assert code(server, token) == 200
    server.clock.skew = 12
    assert code(server, token) == 401
    server.put("serviceaccounts", {"metadata": {"name": "adapter"}})
    assert code(server, token) == 401, "a new account of that name is another one"


def test_22_a_token_request_is_for_ten_minutes_at_least(server):
    server.put("serviceaccounts", {"metadata": {"name": "adapter"}})
    ask = lambda name, **spec: Client(server).request("POST", f"{ACCOUNTS}/{name}/token", {"spec": spec})  # noqa: E731
    short = ask("adapter", expirationSeconds=599)
    assert short.code == 422 and short.value["details"]["causes"][0]["field"] == "spec.expirationSeconds"
    assert ask("nobody").code == 404
    made = ask("adapter", expirationSeconds=600)
    assert made.code == 201 and made.value["kind"] == "TokenRequest"
    token = made.value["status"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["sub"] == "system:serviceaccount:default:adapter" and claims["exp"] - claims["iat"] == 600
    assert made.value["status"]["expirationTimestamp"] == time.strftime(
        "%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims["exp"]))
    assert code(server, token) == 403, "who it is, is known; it may nothing yet"


def test_22_an_account_may_what_it_was_granted(server):
    token = server.issue_token("adapter", 600, rights={("list", "", "services", None)})
    assert code(server, token) == 200
    refused = Client(server, token).get("/api/v1/pods")
    assert refused.code == 403 and "system:serviceaccount:default:adapter" in refused.value["message"]
    assert Client(server, token).request("POST", f"{ACCOUNTS}/adapter/token", {}).code == 403
