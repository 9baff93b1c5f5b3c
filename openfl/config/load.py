"""`load_config`: four layers into one checked `Config`, with every problem reported together.

Precedence, highest first: command line, environment, file, default. Each layer is read into
(key, value, origin) without judging; then one pass checks types and ranges, and a last one the
constraints between settings. Nothing here reads `os.environ`: the caller hands it in.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from openfl.config.kinds import KINDS, kinds_with
from openfl.config.sections import Config, Origin
from openfl.config.settings import Problem, Setting, Value, number_text, setting_of, shown
from openfl.config.text_checks import host_and_port
from openfl.core.errors import ConfigError
from openfl.core.files import read_named

ENV_PREFIX = "OPENFL_"
RESERVED_ENV = {
    "OPENFL_HOME": "the home folder of the node (as `--home`)",
    "OPENFL_CONFIG": "the configuration file (as `--config`)",
    "OPENFL_FAULT_POINT": "a point at which a test ends the node (see openfl/node/fault_points.py)",
    "OPENFL_CACHE": "where `openfl-node` keeps files it can make again",
}
"""Variables with the prefix that are not settings."""

_SERVICE_VARIABLES = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r"OPENFL_(\w+_)?SERVICE_HOST", r"[0-9a-fA-F.:]+"),
        (r"OPENFL_(\w+_)?SERVICE_PORT(_\w+)?", r"\d+"),
        (r"OPENFL_(\w+_)?PORT", r"(tcp|udp|sctp)://\S+"),
        (r"OPENFL_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)", r"(tcp|udp|sctp)://\S+"),
        (r"OPENFL_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"OPENFL_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_PORT", r"\d+"),
        (r"OPENFL_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_ADDR", r"[0-9a-fA-F.:]+"),
    )
)
"""(name, value) of what Kubernetes and Docker links put into the environment of every container
when there is a service called openfl or openfl-SOMETHING. Not by name alone: OPENFL_NETWORK_PORT
may be the setting, or the address of a service called openfl-network."""

PROTOTYPE_NAMES = {
    "peers": "network.bootstrap",
    "data_file": "data.ratings_file",
    "model_file": "model.file",
    "gossip_rounds": "training.rounds",
    "gossip_interval": "training.interval_seconds",
    "auto_start_training": "training.auto_start",
    "auto_predict_after_training": "recommend.auto",
    "test_user": "recommend.user",
    "num_recommendations": "recommend.count",
}
"""Names of the first prototype that a did-you-mean could not guess."""

_TOML_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def _section_types() -> dict[str, type[Any]]:
    defaults = Config()
    return {
        f.name: type(getattr(defaults, f.name))
        for f in fields(Config)
        if f.name not in ("of_kinds", "provenance")
    }


SECTIONS: Mapping[str, type[Any]] = _section_types()
"""Section name -> the dataclass of what every kind has in it, in the order of the file."""


def key_name(field: str) -> str:
    """How the setting of a dataclass' field is called in its section: `columns__user` is the key
    `columns.user`, in a file also `user` in a table of its own."""
    return field.replace("__", ".")


def field_name(key: str) -> str:
    """The field of "section.key"."""
    return key.partition(".")[2].replace(".", "__")


def holders() -> Mapping[str, type[Any]]:
    """Every key ("section.key") -> the dataclass it is a field of, in the order of the file: in
    each section the settings that every kind has, then those of single kinds.

    ValueError when a kind has a key that every kind has.
    """
    found: dict[str, type[Any]] = {}
    for section, of_all in SECTIONS.items():
        of_kinds = [s for kind in KINDS.values() for where, s in kind.settings if where == section]
        for holder in dict.fromkeys((of_all, *of_kinds)):
            for f in fields(holder):
                key = f"{section}.{key_name(f.name)}"
                if key in found:
                    raise ValueError(f"{key}: is a setting that every kind has")
                found[key] = holder
    return found


def all_settings() -> Mapping[str, Setting]:
    """Every key ("section.key") -> its description, in the order of `holders`. The description of
    what is not of every kind says of which it is."""
    described = {}
    for key, holder in holders().items():
        (metadata,) = (f.metadata for f in fields(holder) if f.name == field_name(key))
        setting = setting_of(metadata)
        if holder not in SECTIONS.values():
            setting = replace(setting, meaning=f"{_whose(kinds_with(holder))}: {setting.meaning}")
        described[key] = setting
    return described


def _whose(kinds: Sequence[str]) -> str:
    """`Implicit only`, `Rating and implicit`."""
    *others, last = kinds
    words = f"{', '.join(others)} and {last}" if others else f"{last} only"
    return words[0].upper() + words[1:]


def env_name(key: str) -> str:
    """The environment variable of a key: `training.rounds` -> `OPENFL_TRAINING_ROUNDS`."""
    return ENV_PREFIX + key.replace(".", "_").upper()


def is_service_variable(name: str, value: str) -> bool:
    """Whether this tells where a service is, and is no setting of ours."""
    return any(
        of_name.fullmatch(name) and of_value.fullmatch(value)
        for of_name, of_value in _SERVICE_VARIABLES
    )


def load_config(
    file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    cwd: Path | None = None,
    text: str | None = None,
) -> Config:
    """The effective configuration.

    `file`: a TOML file that must exist, or None; `text`: what it is to hold, instead of what it
    holds. `overrides`: "section.key" -> value, typed (a
    str is also taken in the form of an environment variable); None means not given. Relative paths
    in the file are taken from its folder, the others from `cwd` (default: the working folder).
    ConfigError lists every problem, one a line.
    """
    settings = all_settings()
    key_of_variable = {env_name(key): key for key in settings}
    problems: list[str] = []
    here = cwd if cwd is not None else _working_folder()
    values: dict[str, Value] = {}
    provenance: dict[str, Origin] = {}
    failed: set[str] = set()

    def take(key: str, raw: object, origin: Origin, label: str, folder: Path) -> None:
        described = settings[key]
        from_text = isinstance(raw, str) and origin.kind != "file"
        try:
            value = described.parse(str(raw)) if from_text else described.check(raw)
            value = _from_folder(described, value, folder, environ)
        except Problem as problem:
            problems.append(f"{label}: {problem}")
            failed.add(key)
            return
        values[key] = value
        provenance[key] = origin

    if file is not None:
        folder = here / file.parent
        for key, raw in _read_file(file, settings, problems, text):
            take(key, raw, Origin("file", str(file)), f"{file}: {key}", folder)
    for name in sorted(environ):
        if is_service_variable(name, environ[name]):
            continue
        if name in key_of_variable:
            take(key_of_variable[name], environ[name], Origin("environment", name), name, here)
        elif name.startswith(ENV_PREFIX) and name not in RESERVED_ENV:
            close = _closest(name, [*key_of_variable, *RESERVED_ENV])
            problems.append(f"{name}: unknown environment variable{_did_you_mean(close)}")
    for key, raw in overrides.items():
        if raw is None:
            continue
        if key not in settings:
            problems.append(f"command line: {_unknown_key(key, settings)}")
            continue
        take(key, raw, Origin("command line"), f"command line: {key}", here)

    config = _build(values, provenance)
    for keys, complaint in _constraints(config):
        # A key that already failed on its own stands at its default here: nothing to add.
        if not failed.intersection(keys):
            problems.append(f"{_blame(config, keys)}: {complaint}")
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def require_setting(key: str) -> Setting:
    """What "section.key" is; ConfigError when there is no such setting."""
    settings = all_settings()
    if key not in settings:
        raise ConfigError(_unknown_key(key, settings))
    return settings[key]


def parse_value(
    key: str, texts: Sequence[str], environ: Mapping[str, str], *, cwd: Path | None = None
) -> Value:
    """The checked value of "section.key" that somebody typed: one text, of a list also several
    (one alone is taken apart at its commas). Relative paths are taken from `cwd` (default: the
    working folder). ConfigError: there is no such key, or it cannot have that value."""
    described = require_setting(key)
    try:
        if len(texts) == 1:
            value = described.parse(texts[0])
        elif isinstance(described.default, tuple):
            value = described.check(list(texts))
        else:
            raise Problem(f"must be one value, got {len(texts)}")
        return _from_folder(described, value, cwd or _working_folder(), environ)
    except Problem as problem:
        raise ConfigError(f"{key}: {problem}") from None


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed: relative paths, if any, will be found nowhere
        return Path()


def _build(values: Mapping[str, Value], provenance: Mapping[str, Origin]) -> Config:
    given: dict[type[Any], dict[str, Value]] = {}
    for key, holder in holders().items():
        if key in values:
            given.setdefault(holder, {})[field_name(key)] = values[key]
    sections = {name: kind(**given.pop(kind, {})) for name, kind in SECTIONS.items()}
    of_kinds = {holder: holder(**values_of_it) for holder, values_of_it in given.items()}
    return Config(
        **sections,
        of_kinds={holder: own for holder, own in of_kinds.items() if own != holder()},
        provenance=dict(provenance),
    )


def value_of(config: Config, key: str) -> Value:
    """The value of "section.key"; KeyError when there is no such key."""
    holder, section, name = holders()[key], key.partition(".")[0], field_name(key)
    of_all = SECTIONS[section] is holder
    value: Value = getattr(getattr(config, section) if of_all else config.own(holder), name)
    return value


def with_values(config: Config, values: Mapping[str, Value]) -> Config:
    """`config` with other values (checked already) of some keys; KeyError when there is no such."""
    all_of_them = {key: value_of(config, key) for key in holders()}
    unknown = values.keys() - all_of_them.keys()
    if unknown:
        raise KeyError(*sorted(unknown))
    return _build({**all_of_them, **values}, config.provenance)


def _constraints(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """(keys, complaint) of settings that are each fine alone but not together."""
    network, data, gossip = config.network, config.data, config.gossip
    if network.dial_members > network.max_peers:
        yield (
            ("network.dial_members", "network.max_peers"),
            "network.dial_members must not exceed network.max_peers,"
            f" got {network.dial_members} and {network.max_peers}",
        )
    if data.validation_fraction + data.test_fraction > 0.8:
        yield (
            ("data.validation_fraction", "data.test_fraction"),
            "data.validation_fraction and data.test_fraction must leave at least 0.2 to train on,"
            f" got {number_text(data.validation_fraction)} and {number_text(data.test_fraction)}",
        )
    http = config.http
    if bool(http.cert_file) != bool(http.key_file):
        yield (
            ("http.cert_file", "http.key_file"),
            "http.cert_file and http.key_file are only used together",
        )
    at = host_and_port(http.listen)
    if at is not None and not http.cert_file and not ipaddress.ip_address(at[0]).is_loopback:
        yield (
            ("http.listen", "http.cert_file"),
            f"http.listen = {http.listen} can be reached from other machines, and the token be read"
            " along the way: use 127.0.0.1, or give http.cert_file and http.key_file",
        )
    if config.task.kind in KINDS:
        yield from KINDS[config.task.kind].complaints(config)
    if gossip.member_ttl_seconds < 3 * gossip.heartbeat_seconds:
        yield (
            ("gossip.member_ttl_seconds", "gossip.heartbeat_seconds"),
            "gossip.member_ttl_seconds must be at least three times gossip.heartbeat_seconds, got"
            f" {number_text(gossip.member_ttl_seconds)}"
            f" and {number_text(gossip.heartbeat_seconds)}",
        )


def _blame(config: Config, keys: tuple[str, ...]) -> str:
    """Label of the layer to mend: the one with the highest precedence among `keys`."""
    order = ("command line", "environment", "file", "default")
    origin = min((config.origin(key) for key in keys), key=lambda o: order.index(o.kind))
    return origin.where or origin.kind


def _read_file(
    file: Path, settings: Mapping[str, Setting], problems: list[str], text: str | None
) -> Iterator[tuple[str, object]]:
    """(key, value) of each known setting in the file, or in `text`; everything else goes to
    `problems`."""
    try:
        if text is None:
            # utf-8-sig: editors on Windows put a byte order mark in front, unknown to TOML.
            text = read_named(file).decode("utf-8-sig")
    except FileNotFoundError:
        problems.append(f"{file}: no such file")
        return
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems.append(f"{file}:{line}: not UTF-8 text")
        return
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
        return
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(_syntax_problem(file, text, str(error)))
        return
    except RecursionError:
        problems.append(f"{file}: not a configuration: nested too deeply")
        return
    except ValueError:  # of int(): tomllib lets it through
        problems.append(f"{file}: not a configuration: a number of thousands of digits")
        return
    for section, table in document.items():
        if section not in SECTIONS:
            problems.append(f"{file}: {_unknown_section(section, table, settings)}")
        elif not isinstance(table, dict):
            problems.append(f"{file}: {section}: must be a section [{section}], got {shown(table)}")
        else:
            for name, raw in _flat(table, settings, section):
                key = f"{section}.{name}"
                if key in settings:
                    yield key, raw
                else:
                    problems.append(f"{file}: {_unknown_key(key, settings)}")


def _flat(
    table: Mapping[str, object], settings: Mapping[str, Setting], section: str
) -> Iterator[tuple[str, object]]:
    """(name within the section, value), of tables that settings are in too."""
    for name, raw in table.items():
        if isinstance(raw, dict) and any(key.startswith(f"{section}.{name}.") for key in settings):
            yield from ((f"{name}.{inner}", value) for inner, value in raw.items())
        else:
            yield name, raw


def _syntax_problem(file: Path, text: str, message: str) -> str:
    position = _TOML_POSITION.search(message)
    reason = message[: position.start()] if position else message
    if position is None or position[1] is None:
        return f"{file}:{text.count(chr(10)) + 1}: not valid TOML: {reason} at the end of the file"
    return f"{file}:{position[1]}: not valid TOML: {reason} at column {position[2]}"


def _unknown_section(name: str, table: object, settings: Iterable[str]) -> str:
    if isinstance(table, dict):
        return f"{name}: unknown section{_did_you_mean(_closest(name, list(SECTIONS)))}"
    return _unknown_key(name, settings)


def _unknown_key(key: str, settings: Iterable[str]) -> str:
    section, _, name = key.rpartition(".")
    return f"{key}: unknown key{_did_you_mean(_suggest_key(section, name, list(settings)))}"


def _suggest_key(section: str, name: str, known: list[str]) -> str | None:
    """The key that was probably meant: a near name in this section, else the name elsewhere."""
    wanted = name.lower().replace("-", "_")
    here = [key.removeprefix(f"{section}.") for key in known if key.startswith(f"{section}.")]
    if wanted in PROTOTYPE_NAMES:
        return PROTOTYPE_NAMES[wanted]
    if (close := _closest(wanted, here)) is not None:
        return f"{section}.{close}"
    by_name = {key.partition(".")[2]: key for key in reversed(known)}
    if (close := _closest(wanted, list(by_name))) is not None:
        return by_name[close]
    return _closest(f"{section}.{wanted}", known)


def _closest(word: str, words: list[str]) -> str | None:
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.7)
    return matches[0] if matches else None


def _did_you_mean(suggestion: str | None) -> str:
    return f" (did you mean {suggestion}?)" if suggestion else ""


def _from_folder(
    described: Setting, value: Value, folder: Path, environ: Mapping[str, str]
) -> Value:
    """`value`; the paths of one that is of paths are absolute then."""
    if described.path and isinstance(value, str) and value:
        return _absolute(folder, value, environ)
    if described.path and isinstance(value, tuple):
        return tuple(_absolute(folder, path, environ) for path in value)
    return value


def _absolute(folder: Path, path: str, environ: Mapping[str, str]) -> str:
    """Problem when it could not be kept: a node remembers its files by name, in UTF-8."""
    absolute = str(folder.joinpath(_expand_user(path, environ)))
    try:
        absolute.encode()
    except UnicodeEncodeError:
        raise Problem(f"is in a folder whose name is not UTF-8 text: {absolute}") from None
    return absolute


def _expand_user(path: str, environ: Mapping[str, str]) -> str:
    """`~/x` with the HOME of `environ`; other forms of ~ are left alone."""
    home = environ.get("HOME", "")
    return home + path[1:] if path.startswith("~/") and home else path
