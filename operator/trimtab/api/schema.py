"""CustomResourceDefinitions from the wire models: pydantic's JSON schema made structural.

The API server takes neither $ref nor anyOf (but for int-or-string), and refuses a schema whose rules could cost too
much: the bounds that the models declare keep them cheap.
"""

from __future__ import annotations

from typing import Any

from trimtab.api.base import DEFAULT_KEY, RULES_KEY, UNIT_KEY, WireModel
from trimtab.api.experiment import Experiment
from trimtab.api.trial import TrialManifest
from trimtab.domain.kinds import EXPERIMENTS, TRIALS, Kind

Schema = dict[str, Any]
_DOC_KEYS = (UNIT_KEY, DEFAULT_KEY)
_ORDER = {key: place for place, key in enumerate(("description", "type", "format", "enum", "default", "required"))}
_DROPPED = ("title", "$defs", "additionalProperties")


def inlined(model: type[WireModel]) -> Schema:
    """The model's JSON schema without references, optional markers and titles; documentation keys are kept."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    schema: Schema = _inline(raw, raw.get("$defs", {}))
    return schema


def _inline(node: Any, definitions: Schema) -> Any:
    """Resolve one node: a reference's own keywords lose against those written beside it."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = dict(node)
    if "$ref" in node:
        target = definitions[node.pop("$ref").rsplit("/", 1)[1]]
        return _inline({**target, **node}, definitions)
    if "anyOf" in node:
        choices = [choice for choice in node.pop("anyOf") if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"not structural: {choices}")
        return _inline({**_inline(choices[0], definitions), **node}, definitions)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("default", ...) is None:
        del node["default"]
    return {key: _value(key, value, definitions) for key, value in node.items() if key not in _DROPPED}


def _value(key: str, value: Any, definitions: Schema) -> Any:
    if key == "properties":
        return {name: _inline(child, definitions) for name, child in value.items()}
    return value if key in {"default", RULES_KEY, "enum", "required"} else _inline(value, definitions)


def structural(node: Schema, *, defaults: bool = True) -> Schema:
    """What the API server takes: documentation keys removed, integers with a format, defaults only in a spec."""
    out = {key: value for key, value in node.items() if key not in _DOC_KEYS}
    if not defaults:
        out.pop("default", None)
    if out.get("type") == "integer":
        out["format"] = "int64"
    if out.get("type") == "number":
        out["format"] = "double"
    if "properties" in out:
        out["properties"] = {name: structural(child, defaults=defaults) for name, child in out["properties"].items()}
    if "items" in out:
        out["items"] = structural(out["items"], defaults=defaults)
    if not out.get("required", True):
        del out["required"]
    return {key: out[key] for key in sorted(out, key=lambda key: (_ORDER.get(key, len(_ORDER)), key))}


def _root(model: type[WireModel], *, spec_defaults: bool) -> Schema:
    schema = inlined(model)
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    out: Schema = {
        "type": "object",
        "description": schema["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of this object."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": structural(spec, defaults=spec_defaults),
            "status": structural(status, defaults=False),
        },
    }
    if RULES_KEY in schema:
        out[RULES_KEY] = schema[RULES_KEY]
    return out


def _column(name: str, path: str, description: str, *, kind: str = "string", wide: bool = False) -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": path, "description": description}
    if wide:
        column["priority"] = 1
    return column


EXPERIMENT_COLUMNS = (
    _column("TARGET", ".spec.targetRef.name", "The workload under tuning."),
    _column("PHASE", ".status.phase", "Where the Experiment stands."),
    _column("TRIALS", ".status.display.trials", "Judged trials, verification apart, and at most."),
    _column("SAVING", ".status.display.saving", "What the incumbent, in the end the recommendation, saves."),
    _column("SLO", ".status.display.slo", "Whether every error budget held since the first trial."),
    _column("BUDGET", ".status.display.budget", "Least remaining error budget."),
    _column("MESSAGE", ".status.display.message", "One line with numbers."),
    _column("AGE", ".metadata.creationTimestamp", "Time since creation.", kind="date"),
    _column("ACTIVE", ".status.display.active", "Live trials.", wide=True),
)
TRIAL_COLUMNS = (
    _column("EXPERIMENT", ".spec.experiment.name", "The Experiment that the Trial belongs to."),
    _column("PURPOSE", ".spec.purpose", "Why this trial runs."),
    _column("PHASE", ".status.phase", "Where the trial stands."),
    _column("ASSIGNMENT", ".spec.summary", "The values under trial."),
    _column("REASON", ".status.outcome.reason", "Why it ended."),
    _column("AGE", ".metadata.creationTimestamp", "Time since creation.", kind="date"),
    _column("MESSAGE", ".status.outcome.message", "Why it ended, in one line with numbers.", wide=True),
)


def _definition(kind: Kind, short: str, schema: Schema, columns: tuple[Schema, ...]) -> Schema:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [short],
                "categories": ["trimtab"],
            },
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(columns),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def experiment_crd() -> Schema:
    """The CustomResourceDefinition of Experiment."""
    return _definition(EXPERIMENTS, "tune", _root(Experiment, spec_defaults=True), EXPERIMENT_COLUMNS)


def trial_crd() -> Schema:
    """The CustomResourceDefinition of Trial; its spec has no defaults, as only the operator writes it."""
    return _definition(TRIALS, "tunetrial", _root(TrialManifest, spec_defaults=False), TRIAL_COLUMNS)
