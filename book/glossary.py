"""What the glossary adds to the chapters: a word's first mention on a page leads to its meaning.

The meaning shows over the word as long as a pointer or the keyboard's focus is on it. jupyter-book
loads this file as an extension.
"""

from __future__ import annotations

import re
import zlib
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

# Inside these a word stays as it is: code, formulas, names of things, what is a link already.
PLAIN = (
    nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.title,
    nodes.caption, nodes.table, nodes.raw, nodes.image, nodes.citation, nodes.term, nodes.emphasis,
)  # fmt: skip


def read(app: Sphinx, document: nodes.document) -> None:
    """Keep the words of a glossary with their meanings; pages are made anew when one changes."""
    for glossary in document.findall(nodes.definition_list):
        if "glossary" not in glossary["classes"]:
            continue
        found = {}
        for item in glossary.findall(nodes.definition_list_item):
            meaning = " ".join(item[-1].astext().split())
            for term in item.findall(nodes.term):
                found[term.astext().lower()] = (app.env.docname, term["ids"][0], meaning)
        env: Any = app.env  # keeps what extensions give it
        env.book_words_changed = found != getattr(env, "book_words", None)
        env.book_words = found


def renew(app: Sphinx, env: Any) -> list[str]:
    """The pages to write again: all, if the glossary has changed."""
    changed, env.book_words_changed = getattr(env, "book_words_changed", False), False
    return sorted(env.found_docs) if changed else []


class Explain(SphinxPostTransform):
    """Makes each word's first mention on a page a link that carries its meaning."""

    default_priority = 5
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Explain each word once."""
        words = dict(getattr(self.env, "book_words", {}))
        here = self.env.docname
        explained = here.startswith("notebooks/") or here == self.env.config.root_doc
        if not explained or self.app.builder.name == "epub":
            return
        for text in list(self.document.findall(nodes.Text)):
            if not words:
                return
            if _is_prose(text):
                self._explain(text, words, here)

    def _explain(self, text: nodes.Text, words: dict[str, tuple[str, str, str]], here: str) -> None:
        longest = sorted(words, key=len, reverse=True)
        parts: list[nodes.Node] = []
        rest = str(text)
        while longest and (match := _pattern(longest).search(rest)):
            page, place, meaning = words.pop(match[1].lower())
            longest.remove(match[1].lower())
            address = f"{self.app.builder.get_relative_uri(here, page)}#{place}"
            link = f'<a class="word" href="{escape(address)}" data-meaning="{escape(meaning)}">'
            # the word stays text, for what reads a page without its tags
            word = [nodes.raw("", link, format="html"), nodes.Text(match[0])]
            word.append(nodes.raw("", "</a>", format="html"))
            parts += [nodes.Text(rest[: match.start()]), *word]
            rest = rest[match.end() :]
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(rest)])


def _pattern(words: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, words))})s?(?![\w-])", re.IGNORECASE)


def _is_prose(text: nodes.Text) -> bool:
    node = text.parent
    if not isinstance(node, nodes.paragraph | nodes.strong):
        return False
    while node is not None:
        if isinstance(node, PLAIN):
            return False
        node = node.parent
    return True


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx when to call the functions above."""
    app.add_post_transform(Explain)
    app.connect("doctree-read", read)
    app.connect("env-updated", renew)
    version = zlib.crc32(Path(__file__).read_bytes())  # pages are made anew when this file changes
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": version}
