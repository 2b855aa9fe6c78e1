"""Frozen records: what `dataclasses` makes of a class, as far as this package needs it.

Every start would pay for `dataclasses`: 8 ms for its import, and 0.7 ms for each class, whose methods it compiles from
text. Here the methods are made once for all classes. Type checkers are told that it is `dataclasses` itself.
"""

from __future__ import annotations

__all__ = ["FrozenInstanceError", "dataclass", "field", "fields", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
    from typing import Any, NoReturn
else:

    class FrozenInstanceError(AttributeError):
        """A field of a record was set or deleted."""

    def dataclass(*, frozen: bool) -> Callable[[type], type]:
        """Return the decorator of records; there are none that are not frozen."""
        assert frozen
        return _recorded

    def field(**settings: Any) -> Field:
        """Describe a field: its `default_factory`, and whether to `compare` and to show it (`repr`)."""
        return Field(**settings)

    def fields(record: Any) -> tuple[Field, ...]:
        """Return the fields of a record or of a class of records, in order."""
        return tuple(record.FIELDS.values())

    def replace(record: Any, /, **changes: Any) -> Any:
        """Return a copy of `record` with `changes`; raises TypeError for a field that it has not."""
        if not changes.keys() <= record.FIELDS.keys():
            raise TypeError(f"{type(record).__name__} has no {sorted(changes.keys() - record.FIELDS.keys())}")
        copy = object.__new__(type(record))
        copy.__dict__.update(record.__dict__, **changes)
        return copy


class Field:
    """How a field is called, how it comes to its value, and whether it is compared and shown."""

    def __init__(
        self,
        *,
        default: object = ...,
        default_factory: Callable[[], object] | None = None,
        repr: bool = True,  # noqa: A002  # the name that `dataclasses` gives it
        compare: bool = True,
    ) -> None:
        self.name, self.type = "", ""
        self.default, self.default_factory = default, default_factory
        self.repr, self.compare = repr, compare


def _recorded(cls: Any) -> Any:
    cls.FIELDS = {name: _described(cls, name, kind) for name, kind in cls.__annotations__.items()}
    cls.DEFAULTS = {name: f.default for name, f in cls.FIELDS.items() if f.default is not ...}
    cls.FACTORIES = {name: f.default_factory for name, f in cls.FIELDS.items() if f.default_factory}
    cls.__init__, cls.__eq__, cls.__hash__, cls.__repr__ = _init, _eq, _hash, _repr
    cls.__setattr__ = cls.__delattr__ = _refuse
    return cls


def _described(cls: Any, name: str, kind: str) -> Field:
    default = cls.__dict__.get(name, ...)
    if isinstance(default, Field):
        delattr(cls, name)
    described = default if isinstance(default, Field) else Field(default=default)
    described.name, described.type = name, kind
    return described


def _init(self: Any, *args: Any, **values: Any) -> None:
    named = dict(zip(self.FIELDS, args, strict=False)) if args else {}
    given = {**self.DEFAULTS, **named, **values}
    for name, make in self.FACTORIES.items():
        if name not in given:
            given[name] = make()
    if given.keys() != self.FIELDS.keys() or (args and not values.keys().isdisjoint([*self.FIELDS][: len(args)])):
        wrong = sorted(given.keys() ^ self.FIELDS.keys())
        raise TypeError(f"{type(self).__name__} has {', '.join(self.FIELDS)}; missing, unknown or twice: {wrong}")
    if len(args) > len(self.FIELDS):
        raise TypeError(f"{type(self).__name__} has {len(self.FIELDS)} fields, {len(args)} were given")
    self.__dict__.update(given)


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(self.__dict__[name] for name, f in self.FIELDS.items() if f.compare)


def _eq(self: Any, other: Any) -> Any:
    return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    shown = (f"{name}={self.__dict__[name]!r}" for name, f in self.FIELDS.items() if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, *_: object) -> NoReturn:
    raise FrozenInstanceError(f"{type(self).__name__}: cannot change '{name}'")
