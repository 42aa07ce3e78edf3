"""JSON Schema (draft 2020-12) of every config, from the signatures of what is registered.

One schema serves whole configs and their bases alike: a file that inherits may leave out anything, ``type``
included, so nothing is required. Where ``type`` is left out, an argument must be one of those that some part
in this place takes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from omma.config.signature import (
    MAPPINGS,
    SEQUENCES,
    SignatureUnknown,
    is_made,
    is_union,
    made_by,
    parameters,
    slot_classes,
    takes_fields,
)
from omma.registry import RegistryError, lookup, names

Schema = dict[str, Any]
_PLAIN: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
    Path: "string",
}
_NULL: Schema = {"type": "null"}
_REFERENCE: Schema = {"type": "string", "pattern": r"\$\{[^}]+\}"}


def json_schema(root: Callable[..., Any]) -> Schema:
    """The schema of configs whose root is ``root``, with all registered parts that can be imported."""
    writer = _Writer(_parts())
    top = writer.fields(root)
    base = {"description": "configs to build on", "type": ["string", "array"], "items": {"type": "string"}}
    top["properties"] = {"base": base, **top["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": writer.definitions, **top}


def _parts() -> dict[str, tuple[Callable[..., Any], Any]]:
    """Name -> (class or function, class of what it makes)."""
    found = {}
    for name in names():
        try:
            target = lookup(name)
            parameters(target)
            found[name] = (target, made_by(target))
        except (ImportError, RegistryError, SignatureUnknown):
            continue  # a part whose optional package is missing can't be used here either
    return found


class _Writer:
    """Schemas of annotations; parts and slots go into ``definitions``, where others refer to them."""

    def __init__(self, parts: dict[str, tuple[Callable[..., Any], Any]]) -> None:
        self.parts = parts
        self.definitions: dict[str, Schema] = {}

    def fields(self, target: Callable[..., Any], name: str | None = None) -> Schema:
        """A mapping with the arguments of ``target``."""
        properties: dict[str, Schema] = {"type": {"const": name}} if name else {}
        forced: dict[str, Schema] = {}
        for key, param in parameters(target).items():
            schema = self.hint(param.hint)
            properties[key] = _or_reference(schema)
            if not param.required:
                properties[key] = {**properties[key], **_default(param.default)}
            if _holds_mapping(param.hint):
                forced[f"{key}!"] = properties[key]
        out: Schema = {
            "type": "object",
            "properties": {**properties, **forced},
            "additionalProperties": False,
        }
        if text := inspect.getdoc(target):
            out["description"] = text.split("\n\n")[0].replace("\n", " ")
        return out

    def hint(self, hint: Any) -> Schema:
        """What the annotation ``hint`` allows."""
        origin, args = get_origin(hint), get_args(hint)
        base = origin or hint
        if is_union(hint):
            return self.union(hint)
        if base in _PLAIN:
            return {"type": _PLAIN[base]}
        if origin is Literal:
            return {"enum": list(args)}
        if base in SEQUENCES:
            return self.sequence(base, args)
        if base in MAPPINGS:
            return {"type": "object", "additionalProperties": self.hint(args[1]) if args else {}}
        return self.slot((base,)) if inspect.isclass(base) and base is not object else {}

    def union(self, hint: Any) -> Schema:
        plain = [option for option in get_args(hint) if not slot_classes(option)]
        options = [self.hint(option) for option in plain]
        if classes := slot_classes(hint):
            options.append(self.slot(classes))
        if {} in options:
            return {}
        if len(options) == 2 and _NULL in options:
            (other,) = [option for option in options if option != _NULL]
            return _unless(_NULL, other)
        return {"anyOf": options}

    def sequence(self, base: Any, args: tuple[Any, ...]) -> Schema:
        if not args:
            return {"type": "array"}
        if base is tuple and args[-1] is not Ellipsis:
            items = [_or_reference(self.hint(arg)) for arg in args]
            return {"type": "array", "prefixItems": items, "minItems": len(args), "maxItems": len(args)}
        return {"type": "array", "items": _or_reference(self.hint(args[0]))}

    def slot(self, classes: tuple[type, ...]) -> Schema:
        """A mapping for one of the parts (or dataclasses) that ``classes`` allow."""
        key = "any-" + "-or-".join(each.__name__ for each in classes)
        if key not in self.definitions:
            self.definitions[key] = {}  # a class may take others of its own kind
            self.definitions[key] = self.choice(classes)
        return {"$ref": f"#/$defs/{key}"}

    def choice(self, classes: tuple[type, ...]) -> Schema:
        plain = [self.fields(each) for each in classes if takes_fields(each)]
        fitting = [
            name for name, (_, made) in self.parts.items() if any(is_made(made, each) for each in classes)
        ]
        if not fitting:
            return plain[0] if len(plain) == 1 else {"anyOf": plain} if plain else {"type": "object"}
        for name in fitting:
            self.part(name)
        takers = [
            *(each for each in classes if takes_fields(each)),
            *(self.parts[name][0] for name in fitting),
        ]
        keys = {"type", "type!", *(key for taker in takers for key in _keys(taker))}
        branches = [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in fitting
        ]
        return {
            "type": "object",
            "properties": {"type": {"enum": fitting}, "type!": {"enum": fitting}},
            "propertyNames": {"enum": sorted(keys)},
            "allOf": branches,
        }

    def part(self, name: str) -> None:
        """Define one registered part."""
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.fields(self.parts[name][0], name)


def _unless(other: Schema, schema: Schema) -> Schema:
    """``schema``, or ``other``. Unlike ``anyOf`` it lets a validator say where the mistake is."""
    return {"if": other, "else": schema}


def _or_reference(schema: Schema) -> Schema:
    return schema if schema in ({}, {"type": "string"}) else _unless(_REFERENCE, schema)


def _keys(target: Callable[..., Any]) -> list[str]:
    """The arguments of ``target`` as a config may write them."""
    params = parameters(target)
    return [*params, *(f"{key}!" for key, param in params.items() if _holds_mapping(param.hint))]


def _holds_mapping(hint: Any) -> bool:
    """Whether a child config may replace the value as a whole by ``key!:``."""
    return bool(slot_classes(hint)) or get_origin(hint) in MAPPINGS


def _default(value: Any) -> Schema:
    if isinstance(value, float) and not math.isfinite(value):
        return {}
    return {"default": value} if isinstance(value, bool | int | float | str | None) else {}
