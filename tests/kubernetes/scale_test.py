# SPDX-License-Identifier: Apache-2.0
"""The scale subresource of Deployments, beside what kubectl makes of it (clients_test.py)."""

WEB = "/apis/apps/v1/namespaces/default/deployments/web"
SCALE = f"{WEB}/scale"
MERGE = "application/merge-patch+json"


def test_a_scale_is_the_number_of_a_deployments_pods_and_nothing_else(server, client):
    server.put("deployments", {"metadata": {"name": "web"}, "status": {"replicas": 1}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web", "tier": "a"}}, "template": {"spec": {}}}})
    scale = client.get(SCALE).value
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert scale["status"] == {"replicas": 1, "selector": "app=web,tier=a"}
    patched = client.request("PATCH", SCALE, {"spec": {"replicas": 3, "template": {}}}, MERGE).value
    assert patched["spec"] == {"replicas": 3} and patched["metadata"]["uid"] == scale["metadata"]["uid"]
    held = client.get(WEB).value
    assert held["spec"]["replicas"] == 3 and held["spec"]["template"] == {"spec": {}}
    assert held["status"] == {"replicas": 1}
    stale = client.request("PUT", SCALE, scale)
    assert (stale.code, stale.value["reason"]) == (409, "Conflict")
    assert client.request("PUT", SCALE, patched | {"spec": {}}).value["spec"] == {}, "which is none"
    assert client.get(WEB).value["spec"]["replicas"] == 0
    refused = client.request("PATCH", SCALE, {"spec": {"replicas": -1}}, MERGE)
    assert refused.code == 422 and refused.value["details"]["causes"][0]["field"] == "spec.replicas"
    assert client.request("DELETE", SCALE).code == 405
    server.put("services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
    assert client.get("/api/v1/namespaces/default/services/web/scale").code == 404, "of another kind"
