"""What the book adds to Sphinx for its API reference: constants, comments, short names as links.

jupyter-book loads this file as an extension (`local_extensions` in `_config.yml`). The pages under
`api/` name the modules; everything else on them is read from the docstrings, and of constants and
of the fields of named tuples, from the comments on their lines.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import sys
import tokenize
import zlib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autodoc import DataDocumenter, ModuleDocumenter

ARGUMENTS = '<dl>\n<dd><em class="sig-param">'  # how Sphinx 7 begins those of a long signature
MENDED = ARGUMENTS.replace("<dl>", '<dl role="none">')  # they are no list of terms


class ConstantDocumenter(DataDocumenter):
    """Documents the constants that a module assigns, by their comments."""

    @classmethod
    def can_document_member(cls, member: Any, membername: str, isattr: bool, parent: Any) -> bool:
        """Whether this is a constant that the module itself assigns."""
        if not isinstance(parent, ModuleDocumenter):
            return False
        return membername in _comments(Path(parent.object.__file__))

    def check_module(self) -> bool:
        """Whether the module itself assigns it, wherever its type is from: see above."""
        return True

    def get_doc(self) -> list[list[str]]:
        """The constant's comment, where Python would give the docstring of its type."""
        return [[_comment(self.fullname)]]

    def should_suppress_value_header(self) -> bool:
        """Leave out values that say nothing or too much: objects, this machine's paths, tables."""
        value = repr(self.object)
        is_plain = len(value) < 160 and not re.search(r"<|Path\(|compile\(", value)
        return not is_plain or super().should_suppress_value_header()


def keep(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """List a module's names without a docstring; the fields of data classes stay out.

    They stand among the arguments of their class.
    """
    return False if what == "module" and not name.startswith("_") else None


def public(app: Sphinx, name: str, obj: Any, options: Any, bases: list[type]) -> None:
    """Name the bases of a private base of a class in its place: it is on no page."""
    bases[:] = [
        each for base in bases for each in (base.__bases__ if base.__name__[0] == "_" else (base,))
    ]


def read(app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Carry the plain layout of a docstring to Sphinx: indented blocks are shown as they stand.

    Of the field of a named tuple Python says nothing of use: its comment serves.
    """
    if lines and lines[0].startswith("Alias for field number"):
        lines[:] = [_comment(name)]
    text = "\n".join(lines)
    lines[:] = re.sub(r"^(\S.*)\n\n(?= {4})", r"\1\n\n::\n\n", text, flags=re.M).split("\n")


def _comment(name: str) -> str:
    """The comment of a constant, or of the field of a class, by its full name."""
    for cut in range(name.count("."), 0, -1):
        words = name.split(".")
        if module := sys.modules.get(".".join(words[:cut])):
            return _comments(Path(str(module.__file__))).get(".".join(words[cut:]), "")
    return ""


@functools.cache
def _comments(path: Path) -> dict[str, str]:
    """The comments behind or above every assignment in a module and in its classes."""
    source = path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
    comments = {}

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{prefix}{node.name}.")
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            for target in [name for each in targets for name in getattr(each, "elts", [each])]:
                if not isinstance(target, ast.Name):
                    continue
                lines = sorted({node.lineno, node.end_lineno} & found.keys())
                for line in range(node.lineno - 1, 0, -1) if not lines else ():
                    if line not in found or not found[line].line.lstrip().startswith("#"):
                        break
                    lines.insert(0, line)
                words = [found[line].string.lstrip("#: ") for line in lines]
                comments[prefix + target.id] = " ".join(w for w in words if w != "fmt: skip")

    collect(ast.parse(source).body, "")
    return comments


def find_short(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Resolve `KANLinear`, `runs.RunError` or `runs.root()` in any module's docstring.

    Other short names are left alone: `x` is an argument wherever there is a function `x` elsewhere.
    """
    name = node.get("reftarget", "").removesuffix("()")
    if node.get("refdomain") != "py" or not (name[:1].isupper() or "." in name):
        return None
    found = {
        (entry.docname, entry.node_id)
        for full, entry in env.get_domain("py").objects.items()  # type: ignore[attr-defined]
        if full == name or full.endswith(f".{name}")
    }
    if len(found) != 1:
        return None
    page, place = found.pop()
    target = app.builder.get_relative_uri(node.get("refdoc", app.env.docname), page)
    return nodes.reference("", "", content, internal=True, refuri=f"{target}#{place}")


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Tell screen readers that the arguments of a signature are no list of terms."""
    if body := context.get("body"):
        context["body"] = body.replace(ARGUMENTS, MENDED)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx when to call the functions above."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_autodocumenter(ConstantDocumenter, override=True)
    app.connect("autodoc-skip-member", keep)
    app.connect("autodoc-process-bases", public)
    app.connect("autodoc-process-docstring", read, priority=400)  # before napoleon
    app.connect("missing-reference", find_short)
    app.connect("html-page-context", mend)
    version = zlib.crc32(Path(__file__).read_bytes())  # pages are made anew when this file changes
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": version}
