"""What the book takes from its pages: scripts that they do not use, before a reader must load them.

Of MathJax they load the parts for TeX without speech; of the theme's 2,000 icons, those that they
show; the index of the search, on the search's page alone. Figures say their size, so that nothing
moves when they come. jupyter-book loads this file as an extension.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pydata_sphinx_theme
from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx
from sphinx.config import Config

MATHJAX = ("startup.js", "core.js", "input/tex-base.js", "input/tex/extensions/ams.js",
           "output/chtml.js", "output/chtml/fonts/tex.js", "output/chtml/fonts/woff-v2",
           "a11y/assistive-mml.js")  # fmt: skip
SETTINGS = {
    "loader": {"load": ["input/tex-base", "[tex]/ams", "output/chtml", "a11y/assistive-mml"]},
    "tex": {"packages": ["base", "ams"]},
}
# Scripts of Sphinx's search, which the theme puts on every page for a search that this book leaves
# out; and the fold of sphinx_togglebutton, for which the book has HTML's own.
SEARCH = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*">'
                    r"</script>")  # fmt: skip
FOLD = re.compile(r"togglebutton|sphinx-thebe|design-tabs|exercise\.css")
ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\],"\w+",(?:"[^"]*"|\["[^"]*","[^"]*"\])\],?')
SHOWN = re.compile(r"\bfa-([a-z0-9-]+)")
GLYPH = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}')
FACE = re.compile(r"@font-face\{[^}]*fa-(?:solid|regular|brands)-\d+[^}]*\}")
# In a page's head; the options of Sphinx are set by a script that follows theirs.
SCRIPT = re.compile(r'<script src="(?=[^"]*_static/(?!documentation_options))')
FIGURE = re.compile(r'<img((?: (?!src|width)[\w-]+="[^"]*")*) src="([^"]*_images/[^"]*\.png)"')
THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"


def set_mathjax(app: Sphinx, config: Config) -> None:
    """Have the pages load what SETTINGS names."""
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = {**(config.mathjax3_config or {}), **SETTINGS}


def drop(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Take out of a page the scripts and styles that it does not need."""
    for kind in ("script_files", "css_files"):
        if kind in context:
            context[kind] = [file for file in context[kind] if not FOLD.search(str(file.filename))]


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Put MathJax beside the pages and trim what the theme put there."""
    if exception or app.builder.name != "html":
        return
    output = Path(app.outdir)
    module = importlib.util.find_spec("sphinx-mathjax-offline")
    if module is None or module.origin is None:
        raise RuntimeError("sphinx-mathjax-offline is not installed, which holds MathJax")
    for name in MATHJAX:
        source = Path(module.origin).parent / "static" / "mathjax" / name
        target = output / "_static" / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copyfile(source, target)
    shown = set()
    for path in output.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        shown |= set(SHOWN.findall(text))
        slim = text
        if path.name != "search.html":  # which needs those scripts, one by one
            slim = SCRIPT.sub('<script defer src="', SEARCH.sub("", text))
        slim = FIGURE.sub(functools.partial(_size, path.parent), slim)
        if slim != text:
            path.write_text(slim, encoding="utf-8")
    static = output / "_static"
    trim_icons(static / "scripts" / "fontawesome.js", shown)
    trim_styles(static / "styles" / "pydata-sphinx-theme.css")


def _size(folder: Path, image: re.Match[str]) -> str:
    """An image that says its size in pixels, as the head of its PNG file has it."""
    head = (folder / unquote(image[2])).read_bytes()[:24]
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return image[0]
    width, height = struct.unpack(">II", head[16:])
    return f'<img width="{width}" height="{height}"{image[1]} src="{image[2]}"'


def trim_icons(target: Path, shown: set[str]) -> None:
    """Keep of the theme's icons those that the pages show, and those that its scripts name."""
    for path in (THEME / "scripts").glob("*.js"):
        if path.name != "fontawesome.js":
            shown |= set(SHOWN.findall(path.read_text(encoding="utf-8")))

    def keep(icon: re.Match[str]) -> str:
        names = {icon[1], *re.findall(r'"([\w-]+)"', icon[2])}
        return icon[0] if names & shown else ""

    icons = (THEME / "scripts" / "fontawesome.js").read_text(encoding="utf-8")
    target.write_text(ICON.sub(keep, icons), encoding="utf-8")


def trim_styles(target: Path) -> None:
    """Leave the theme's icons to its script, and of their font the few that its styles draw."""
    styles = GLYPH.sub("", (THEME / "styles" / target.name).read_text(encoding="utf-8"))
    drawn = {letter for letter in styles if "\ue000" <= letter <= "\uf8ff"}
    fonts = THEME / "vendor" / "fontawesome" / "webfonts"
    font = TTFont(fonts / "fa-solid-900.ttf")
    subsetter = Subsetter()
    subsetter.populate(unicodes=map(ord, drawn))
    subsetter.subset(font)
    font.save(target.parent / "icons.ttf")
    face = FACE.search(styles)
    if face is None:
        raise RuntimeError("the theme's styles have no font of icons any more: see book/slim.py")
    own = re.sub(r"src:[^}]*", 'src:url(icons.ttf) format("truetype")', face[0])
    target.write_text(FACE.sub("", styles) + own, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx when to call the functions above."""
    app.connect("config-inited", set_mathjax)
    app.connect("html-page-context", drop, priority=900)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
