"""JSON Schema: what is checked, what is refused, and what is sent."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.answers.schema import extract, load, violations, wire
from claude_force.errors import ValidationError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=4)
)
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "below": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["name"],
        }
    },
}


def loaded(schema):
    return load(json.dumps(schema), "s.json")


@pytest.mark.parametrize(
    ("schema", "fits", "breaks"),
    [
        ({"type": "integer"}, [1, 1.0, -3], [True, 1.5, "1", None]),
        ({"type": "number"}, [1, 1.5], [True, "1"]),
        ({"type": "boolean"}, [True], [1, 0, "true"]),
        ({"type": ["string", "null"]}, ["", None], [0, [], {}]),
        ({"type": "object"}, [{}], [[], None]),
        ({"enum": [1, "a", None, [1]]}, [1, 1.0, "a", None, [1.0]], [True, "b", [True]]),
        ({"enum": [True]}, [True], [1]),
        ({"const": {"a": [1, 2]}}, [{"a": [1, 2]}], [{"a": [2, 1]}, {}]),
        ({"required": ["a"]}, [{"a": None}, "no object"], [{}]),
        ({"properties": {"a": {"type": "string"}}}, [{}, {"a": ""}, {"b": 1}], [{"a": 1}]),
        ({"properties": {"a": {}}, "additionalProperties": False}, [{"a": 1}], [{"b": 1}]),
        ({"additionalProperties": {"type": "string"}}, [{"b": ""}], [{"b": 1}]),
        ({"patternProperties": {"^x-": {"type": "string"}}}, [{"x-a": "", "b": 1}], [{"x-a": 1}]),
        (
            {"properties": {"ab": {"type": "string"}}, "patternProperties": {"^a": {"minLength": 2}}},
            [{"ab": "xx"}],
            [{"ab": "x"}],
        ),
        ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
        ({"items": {"type": "string"}}, [[], ["a"], "no array"], [["a", 1]]),
        ({"prefixItems": [{"type": "string"}], "items": False}, [[], ["a"]], [[1], ["a", "b"]]),
        ({"minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
        (
            {"uniqueItems": True},
            [[1, True, "1"], [{"a": 1}, {"a": 2}]],
            [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}]],
        ),
        ({"uniqueItems": False}, [[1, 1]], []),
        ({"minLength": 1, "maxLength": 2}, ["a", "\U0001f600\U0001f600", 5], ["", "abc"]),
        ({"pattern": "b+"}, ["abc", 5], ["ac"]),
        ({"minimum": 1, "maximum": 2}, [1, 1.5, 2, True], [0, 2.1]),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 2}, [1.5], [1, 2]),
        ({"multipleOf": 3}, [0, 9], [4]),
        ({"multipleOf": 0.1}, [0.3, 1, 1e300], [0.35]),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, [3], [2, 3.5]),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["", 3], [2]),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, [1, 3.5], [3, 1.5]),
        ({"not": {"type": "string"}}, [1], [""]),
        ({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 0}}, ["a", 0], ["", -1]),
        ({"if": {"type": "string"}}, ["a", 0], []),
        ({"items": {"$ref": "#/$defs/a~1b"}, "$defs": {"a/b": {"type": "null"}}}, [[None]], [[1]]),
        ({"prefixItems": [{"type": "null"}, {"$ref": "#/prefixItems/0"}]}, [[None, None]], [[None, 1]]),
        ({"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer"}}}, [3], [2, 3.5]),
        ({"format": "email", "description": "x"}, ["no address"], []),
        ({"properties": {"a": True, "b": False}}, [{"a": 1}], [{"b": 1}]),
    ],
)
def test_a_keyword_accepts_what_fits_and_reports_what_does_not(schema, fits, breaks):
    schema = loaded(schema)
    assert [value for value in fits if violations(value, schema)] == []
    assert [value for value in breaks if not violations(value, schema)] == []


@pytest.mark.parametrize(
    ("value", "schema", "line"),
    [
        (5, {"type": "string"}, "$: 5 is not a string"),
        (5, {"type": ["array", "null"]}, "$: 5 is not an array or null"),
        ({"items": [0, 1, {"name": 5}]}, {}, None),
        ({}, {"required": ["a b"]}, '$: "a b" is missing'),
        ({"a": 1}, {"additionalProperties": False}, "$.a: is not allowed here"),
        ({"a-b": {"c": 1}}, {"properties": {"a-b": {"properties": {"c": False}}}}, '$["a-b"].c: is not allowed here'),
        (["x\n\x1b[0m"], {"items": {"type": "null"}}, r'$[0]: "x\n\u001b[0m" is not null'),
        ("ab", {"minLength": 3}, '$: "ab" does not fit minLength 3'),
        (3, {"enum": ["a", 4]}, '$: 3 is none of "a", 4'),
        (
            3,
            {"anyOf": [{"enum": [1, 2]}, {"type": "null"}]},
            "$: fits none of 2 alternatives; nearest: $: 3 is none of 1, 2",
        ),
        (3, {"oneOf": [{}, {"type": "integer"}]}, "$: fits 2 alternatives of oneOf at once"),
        ("x" * 100, {"type": "null"}, f'$: "{"x" * 56}... is not null'),
    ],
)
def test_a_violation_is_one_line_that_names_the_place(value, schema, line):
    assert violations(value, loaded(schema)) == ([line] if line else [])


def test_every_violation_is_reported_in_the_order_of_the_value():
    schema = loaded({"items": {"properties": {"name": {"type": "string"}}, "required": ["id"]}})
    assert violations([{"id": 1}, {"name": 5}, {"id": 1, "name": None}], schema) == [
        '$[1]: "id" is missing',
        "$[1].name: 5 is not a string",
        "$[2].name: null is not a string",
    ]


def test_a_schema_may_refer_to_itself():
    good = {"name": "a", "below": [{"name": "b", "below": [{"name": "c"}]}]}
    assert violations(good, loaded(TREE)) == []
    good["below"][0]["below"][0].pop("name")
    assert violations(good, loaded(TREE)) == ['$.below[0].below[0]: "name" is missing']


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"not": {"$ref": "#"}},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
    ],
)
def test_a_schema_that_never_ends_is_a_violation_and_not_a_crash(schema):
    (line,) = violations(1, loaded(schema))
    assert "too deep" in line


def test_a_schema_that_doubles_with_every_definition_is_given_up():
    steps = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(30)}
    schema = loaded({"$ref": "#/$defs/d0", "$defs": {**steps, "d30": {}}})
    (line,) = violations(1, schema)
    assert "entangled" in line


def test_a_value_deeper_than_can_be_checked_is_a_violation():
    value = {"name": "leaf"}
    for _ in range(400):
        value = {"name": "x", "below": [value]}
    assert "too deep" in violations(value, loaded(TREE))[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"minimum": NaN}', "NaN is no JSON number"),
        ("[]", "must be a JSON object"),
        ("true", "must be a JSON object"),
        ('{"type": "strng"}', '$.type: "strng" is none of'),
        ('{"type": ["string", 5]}', "$.type[1]: 5 is none of"),
        ('{"properties": {"a": {"type": "text"}}}', "$.properties.a.type"),
        ('{"properties": []}', "$.properties: [] is not an object"),
        ('{"required": "a"}', "$.required"),
        ('{"minLength": -1}', "$.minLength"),
        ('{"exclusiveMinimum": true}', "$.exclusiveMinimum: true is not a number"),
        ('{"multipleOf": 0}', "$.multipleOf"),
        ('{"items": [{}]}', "$.items"),
        ('{"anyOf": []}', "$.anyOf"),
        ('{"contains": {}}', "$.contains: is not allowed here"),
        ('{"$ref": "#/$defs/a"}', '$ref "#/$defs/a" leads nowhere'),
        ('{"$ref": "other.json"}', "leads nowhere"),
        ('{"$ref": "#name"}', "leads nowhere"),
        ('{"items": {"$ref": "#/anyOf/7"}, "anyOf": [{}]}', "leads nowhere"),
        ('{"items": {"$ref": "#/anyOf/x"}, "anyOf": [{}]}', "leads nowhere"),
        ('{"items": {"$ref": "#/title/x"}, "title": "t"}', "leads nowhere"),
        ('{"$ref": "#/required", "required": ["a"]}', "no JSON Schema"),
        ('{"pattern": "("}', "does not compile"),
        ('{"properties": {"a": {"patternProperties": {"[": {}}}}}', '$.properties.a: pattern "["'),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_its_file(text, said):
    with pytest.raises(ValidationError, match=re.escape(said)) as caught:
        load(text, "answers/s.json")
    assert caught.value.message.startswith("answers/s.json: ")
    assert "\n" not in caught.value.message


def test_a_schema_nested_beyond_reason_is_refused():
    text = '{"items": ' * 300 + "{}" + "}" * 300
    with pytest.raises(ValidationError, match="too deep"):
        load(text, "s.json")


def test_the_wire_form_closes_every_object_and_tells_what_the_api_cannot_enforce():
    schema = loaded(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "description": "A name."},
                "tags": {"type": "array", "items": {"type": "string", "pattern": "^a"}, "minItems": 2},
                "some": {"type": "array", "items": {"type": ["object", "null"]}, "minItems": 1},
                "pair": {"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "string"}},
                "kind": {"enum": ["a", 1, None]},
                "odd": {"enum": [[1], {}]},
                "one": {"const": "x"},
                "any": True,
                "either": {"oneOf": [{"type": "integer", "maximum": 3}, {"$ref": "#/$defs/d"}]},
                "both": {"allOf": [{"properties": {"x": {}}}]},
                "ref": {"$ref": "#/$defs/d", "description": "dropped"},
            },
            "required": ["name"],
            "$defs": {"d": {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": True}},
        }
    )
    assert wire(schema) == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": 'A name. Must fit: {"minLength": 1}'},
            "tags": {
                "type": "array",
                "items": {"type": "string", "description": 'Must fit: {"pattern": "^a"}'},
                "description": 'Must fit: {"minItems": 2}',
            },
            "some": {
                "type": "array",
                "items": {"type": ["object", "null"], "additionalProperties": False},
                "minItems": 1,
            },
            "pair": {"type": "array", "description": 'Must fit: {"prefixItems": [{"type": "null"}]}'},
            "kind": {"enum": ["a", 1, None]},
            "odd": {"description": 'Must fit: {"enum": [[1], {}]}'},
            "one": {"const": "x"},
            "any": {},
            "either": {
                "anyOf": [{"type": "integer", "description": 'Must fit: {"maximum": 3}'}, {"$ref": "#/$defs/d"}]
            },
            "both": {"allOf": [{"properties": {"x": {}}, "additionalProperties": False}]},
            "ref": {"$ref": "#/$defs/d"},
        },
        "required": ["name"],
        "additionalProperties": False,
        "$defs": {
            "d": {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": False},
        },
    }


def test_the_wire_form_leaves_the_schema_as_it_was():
    schema = loaded({"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}})
    before = json.dumps(schema)
    wire(schema)
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    ("schema", "ref"),
    [
        (TREE, "#/$defs/node"),
        ({"items": {"$ref": "#"}}, "#"),
        ({"properties": {"a": {"items": {"$ref": "#/properties/a"}}}}, "#/properties/a"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"items": {"$ref": "#/$defs/a"}}}}, "#/$defs/"),
    ],
)
def test_a_recursive_schema_has_no_wire_form(schema, ref):
    with pytest.raises(ValidationError, match=re.escape(f'$ref "{ref}')):
        wire(loaded(schema))


def test_a_definition_used_twice_is_not_taken_for_recursion():
    used = {"$ref": "#/$defs/d"}
    schema = loaded({"properties": {"a": used, "b": used}, "$defs": {"d": {"items": {"$ref": "#/$defs/e"}}, "e": {}}})
    assert wire(schema)["properties"] == {"a": used, "b": used}


@pytest.mark.parametrize(
    "free",
    [{"additionalProperties": {"type": "string"}}, {"additionalProperties": True}, {"patternProperties": {"a": {}}}],
)
def test_an_object_with_free_keys_has_no_wire_form(free):
    with pytest.raises(ValidationError, match=r"\$\.properties\.map: .*named properties") as caught:
        wire(loaded({"type": "object", "properties": {"map": {"type": "object", **free}}}))
    assert "array of objects" in caught.value.hint


@pytest.mark.parametrize(
    "text", ['{"a": 1}', ' \n{"a": 1}\n', '```json\n{"a": 1}\n```', '```\n{"a": 1}```\n', '\ufeff{"a": 1}']
)
def test_an_answer_is_read_with_or_without_a_code_fence(text):
    assert extract(text) == {"a": 1}


@pytest.mark.parametrize(
    "text", ["", "Sure: {}", "```json {} ```", '{"a": NaN}', "-Infinity", "1e999", "{} {}", "[" * 100_000, "```"]
)
def test_what_is_no_json_is_no_answer(text):
    with pytest.raises(ValueError, match=r"."):
        extract(text)


@given(VALUES)
def test_any_value_comes_back_out_of_a_fence(value):
    assert extract(f"```json\n{json.dumps(value, indent=2)}\n```") == value


def described(value):
    """Return the narrowest simple schema of a value."""
    if isinstance(value, dict):
        below = {name: described(item) for name, item in value.items()}
        return {"type": "object", "properties": below, "required": [*below], "additionalProperties": False}
    if isinstance(value, list):
        return (
            {"type": "array", "prefixItems": [described(item) for item in value], "maxItems": len(value)}
            if value
            else {"maxItems": 0}
        )
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return {"type": names[type(value)], "const": value}


@given(VALUES)
def test_a_value_fits_the_schema_that_describes_it_and_not_its_opposite(value):
    schema = loaded(described(value))
    assert violations(value, schema) == []
    assert len(violations(value, {"not": schema})) == 1


@given(VALUES, VALUES)
def test_two_values_fit_each_others_schema_only_if_they_are_equal_json(one, other):
    if violations(one, loaded(described(other))) == [] == violations(other, loaded(described(one))):
        assert one == other


@given(VALUES, VALUES)
def test_checking_against_any_accepted_schema_ends_in_lines(value, schema):
    try:
        schema = loaded(schema)
    except ValidationError:
        return
    assert all(line.startswith("$") and "\n" not in line for line in violations(value, schema))
