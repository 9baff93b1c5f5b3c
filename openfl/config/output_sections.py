"""Settings of what people get: recommendations, the model file, lines and the live view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openfl.config.settings import setting
from openfl.config.text_checks import endpoint_problem, model_file_problem


@dataclass(frozen=True, slots=True)
class RecommendConfig:
    """Recommendations at the end of training."""

    auto: bool = setting(
        True, "Print recommendations when the last round is done, or the node is stopped."
    )
    user: str = setting("", "User to recommend for. Empty: the first user of the data file.")
    count: int = setting(5, "How many songs to recommend.", unit="songs", minimum=1, maximum=1_000)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The model file written after training."""

    file: str = setting(
        "model.safetensors",
        "Where to save the model. A relative path is taken from the home folder.",
        allowed="a path that ends in .safetensors",
        check_text=model_file_problem,
    )


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where a browser, music players and scripts may ask this node; off unless `listen` or `web` is
    set. There is one such address, for all of them."""

    listen: str = setting(
        "",
        "Address and port to answer on, such as 127.0.0.1:8010; port 0 is any free one. Empty: no"
        " such address. Without a certificate it must be one of this machine alone.",
        allowed="IP:PORT",
        check_text=endpoint_problem,
    )
    web: bool = setting(
        False,
        "Serve the page that shows the node in a browser. Without `listen` on 127.0.0.1, on a port"
        " that is kept.",
    )
    cert_file: str = setting(
        "",
        "Certificate (PEM, with those between it and the authority) to answer by HTTPS with. Empty:"
        " plain HTTP.",
        allowed="a path",
        path=True,
    )
    key_file: str = setting(
        "", "Private key (PEM) of the certificate.", allowed="a path", path=True
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is written when there is no live view, and into node.log."""

    level: Literal["debug", "info", "warning", "error"] = setting(  # type: ignore[assignment]
        "info", "Least important lines to write.", choices=("debug", "info", "warning", "error")
    )
    format: Literal["text", "json"] = setting(  # type: ignore[assignment]
        "text",
        "text for people, json for programs (one object a line).",
        choices=("text", "json"),
    )
    file_megabytes: float = setting(
        5.0,
        "How large node.log may become before it is put aside as node.log.1.",
        unit="MB",
        minimum=0.1,
        maximum=100,
    )
    files: int = setting(
        3,
        "How many files of the log are kept: node.log and those put aside. The oldest goes first.",
        unit="files",
        minimum=2,
        maximum=100,
    )


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """The live view in the terminal."""

    enabled: bool = setting(True, "Show the live view when standard output is a terminal.")
