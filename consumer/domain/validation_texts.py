"""What pydantic refuses, in our own words: one sentence for each kind of error, without the value that was refused."""

from collections.abc import Mapping
from typing import Any

TEXTS = {
    "missing": "is required",
    "extra_forbidden": "is not known",
    "string_type": "must be a text",
    "string_too_short": "must be {min_length} or more characters long",
    "string_too_long": "must be at most {max_length} characters long",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "path_type": "must be a path",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_unicode": "must be a text of whole characters: it has half of a surrogate pair",
}
"""By pydantic's name for what is wrong."""


def validation_text(error: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors means, for whoever wrote the value.

    Args:
        error: an item of `ValidationError.errors()`, with its context. An error that a validator of ours raised has its
            own text; one of a kind that is not listed has pydantic's.
    """
    context = dict(error.get("ctx", {}))
    if error["type"] == "value_error" and "error" in context:
        return str(context["error"])
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace("'", "").replace(" or ", ", ")
    return TEXTS[error["type"]].format_map(context) if error["type"] in TEXTS else str(error["msg"])
