"""Derives ``sandbox/fcm_schema.json`` from Google's machine-readable description of FCM v1.

The description ships in the development dependency google-api-python-client. Run it after that package was updated:
``python tools/fcm_schema.py``.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

ROOT_TYPE = "SendMessageRequest"
TARGET = Path(__file__).resolve().parent.parent / "sandbox" / "fcm_schema.json"
FORMATS = {"google-duration": "duration", "google-datetime": "datetime"}


def description() -> dict[str, Any]:
    """Google's document, found without importing the package: its import costs seconds."""
    spec = importlib.util.find_spec("googleapiclient")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("google-api-python-client is not installed")
    document = Path(spec.origin).parent / "discovery_cache" / "documents" / "fcm.v1.json"
    loaded: dict[str, Any] = json.loads(document.read_text())
    return loaded


def kind(field: dict[str, Any]) -> str:
    """A field's type in one word, e.g. ``string``, ``list:duration``, ``map:string``, ``ref:Message``, ``enum:A|B``."""
    if "$ref" in field:
        return f"ref:{field['$ref']}"
    if "enum" in field:
        return "enum:" + "|".join(field["enum"])
    if field["type"] == "array":
        return f"list:{kind(field['items'])}"
    if field["type"] == "object":
        values = field["additionalProperties"]["type"]
        return "object" if values == "any" else f"map:{values}"
    return FORMATS.get(field.get("format", ""), str(field["type"]))


def collect(schemas: dict[str, Any], name: str, types: dict[str, dict[str, str]]) -> None:
    """Adds the type and everything it refers to."""
    if name in types:
        return
    types[name] = {field: kind(spec) for field, spec in schemas[name].get("properties", {}).items()}
    for word in types[name].values():
        if "ref:" in word:
            collect(schemas, word.rpartition("ref:")[2], types)


def derive() -> dict[str, Any]:
    """What the sandbox needs: the revision, and every type that a send can hold."""
    document = description()
    types: dict[str, dict[str, str]] = {}
    collect(document["schemas"], ROOT_TYPE, types)
    return {"revision": document["revision"], "root": ROOT_TYPE, "types": types}


if __name__ == "__main__":
    TARGET.write_text(json.dumps(derive(), indent=1) + "\n")
    print(TARGET)
