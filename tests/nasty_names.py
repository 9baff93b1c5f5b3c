"""Names as files and strangers may write them, for everything that writes names down."""

from __future__ import annotations

NASTY = [
    "Commas, \"quotes\", and 'others'",
    "two\nlines\r\nand\rmore",
    "Esc \x1b[31m bell \x07 nul \x00 bidi \u202e zero \u200b surrogate \ud800",
    '=HYPERLINK("http://192.0.2.1")',
    "+44 - @home",
    "../../etc/passwd",
    "http://192.0.2.1/x",
    "#EXTINF:1,other",
    "\tTab; semicolon",
    "日本 Dvořák 😀",
    "no character \ufffe\uffff",
    "",
]
