"""The keys of scenario files as Markdown: the reference in docs/simulation.md."""

from __future__ import annotations

from openfl.config import toml_value
from openfl.simulation.scenario_file import SECTION_TYPES, scenario_settings


def reference_markdown() -> str:
    """A table for each section."""
    lines, settings = [], scenario_settings()
    for section, kind in SECTION_TYPES.items():
        lines += [f"### `[{section}]`", "", " ".join((kind.__doc__ or "").split()), ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for key, described in settings.items():
            if not key.startswith(f"{section}."):
                continue
            default = described.default
            shown = toml_value(default)
            unit = f" {described.unit}" if described.unit else ""
            allowed = described.range_text or described.type_name
            lines.append(
                f"| `{key.partition('.')[2]}` | `{shown}`{unit} | {allowed} | {described.meaning} |"
            )
        lines.append("")
    return "\n".join(lines)
