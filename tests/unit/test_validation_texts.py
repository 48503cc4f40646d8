"""What pydantic refuses is said in our own words, whichever contract, setting or request it is about."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from consumer.config import Settings
from consumer.domain.validation_texts import TEXTS, validation_text
from consumer.messages.inbound_contracts import CONTRACTS
from ops.console.access.settings import ConsoleSettings


class Sample(BaseModel):
    """A field of each kind."""

    model_config = ConfigDict(extra="forbid")
    count: Annotated[int, Field(ge=1, le=5)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    name: Annotated[str, Field(min_length=1, max_length=3)] = "a"
    kind: Literal["a", "b"] = "a"
    flag: bool = True
    rows: list[int] = []

    @field_validator("name")
    @classmethod
    def _no_x(cls, value: str) -> str:
        if value == "x":
            raise ValueError("must not be x")
        return value


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"count": 0}, "must be 1 or more"),
        ({"count": 6}, "must be 5 or less"),
        ({"count": "many"}, "must be a whole number"),
        ({"count": 1.5}, "must be a whole number"),
        ({"share": 0}, "must be more than 0.0"),
        ({"share": 1}, "must be less than 1.0"),
        ({"share": "half"}, "must be a number"),
        ({"name": ""}, "must be 1 or more characters long"),
        ({"name": "abcd"}, "must be at most 3 characters long"),
        ({"name": 5}, "must be a text"),
        ({"name": "x"}, "must not be x"),
        ({"kind": "c"}, "must be one of a, b"),
        ({"flag": "perhaps"}, "must be true or false"),
        ({"rows": 3}, "must be a list"),
        ({"colour": "red"}, "is not known"),
    ],
)
def test_each_kind_has_a_sentence(given: dict[str, object], text: str) -> None:
    """It says what is allowed, and not what was given."""
    with pytest.raises(ValidationError) as refused:
        Sample.model_validate(given)
    (error,) = refused.value.errors()
    assert validation_text(error) == text


@pytest.mark.parametrize("model", [*CONTRACTS.values(), Settings, ConsoleSettings], ids=lambda model: model.__name__)
def test_no_kind_that_occurs_is_left_to_pydantic(model: type[BaseModel]) -> None:
    """Wrong values of every type for every field of our models: each error is one with a sentence of ours."""
    for wrong in (None, True, 1.5, -1, 10**30, "", "x" * 5000, "\ud800", [], {}, [{}], "nan"):
        try:
            model.model_validate(dict.fromkeys(model.model_fields, wrong))
        except ValidationError as refused:
            kinds = {error["type"] for error in refused.errors()}
            assert kinds <= {*TEXTS, "value_error", "string_pattern_mismatch"}, wrong
