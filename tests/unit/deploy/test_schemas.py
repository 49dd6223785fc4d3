"""Every rendered object is valid, strictly: an unknown or misspelt field is an error."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from jsonschema import Draft202012Validator
from kubernetes_validate import utils
from pydantic import ValidationError

CRDS = yaml.safe_load((Path(__file__).parent / "crds.yaml").read_text(encoding="utf-8"))
OLDEST, NEWEST = "1.30.0", kubernetes_validate.latest_version()
BATCHES = 6
PUBLISHED = {
    kind: getattr(module, kind)
    for module, kinds in {
        keda: ("ScaledObject", "TriggerAuthentication"),
        prometheus_operator: ("ServiceMonitor", "PrometheusRule"),
    }.items()
    for kind in kinds
}
"""Models that are generated from the CRDs as their projects publish them; none is for the Gateway API."""
_valid: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def _each_schema_is_read_once():
    """Keep what `kubernetes_validate` reads, which are megabytes of JSON for every object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        yield


def strict(schema):
    """The schema, with every object closed but those that say `open`."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items() if key != "open"}
    if isinstance(schema.get("properties"), dict) and not schema.get("open"):
        closed |= {"type": "object", "additionalProperties": False}
        closed["properties"] = {name: strict(each) for name, each in schema["properties"].items()}
    return closed


@functools.cache
def validator(kind):
    """What validates custom resources of a kind."""
    crd = CRDS[kind]
    metadata = {"properties": {"name": {"type": "string"}, "namespace": {"type": "string"}, "labels": {"open": True}}}
    whole = {
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": crd["apiVersion"]},
            "kind": {"const": kind},
            "metadata": metadata,
            "spec": crd["spec"],
        },
    }
    return Draft202012Validator(strict(whole))


def custom(each):
    """The errors of a custom resource."""
    return [f"{error.json_path}: {error.message}" for error in validator(each["kind"]).iter_errors(each)]


def published(each):
    """What the published CRD has against a custom resource; what it does not know is lost on the way through it."""
    try:
        kept = PUBLISHED[each["kind"]].model_validate(each).model_dump(mode="json", by_alias=True, exclude_unset=True)
    except ValidationError as error:
        return [str(error)]
    return [] if kept == each else [f"{each['kind']} {each['metadata']['name']} has fields that its CRD does not know"]


def errors(each):
    """What is wrong with an object; the same object is looked at once."""
    key = json.dumps(each, sort_keys=True)
    if key in _valid:
        return []
    found = []
    if each["kind"] in CRDS:
        found = custom(each) + (published(each) if each["kind"] in PUBLISHED else [])
    else:
        for version in (OLDEST, NEWEST):
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{each['kind']} {each['metadata']['name']} {list(error.path)}: {error.message}")
    if not found:
        _valid.add(key)
    return found


def test_every_object_is_valid_for_the_oldest_and_newest_kubernetes(rendered):
    assert len(rendered.objects) > 10
    assert [error for each in rendered.objects for error in errors(each)] == []


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_supported_combination_of_components_renders_to_valid_objects(batch, every_combination, render_together):
    chosen = every_combination[batch::BATCHES]
    assert len(chosen) > 40
    for names, objects in zip(chosen, render_together(chosen), strict=True):
        assert len(objects) > 10, names
        assert [error for each in objects for error in errors(each)] == [], names


def test_no_two_objects_have_one_name(rendered):
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in rendered.objects]
    assert len(set(names)) == len(names)


def test_everything_is_in_one_namespace_which_enforces_the_restricted_standard(rendered):
    (namespace,) = rendered.of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = {each["metadata"].get("namespace") for each in rendered.objects if each["kind"] != "Namespace"}
    assert others == {namespace["metadata"]["name"]}


def test_the_behaviour_that_keda_hands_to_its_hpa_is_valid_too(render):
    hpa = render("hpa").named("HorizontalPodAutoscaler", "munjang-server")
    for each in render("keda").of("ScaledObject"):
        config = each["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
        assert errors(hpa | {"spec": hpa["spec"] | {"behavior": config["behavior"]}}) == []


@pytest.mark.parametrize("kind", sorted(CRDS))
def test_the_schemas_of_custom_resources_refuse_an_unknown_field_anywhere(render, kind):
    everything = [each for name in ("keda+monitoring", "gateway") for each in render(name).of(kind)]
    assert everything
    spoilt = json.loads(json.dumps(everything[0]))
    spoilt["spec"]["replcias"] = 1
    assert custom(spoilt)
    assert kind not in PUBLISHED or published(spoilt)


def test_the_readme_names_every_overlay_and_component():
    folder = Path(__file__).resolve().parents[3] / "deploy"
    text = (folder / "README.md").read_text(encoding="utf-8")
    for kind in ("overlays", "components"):
        for each in (folder / "k8s" / kind).iterdir():
            assert f"`{each.name}`" in text or f"{kind}/{each.name}`" in text
