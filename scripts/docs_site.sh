#!/bin/sh
# Builds the documentation into site/, with pinned tools in an environment of their own. A warning is
# an error, and so is anything in the pages that a browser would fetch from another host.
#
#   scripts/docs_site.sh            build
#   scripts/docs_site.sh --serve    and show it at http://127.0.0.1:8000
set -eu
cd "$(dirname "$0")/.."
pins=requirements/docs.txt
tools=.cache/docs-tools
stamp=$tools/.stamp
if [ "$(cat "$stamp" 2>/dev/null)" != "$(cksum <$pins)" ]; then
    rm -rf "$tools"
    .venv/bin/python -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $pins
    cksum <$pins >"$stamp"
fi
.venv/bin/python scripts/docs_site.py
# In build/, because Zensical keeps its cache in .cache beside the configuration, and empties it.
rm -rf site build/site
"$tools/bin/zensical" build --clean --strict --config-file build/mkdocs.yml
mv build/site site
.venv/bin/python scripts/docs_site.py --check
echo "site/index.html: $(find site -name '*.html' | wc -l) pages"
[ "${1:-}" != --serve ] || .venv/bin/python -m http.server --bind 127.0.0.1 --directory site 8000
