"""The playground's form is drawn from the input schema and gives back JSON values."""

from typing import Any

import pytest
from django import forms

from marketplace.pages.form import Lines, Rows, UnknownInputError, in_order, inputs_form

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "fps": {"type": "integer", "enum": [12, 24], "default": 24},
        "seed": {"type": "integer", "minimum": 0},
        "sound": {"type": "boolean", "default": True},
        "style": {"type": "string", "maxLength": 400},
        "prompt": {"type": "string", "title": "Prompt", "minLength": 1, "maxLength": 400},
        "guidance": {"type": "number", "minimum": 1, "maximum": 10},
        "reference": {"type": "string", "format": "uri"},
        "pictures": {"type": "array", "items": {"type": "string", "format": "uri"}},
        "loras": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "weight": {"type": "number", "minimum": -4, "maximum": 4},
                    "name": {"type": "string", "enum": ["ink", "clay"]},
                },
            },
        },
    },
}
FILLED = {"prompt": "red heart", "fps": "12", "sound": "on", "guidance": "2.5", "seed": "0"}


def test_required_inputs_come_first_then_texts_and_the_seed_last() -> None:
    assert in_order(SCHEMA)[:3] == ["prompt", "style", "reference"]
    assert in_order(SCHEMA)[-1] == "seed"


@pytest.mark.parametrize(
    ("name", "field", "widget"),
    [
        ("prompt", forms.CharField, forms.Textarea),
        ("style", forms.CharField, forms.TextInput),
        ("reference", forms.URLField, forms.URLInput),
        ("fps", forms.TypedChoiceField, forms.Select),
        ("seed", forms.IntegerField, forms.NumberInput),
        ("guidance", forms.FloatField, forms.NumberInput),
        ("sound", forms.BooleanField, forms.CheckboxInput),
        ("pictures", Lines, forms.Textarea),
        ("loras", Rows, forms.Textarea),
    ],
)
def test_each_type_has_its_field(
    name: str, field: type[forms.Field], widget: type[forms.Widget]
) -> None:
    drawn = inputs_form(SCHEMA)().fields[name]
    assert type(drawn) is field
    assert type(drawn.widget) is widget


def test_a_list_has_one_value_on_each_line() -> None:
    form = inputs_form(SCHEMA)({"prompt": "a", "pictures": " https://a.example \n\nfile_1\n"})
    assert form.is_valid()
    assert form.inputs()["pictures"] == ["https://a.example", "file_1"]


def test_a_list_of_objects_has_one_on_each_line() -> None:
    form = inputs_form(SCHEMA)({"prompt": "a", "loras": "ink 0.5\n\n clay \n"})
    assert form.is_valid()
    assert form.inputs()["loras"] == [{"name": "ink", "weight": 0.5}, {"name": "clay"}]
    assert form.fields["loras"].help_text == "One on each line: name and weight."
    empty = inputs_form(SCHEMA)({"prompt": "a"})
    assert empty.is_valid()
    assert "loras" not in empty.inputs()


@pytest.mark.parametrize("line", ["oil", "ink much", "ink 9", "ink 1 1"])
def test_a_wrong_line_of_a_list_is_wrong_at_its_field(line: str) -> None:
    form = inputs_form(SCHEMA)({"prompt": "a", "loras": line})
    assert list(form.errors) == ["loras"]


def test_text_from_a_browser_becomes_json_values() -> None:
    form = inputs_form(SCHEMA)(FILLED)
    assert form.is_valid()
    assert form.inputs() == {
        "prompt": "red heart",
        "fps": 12,
        "sound": True,
        "guidance": 2.5,
        "seed": 0,
    }


def test_an_unchecked_box_says_false_and_an_empty_field_says_nothing() -> None:
    form = inputs_form(SCHEMA)({"prompt": "tomato"})
    assert form.is_valid()
    assert form.inputs() == {"prompt": "tomato", "sound": False}


def test_a_missing_prompt_is_named_but_does_not_keep_the_price_back() -> None:
    form = inputs_form(SCHEMA)({"fps": "24"})
    assert form.errors == {"prompt": ["Prompt is missing."]}
    assert form.is_right_so_far()


def test_a_wrong_number_keeps_the_price_back() -> None:
    form = inputs_form(SCHEMA)({**FILLED, "guidance": "11"})
    assert not form.is_right_so_far()
    assert list(form.errors) == ["guidance"]


def test_a_refusal_by_the_schema_stands_at_its_field() -> None:
    form = inputs_form(SCHEMA)(FILLED)
    form.is_valid()
    form.blame("inputs.guidance", "inputs.guidance must be at most 10.")
    assert form.errors == {"guidance": ["This must be at most 10."]}


def test_a_refusal_of_no_field_stands_above_the_form() -> None:
    form = inputs_form(SCHEMA)(FILLED)
    form.is_valid()
    form.blame("inputs", "inputs must be an object.")
    assert form.non_field_errors() == ["inputs must be an object."]


def test_a_type_that_cannot_be_drawn_is_named() -> None:
    with pytest.raises(UnknownInputError, match="mask: array"):
        inputs_form({"properties": {"mask": {"type": "array"}}})
