"""Build a Django form from a release's input schema: the playground is drawn from the contract.

The schema itself judges the values again when the run is submitted; this form only turns text
from a browser into JSON values. A type that it does not know is an error of ours, by name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms

from marketplace.errors import InvalidInput
from marketplace.metering.file_inputs import kinds_of
from marketplace.metering.inputs import in_order
from marketplace.metering.limit import cost_limit

Property = Mapping[str, Any]
LONG = 500  # a text that may be longer than this gets a text area


class UnknownInputError(Exception):
    """A schema property that no field can draw."""


class MediaField(forms.CharField):
    """A file: its address or id; the page sends a chosen one to the store and fills that in.

    accepts: what a browser's chooser offers.
    """

    def __init__(self, takes: tuple[str, ...], **named: Any) -> None:
        hint = {"placeholder": "https://… or a file of yours", "autocomplete": "off"}
        super().__init__(widget=forms.TextInput(attrs=hint), **named)
        self.accepts = ",".join(f"{kind}/*" if "/" not in kind else kind for kind in takes)


def named(name: str, prop: Property) -> dict[str, Any]:
    label = prop.get("title") or name.replace("_", " ").capitalize()
    return {"label": label, "help_text": prop.get("description", ""), "required": False}


def choice(name: str, prop: Property) -> forms.Field:
    values = prop["enum"]
    kinds: dict[str, Callable[[Any], Any]] = {str(value): type(value) for value in values}
    return forms.TypedChoiceField(
        choices=[(str(value), str(value)) for value in values],
        coerce=lambda text: kinds[text](text),
        empty_value=None,
        **named(name, prop),
    )


def text(name: str, prop: Property) -> forms.Field:
    if takes := kinds_of(prop):
        return MediaField(takes, **named(name, prop))
    if prop.get("format") == "uri":
        return forms.URLField(assume_scheme="https", **named(name, prop))
    long = name == "prompt" or prop.get("maxLength", LONG + 1) > LONG
    widget = forms.Textarea(attrs={"rows": 2}) if long else forms.TextInput()
    return forms.CharField(max_length=prop.get("maxLength"), widget=widget, **named(name, prop))


def integer(name: str, prop: Property) -> forms.Field:
    least, most = prop.get("minimum"), prop.get("maximum")
    return forms.IntegerField(min_value=least, max_value=most, **named(name, prop))


def number(name: str, prop: Property) -> forms.Field:
    least, most = prop.get("minimum"), prop.get("maximum")
    widget = forms.NumberInput(attrs={"step": "any"})
    return forms.FloatField(min_value=least, max_value=most, widget=widget, **named(name, prop))


def boolean(name: str, prop: Property) -> forms.Field:
    return forms.BooleanField(**named(name, prop))


class Lines(forms.CharField):
    """A list of texts, one on each line."""

    def __init__(self, **named: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 2}), **named)

    def clean(self, value: Any) -> list[str] | None:
        """None where nothing was said."""
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()] or None


class Rows(forms.CharField):
    """A list of small objects, one on each line, its values in order with spaces between."""

    def __init__(self, item: Property, **named: Any) -> None:
        self.item, self.order = item, in_order(item)
        super().__init__(widget=forms.Textarea(attrs={"rows": 2}), **named)

    def clean(self, value: Any) -> list[dict[str, Any]] | None:
        """None where nothing was said."""
        lines = [line.split() for line in super().clean(value).splitlines() if line.strip()]
        return [self.row(words) for words in lines] or None

    def row(self, words: list[str]) -> dict[str, Any]:
        if len(words) > len(self.order):
            raise forms.ValidationError(f"“{' '.join(words)}” is more than {self.told()}.")
        pairs = zip(self.order, words, strict=False)
        return {name: field(name, self.item["properties"][name]).clean(word)
                for name, word in pairs}  # fmt: skip

    def told(self) -> str:
        return " and ".join(self.order)


def array(name: str, prop: Property) -> forms.Field:
    if prop["items"].get("type") == "object":
        rows = Rows(prop["items"], **named(name, prop))
        rows.help_text = f"{rows.help_text} One on each line: {rows.told()}.".strip()
        return rows
    if prop["items"].get("type") != "string":
        raise UnknownInputError(f"{name}: a list of {prop['items'].get('type', 'no type')}")
    told = f"{prop.get('description', '')} One on each line.".strip()
    return Lines(**named(name, prop) | {"help_text": told})


KINDS = {
    "string": text,
    "integer": integer,
    "number": number,
    "boolean": boolean,
    "array": array,
}


def field(name: str, prop: Property) -> forms.Field:
    """The field of one schema property. Raises UnknownInputError."""
    if "enum" in prop:
        return choice(name, prop)
    try:
        return KINDS[prop["type"]](name, prop)
    except KeyError:
        raise UnknownInputError(f"{name}: {prop.get('type', 'no type')}") from None


class InputsForm(forms.Form):
    """A form whose cleaned data are a run's inputs."""

    def is_right_so_far(self) -> bool:
        """Whether nothing is wrong but what is still missing."""
        found = [error.code for faults in self.errors.as_data().values() for error in faults]
        return set(found) <= {"required"}

    def inputs(self) -> dict[str, Any]:
        """What was filled in; the schema's defaults stand for the rest."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}

    def blame(self, param: str | None, message: str) -> None:
        """Show a refusal at its field, or above the form where it has none."""
        name = (param or "").removeprefix("inputs.").partition(".")[0]
        known = name if name in self.fields else None
        if known is None or not self.has_error(known):
            self.add_error(known, message.replace(f"{param} ", "This ", 1) if known else message)


class LimitForm(forms.Form):
    """What a run may cost at most; an empty field is no limit."""

    prefix = "limit"
    max_cost = forms.CharField(
        label="At most",
        required=False,
        help_text="In dollars. If it could cost more, it is refused before it starts.",
        widget=forms.TextInput(
            attrs={"inputmode": "decimal", "placeholder": "no limit", "autocomplete": "off"}
        ),
    )

    def clean_max_cost(self) -> int | None:
        """Nano-units."""
        text = self.cleaned_data["max_cost"].strip().removeprefix("$")
        try:
            return cost_limit(text or None)
        except InvalidInput as wrong:
            raise forms.ValidationError(wrong.message.replace("max_cost", "This", 1)) from None

    def allows(self, nano: int) -> bool:
        """Whether a run of this cost may start; what is wrong in the field allows nothing."""
        if not self.is_valid():
            return False
        limit: int | None = self.cleaned_data["max_cost"]
        return limit is None or nano <= limit


def inputs_form(schema: Mapping[str, Any]) -> type[InputsForm]:
    """A form class: what is required first, then texts, then the rest."""
    properties: Mapping[str, Property] = schema.get("properties", {})
    fields = {name: field(name, properties[name]) for name in in_order(schema)}
    for name in schema.get("required", []):
        fields[name].required = not isinstance(fields[name], forms.BooleanField)
        fields[name].error_messages["required"] = f"{fields[name].label} is missing."
    return type("ReleaseInputs", (InputsForm,), fields)
