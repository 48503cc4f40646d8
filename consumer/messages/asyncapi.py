"""Describes every message in and out as one AsyncAPI document, with JSON Schemas of the bodies.

Nothing is written by hand here that another module knows: fields come from the contracts, names and states from the
machine, exchanges from the topology.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter

from consumer.broker.topology import Topology
from consumer.domain.existing_product_states import LOCKED_STATES
from consumer.messages.inbound_contracts import CONTRACTS
from consumer.messages.outbound_contracts import EventBody, LiveEventBody, RejectionBody
from consumer.messages.rejected_signups import WEBSITE_REJECTED, RejectionCode
from statemachine import State, Trigger

ASYNCAPI = "3.0.0"
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
BINDING_VERSION = "0.3.0"
STATES = (*(state.value for state in State), *sorted(LOCKED_STATES))
"""Every state that a website may be in, those of the existing product's own among them."""
IN_HEADERS = {"traceparent": "W3C trace context, which is passed on"}


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each message's body, by the message's name: those that come in, then the events."""
    return dict(_schemas_in()) | dict(_schemas_out())


def document(namespace: str = "provisioning") -> dict[str, Any]:
    """Return the AsyncAPI document of a namespace."""
    topology = Topology(namespace)
    taken, published = dict(_schemas_in()), dict(_schemas_out())
    channels = {"commands": (topology.commands_exchange, taken), "events": (topology.events_exchange, published)}
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Website provisioner",
            "version": version("website-provisioner"),
            "description": "What the service takes from RabbitMQ and publishes there. docs/messages.md has more.",
        },
        "defaultContentType": "application/json",
        "channels": {
            name: {
                "address": exchange,
                "bindings": {"amqp": _exchange_binding(exchange)},
                "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in messages},
            }
            for name, (exchange, messages) in channels.items()
        },
        "operations": {
            f"{action} {message}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
                "bindings": {"amqp": {"cc": [message], "deliveryMode": 2, "bindingVersion": BINDING_VERSION}},
            }
            for channel, action, messages in (("commands", "receive", taken), ("events", "send", published))
            for message in messages
        },
        "components": {
            "messages": {message: _message(message, schema) for message, schema in (taken | published).items()}
        },
    }


def as_yaml(described: Mapping[str, Any]) -> str:
    """Return a document as YAML, in its own order."""
    text: str = yaml.safe_dump(dict(described), sort_keys=False, allow_unicode=True, width=120)
    return text


def _exchange_binding(exchange: str) -> dict[str, Any]:
    described = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False}
    return {"is": "routingKey", "exchange": described, "bindingVersion": BINDING_VERSION}


def _message(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    headers = {header: {"type": "string", "description": text} for header, text in IN_HEADERS.items()}
    return {
        "name": name,
        "title": name,
        "summary": str(schema["description"]).partition("\n")[0],
        "contentType": "application/json",
        "headers": {"type": "object", "properties": headers},
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": dict(schema)},
        "bindings": {"amqp": {"messageType": name, "bindingVersion": BINDING_VERSION}},
    }


def _schemas_in() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, contract in CONTRACTS.items():
        yield name, _schema(name, contract)


def _schemas_out() -> Iterator[tuple[str, dict[str, Any]]]:
    for state in STATES:
        name = f"website.{state}"
        schema = _schema(name, LiveEventBody if state == State.LIVE else EventBody)
        fields = schema["properties"]
        fields["to_state"] |= {"const": state}
        fields["from_state"] |= {"examples": list(STATES)}
        # The existing product moves its websites itself, and the log has words of its own for that.
        fields["trigger"] |= {"examples": [trigger.value for trigger in Trigger]}
        yield name, schema
    schema = _schema(WEBSITE_REJECTED, RejectionBody)
    schema["properties"]["code"] |= {"enum": [code.value for code in RejectionCode]}
    yield WEBSITE_REJECTED, schema


def _schema(name: str, contract: Any) -> dict[str, Any]:
    if isinstance(contract, type) and issubclass(contract, BaseModel):
        schema = contract.model_json_schema()
    else:
        schema = TypeAdapter(contract).json_schema()
    return {"$schema": SCHEMA_DIALECT, **_without_titles(schema), "title": name}


def _without_titles(value: Any) -> Any:
    """Return a schema without the titles that pydantic makes of field names."""
    if isinstance(value, dict):
        return {
            key: _without_titles(part) for key, part in value.items() if not (key == "title" and isinstance(part, str))
        }
    return [_without_titles(part) for part in value] if isinstance(value, list) else value
