"""Ports: what a program listens on, what its container says, and what services, probes, policies and scrapes name."""

from __future__ import annotations

from munjang.v1 import embedding_service_pb2, job_service_pb2, model_service_pb2, rerank_service_pb2

SETTINGS = {
    "munjang-server": {"grpc": "MUNJANG_PORT", "http": "MUNJANG_HTTP_PORT", "metrics": "MUNJANG_METRICS_PORT"},
    "munjang-worker": {"metrics": "MUNJANG_WORKER_METRICS_PORT"},
}


def ports(workload, pod_of):
    """The container's ports by name."""
    (container,) = pod_of(workload)["spec"]["containers"]
    return {each["name"]: each["containerPort"] for each in container.get("ports", [])}


def behind(service, rendered, pod_of):
    """The workloads that a service selects."""
    selector = service["spec"]["selector"].items()
    return [each for each in rendered.workloads() if selector <= pod_of(each)["metadata"]["labels"].items()]


def test_a_container_says_the_ports_that_its_settings_set(rendered, pod_of):
    for name, settings in SETTINGS.items():
        workload = rendered.named("Deployment", name)
        (container,) = pod_of(workload)["spec"]["containers"]
        values = {each["name"]: each.get("value") for each in container["env"]}
        assert ports(workload, pod_of) == {port: int(values[setting]) for port, setting in settings.items()}
        hosts = {values[each] for each in values if each.endswith("HOST")}
        assert hosts == {"0.0.0.0"}


def test_a_service_leads_to_a_port_of_its_pods(rendered, pod_of):
    for service in rendered.of("Service"):
        (workload,) = behind(service, rendered, pod_of)
        for port in service["spec"]["ports"]:
            assert ports(workload, pod_of)[port["targetPort"]] == port["port"]


def test_clients_can_balance_by_a_headless_service(rendered):
    assert rendered.named("Service", "munjang-server-headless")["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in rendered.named("Service", "munjang-server")["spec"]


def test_a_probe_asks_a_port_of_its_container(rendered, pod_of):
    for workload in rendered.workloads():
        known = ports(workload, pod_of)
        (container,) = pod_of(workload)["spec"]["containers"]
        for kind in ("startup", "readiness", "liveness"):
            probe = container.get(f"{kind}Probe", {})
            asked = {probe[way]["port"] for way in ("grpc", "httpGet", "tcpSocket") if way in probe}
            assert asked <= {*known, *known.values()}


def test_a_policy_names_ports_of_the_pods_that_it_lets_in(rendered, pod_of):
    for policy in rendered.of("NetworkPolicy"):
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        for rule in policy["spec"].get("ingress", []):
            chosen = [
                each for each in rendered.workloads() if selector.items() <= pod_of(each)["metadata"]["labels"].items()
            ]
            allowed = {port["port"] for port in rule["ports"]}
            assert all(allowed <= set(ports(each, pod_of).values()) for each in chosen)


def test_policies_let_the_programs_reach_what_their_settings_name(render, pod_of):
    for name in ("network-policies", "network-policies+s3-registry", "external-redis+network-policies"):
        rendered = render(name)
        policies = {each["metadata"]["name"]: each["spec"] for each in rendered.of("NetworkPolicy")}
        for program in ("munjang-server", "munjang-worker"):
            labels = pod_of(rendered.named("Deployment", program))["metadata"]["labels"]
            out = [
                {port["port"] for port in rule["ports"]}
                for spec in policies.values()
                if spec["podSelector"].get("matchLabels", {}).items() <= labels.items()
                for rule in spec.get("egress", [])
            ]
            assert {6379} in out
            assert {53} in out
            assert ({443} in out) == ("s3" in name)
            assert ({6379, 6380} in out) == ("redis" in name)


def test_without_the_component_nothing_is_closed(render):
    assert render("cpu").of("NetworkPolicy") == []
    assert render("gateway").of("NetworkPolicy") == []


def test_prometheus_scrapes_each_program_once(render, pod_of):
    rendered = render("monitoring")
    (monitor,) = rendered.of("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    scraped = [each for each in rendered.of("Service") if wanted <= each["metadata"].get("labels", {}).items()]
    jobs = [each["metadata"]["labels"][monitor["spec"]["jobLabel"]] for each in scraped]
    assert sorted(jobs) == ["munjang-server", "munjang-worker"]
    for service in scraped:
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_gateway_leads_to_the_servers(render):
    rendered = render("gateway")
    (route,), (gateway,) = rendered.of("GRPCRoute"), rendered.of("Gateway")
    assert [each["name"] for each in route["spec"]["parentRefs"]] == [gateway["metadata"]["name"]]
    for rule in route["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            service = rendered.named("Service", backend["name"])
            assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_the_gateway_knows_every_service_of_the_contract(render):
    (route,) = render("gateway").of("GRPCRoute")
    routed = {match["method"]["service"] for rule in route["spec"]["rules"] for match in rule["matches"]}
    modules = (embedding_service_pb2, job_service_pb2, model_service_pb2, rerank_service_pb2)
    served = {service.full_name for module in modules for service in module.DESCRIPTOR.services_by_name.values()}
    assert routed == served | {"grpc.health.v1.Health"}
