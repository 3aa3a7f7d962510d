"""The OpenAPI document of a model that speaks Cog's HTTP API: what both of Cog's generations say, and our additions.

Clients, Replicate's among them, read the components ``Input`` and ``Output``; these are as Cog 0.16 wrote them with pydantic 2.
"""

from __future__ import annotations

from typing import Any, Final

from drivetrain.model.json_schema import (
    Components,
    Schema,
    enum_schema,
    field_schema,
    object_schema,
    reference,
    title_of,
    type_schema,
)
from drivetrain.model.signature import EnumOf, Field, ListOf, ModelOf, OptionalOf, Signature, Type

#: Components that are the protocol's, or that clients find by these names.
_RESERVED: Final = frozenset(
    f"{prefix}{noun}" for prefix in ("", "Training", "Prediction") for noun in ("Input", "Output", "Request", "Response")
) | {"Status", "WebhookEvent", "HTTPValidationError", "ValidationError"}

_STATUSES: Final = ("starting", "processing", "succeeded", "canceled", "failed")
_WEBHOOK_EVENTS: Final = ("start", "output", "logs", "completed")


def openapi_document(predict: Signature | None, train: Signature | None, *, version: str) -> dict[str, Any]:
    """Describe a model's HTTP API.

    Args:
        predict: Signature of predictions, if it runs them.
        train: Signature of trainings, if it runs them.
        version: Shown as the document's version.
    """
    components = Components(_RESERVED)
    own: dict[str, Schema] = {}
    paths = _common_paths()
    if predict is not None:
        own |= _components_of(predict, components, run="Prediction", prefix="")
        paths |= _paths_of(predict, run="prediction", verb="predict")
    if train is not None:
        own |= _components_of(train, components, run="Training", prefix="Training")
        paths |= _paths_of(train, run="training", verb="train")
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": version},
        "paths": paths,
        "components": {"schemas": own | components.schemas | _common_components()},
    }


def _components_of(signature: Signature, components: Components, *, run: str, prefix: str) -> dict[str, Schema]:
    input_name, output_name = f"{prefix}Input", f"{prefix}Output"
    return {
        input_name: _input_schema(signature, input_name, components),
        output_name: _output_schema(signature.output, output_name, components),
        f"{run}Request": _object(f"{run}Request", _request_fields(reference(input_name))),
        f"{run}Response": _object(f"{run}Response", _response_fields(reference(input_name), reference(output_name))),
    }


def _input_schema(signature: Signature, name: str, components: Components) -> Schema:
    schema = object_schema(name, (), components)
    schema["properties"] = {
        field.name: _input_property(field, components) | {"x-order": order} for order, field in enumerate(signature.inputs)
    }
    if required := [field.name for field in signature.inputs if field.required]:
        schema["required"] = required
    if signature.accepts_extra:
        schema["additionalProperties"] = True
    return schema


def _input_property(field: Field, components: Components) -> Schema:
    type_ = field.type.of if isinstance(field.type, OptionalOf) else field.type
    choices = field.choices or (type_.values if isinstance(type_, EnumOf) else ())
    schema = field_schema(field, components)
    if not choices:
        return schema
    if isinstance(type_, ListOf):
        schema["items"]["enum"] = list(choices)
        return schema
    # Clients find choices through a component that is named for the input.
    kept = ("description", "default", "deprecated", "nullable")
    return {"allOf": [components.refer(field.name, enum_schema(field.name, choices))]} | {
        word: schema[word] for word in kept if word in schema
    }


def _output_schema(type_: Type, name: str, components: Components) -> Schema:
    if isinstance(type_, ModelOf) and type_.name in ("Output", "TrainingOutput"):
        return object_schema(name, type_.fields, components)
    if isinstance(type_, EnumOf) and not type_.name:
        return enum_schema(name, type_.values)
    schema = type_schema(type_, components)
    return schema if "$ref" in schema else {"title": name, **schema}


def _request_fields(input_: Schema) -> dict[str, Schema]:
    return {
        "input": {**input_, "nullable": True},
        "id": _nullable("string"),
        "created_at": _nullable("string", format="date-time"),
        "context": _nullable("object", additionalProperties={"type": "string"}),
        "output_file_prefix": _nullable("string"),
        "webhook": _nullable("string", format="uri", minLength=1, maxLength=65536),
        "webhook_events_filter": _nullable("array", items=reference("WebhookEvent"), default=list(_WEBHOOK_EVENTS)),
    }


def _response_fields(input_: Schema, output: Schema) -> dict[str, Schema]:
    return {
        "input": {**input_, "nullable": True},
        "output": output,
        "id": _nullable("string"),
        "version": _nullable("string"),
        "created_at": _nullable("string", format="date-time"),
        "started_at": _nullable("string", format="date-time"),
        "completed_at": _nullable("string", format="date-time"),
        "logs": {"type": "string", "default": ""},
        "error": _nullable("string"),
        "status": {**reference("Status"), "nullable": True},
        "metrics": _nullable("object", additionalProperties=True),
    }


def _nullable(type_: str, **more: Any) -> Schema:
    return {"type": type_, "nullable": True, **more}


def _object(title: str, fields: dict[str, Schema]) -> Schema:
    titled = {name: schema if "$ref" in schema else {"title": title_of(name), **schema} for name, schema in fields.items()}
    return {"title": title, "type": "object", "properties": titled}


def _common_components() -> dict[str, Schema]:
    location = {"type": "array", "title": "Location", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
    message, kind = {"type": "string", "title": "Message"}, {"type": "string", "title": "Error Type"}
    detail = {"type": "array", "title": "Detail", "items": reference("ValidationError")}
    return {
        "Status": enum_schema("Status", _STATUSES),
        "WebhookEvent": enum_schema("WebhookEvent", _WEBHOOK_EVENTS),
        "HTTPValidationError": {"title": "HTTPValidationError", "type": "object", "properties": {"detail": detail}},
        "ValidationError": {
            "title": "ValidationError",
            "type": "object",
            "properties": {"loc": location, "msg": message, "type": kind},
            "required": ["loc", "msg", "type"],
        },
    }


def _common_paths() -> dict[str, Any]:
    return {
        "/": {"get": _operation("Root", "root__get")},
        "/health-check": {"get": _operation("Healthcheck", "healthcheck_health_check_get")},
        "/shutdown": {"post": _operation("Start Shutdown", "start_shutdown_shutdown_post")},
    }


def _paths_of(signature: Signature, *, run: str, verb: str) -> dict[str, Any]:
    """The paths for predictions or for trainings. The operation ids are those that FastAPI made from function names and paths."""
    many, parameter, noun = f"{run}s", f"{run}_id", run.capitalize()
    id_ = {"name": parameter, "in": "path", "required": True, "schema": {"type": "string", "title": f"{noun} ID"}}
    prefer = {"name": "prefer", "in": "header", "required": False, "schema": {"type": "string", "title": "Prefer"}}
    cancel = "cancel" if run == "prediction" else "cancel_training"
    response = reference(f"{noun}Response")
    request = reference(f"{noun}Request")
    streaming = {"x-cog-streaming": True} if signature.streaming else {}
    return {
        f"/{many}": {
            "post": {
                **_operation(
                    verb.capitalize(),
                    f"{verb}_{many}_post",
                    f"Run a single {run} on the model",
                    parameters=[prefer],
                    response=response,
                    body={"content": _json(request)},
                ),
                **streaming,
            }
        },
        f"/{many}/{{{parameter}}}": {
            "put": {
                **_operation(
                    f"{verb.capitalize()} Idempotent",
                    f"{verb}_idempotent_{many}__{parameter}__put",
                    f"Run a single {run} on the model (idempotent creation).",
                    parameters=[id_, prefer],
                    response=response,
                    body={"required": True, "content": _json({"allOf": [request], "title": f"{noun} Request"})},
                ),
                **streaming,
            },
            "get": _operation(
                f"Get {noun}",
                f"get_{many}__{parameter}__get",
                f"Look at a {run} that is under way or ended a short while ago",
                parameters=[id_],
                response=response,
            ),
        },
        f"/{many}/{{{parameter}}}/cancel": {
            "post": _operation(
                title_of(cancel),
                f"{cancel}_{many}__{parameter}__cancel_post",
                f"Cancel a running {run}",
                parameters=[id_],
            )
        },
    }


def _operation(
    summary: str,
    operation_id: str,
    description: str | None = None,
    *,
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
    response: Schema | None = None,
) -> dict[str, Any]:
    schema = response or {"title": f"response_{operation_id}".replace("_", " ").title()}
    responses = {"200": {"description": "Successful Response", "content": _json(schema)}}
    if parameters:
        responses["422"] = {"description": "Validation Error", "content": _json(reference("HTTPValidationError"))}
    return {
        "summary": summary,
        **({"description": description} if description else {}),
        "operationId": operation_id,
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": body} if body else {}),
        "responses": responses,
    }


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
