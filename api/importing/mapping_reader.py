"""Reads a mapping file and checks it whole, down to the fields of the commands, before the first row is read."""

import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from api.importing.columns import Columns
from api.importing.mapping import STANDING, CommandFields, CommandRule, FirstSeenRule, ImportMapping, SpecialRule
from api.importing.rows import Carried
from api.importing.sections import MappingError, Section, Source
from api.importing.values import Fill, TemplateError, Test, columns_in, condition, over_rows_in, shape


def read_mapping(path: Path, commands: Mapping[str, CommandFields]) -> ImportMapping:
    """Read and check a mapping file against the commands that there are."""
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text, parse_float=Decimal)
    except (OSError, UnicodeError) as error:
        message = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise MappingError(message) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        message = f"{path} is not TOML: {error}"
        raise MappingError(message) from error
    return _Reader(Section(Source(path, text), (), table), commands).mapping()


class _Reader:
    def __init__(self, top: Section, commands: Mapping[str, CommandFields]) -> None:
        self._top = top
        self._columns = Columns(top)
        self._commands = commands

    def mapping(self) -> ImportMapping:
        top, columns = self._top, self._columns
        documents = top.section("documents")
        mapping = ImportMapping(
            name=top.text("name"),
            file=columns.file,
            columns=tuple(columns.columns),
            lookups=tuple(columns.lookups),
            computed=tuple(columns.computed),
            by=self._column_list(documents, "by"),
            consecutive=documents.choice("gather", ("whole file", "consecutive"), "whole file") == "consecutive",
            order=self._column_list(documents, "order"),
            carry=self._carried(documents),
            unmatched=documents.optional_text("unmatched"),
            first_seen=tuple(self._first_seen(section) for section in top.sections("first_seen")),
            commands=tuple(self._command(section) for section in top.sections("commands")),
            special=tuple(self._special(section) for section in top.sections("special")),
        )
        documents.finish()
        top.finish()
        if not mapping.commands:
            top.fail("needs at least one [[commands]]")
        return mapping

    def _first_seen(self, section: Section) -> FirstSeenRule:
        command, key, _target, data, needs = self._sent(section, creates=True)
        for word in sorted(over_rows_in(section.get("data", dict, {}))):
            section.fail(f"{word} is of all rows of a document, and there is none yet", "data")
        by = self._column_list(section, "by")
        if not by:
            section.fail("needs by: the columns that say which one it is")
        typical = self._column_list(section, "typical")
        rule = FirstSeenRule(
            name=section.text("name"),
            by=by,
            typical=typical,
            already_there=frozenset(section.texts("already_there")),
            needs=needs.union(by, typical, section.section("when").names()) - STANDING.keys(),
            when=self._when(section),
            command=command,
            key=key,
            data=data,
        )
        section.finish()
        return rule

    def _command(self, section: Section) -> CommandRule:
        command, key, target, data, _needs = self._sent(section, creates=False)
        rule = CommandRule(
            outcome=self._fill(section, "outcome", section.text("outcome")),
            together=section.choice("rows", ("together", "each"), "together") == "together",
            when=self._when(section),
            command=command,
            key=key,
            target=target,
            data=data,
        )
        section.finish()
        return rule

    def _sent(self, section: Section, *, creates: bool) -> tuple[str, Fill, Fill | None, Fill, frozenset[str]]:
        command = section.text("command")
        fields = self._commands.get(command)
        if fields is None:
            section.fail(f"there is no command {command}{_hint(command, self._commands)}", "command")
        if creates and not fields.creates:
            section.fail(f"{command} registers nothing new", "command")
        key, target = section.text("key"), section.optional_text("target")
        if fields.creates and target is not None:
            section.fail(f"{command} makes something new and has no target", "target")
        if not fields.creates and target is None:
            section.fail(f"{command} needs a target: what it is addressed to, as in retail:{{invoice}}")
        data = section.get("data", dict, {})
        for name in data:
            if name not in fields.required | fields.optional:
                hint = _hint(name, fields.required | fields.optional)
                section.fail(f"{command} has no field {name}{hint}", "data", name)
        for name in sorted(fields.required - data.keys()):
            section.fail(f"{command} needs the field {name}", "data")
        return (
            command,
            self._fill(section, "key", key),
            self._fill(section, "target", target) if target is not None else None,
            self._fill(section, "data", data),
            columns_in(data) | columns_in(key),
        )

    def _fill(self, section: Section, name: str, value: object) -> Fill:
        try:
            return shape(value, self._columns.types)
        except TemplateError as error:
            section.fail(str(error), name, *error.path)

    def _special(self, section: Section) -> SpecialRule:
        several = section.optional_text("several")
        if several is not None:
            self._columns.require(section, "several", several)
        rule = SpecialRule(
            name=section.text("name"),
            how=section.text("how"),
            when=self._when(section),
            repeated=section.get("repeated", bool, False),
            several=several,
        )
        if rule.when is None and not rule.repeated and several is None:
            section.fail("needs when, several or repeated: which rows are special")
        section.finish()
        return rule

    def _when(self, section: Section) -> Test | None:
        tests = section.get("when", dict, {})
        if not tests:
            return None
        try:
            return condition(tests, self._columns.types, self._columns.literal)
        except TemplateError as error:
            section.fail(str(error), "when", *error.path)

    def _carried(self, documents: Section) -> tuple[Carried, ...]:
        always = [Carried(name) for name in self._column_list(documents, "carry")]
        some = documents.section("carry_while_same")
        for name in some.names():
            self._columns.require(some, name, name)
            self._columns.require(some, name, some.text(name))
        return (*always, *(Carried(name, some.text(name)) for name in some.names()))

    def _column_list(self, section: Section, name: str) -> tuple[str, ...]:
        columns = section.texts(name)
        for column in columns:
            self._columns.require(section, name, column)
        return columns


def _hint(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""
