"""What the book tells of its pages: to search engines, reference managers, feeds and readers.

Each page gets its canonical address, a description, `citation_*` tags and a line at its top with
the minutes that it takes to read and to run; the book gets a map for search engines. What is told
comes from `about.json`, which book/build.py writes. jupyter-book loads this file as an extension.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from datetime import date
from html import escape, unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

ABOUT = json.loads((Path(__file__).parent / "about.json").read_text(encoding="utf-8"))
WORDS_A_MINUTE = 200  # of prose with formulas; of plain prose people read 240
LETTERS = 200  # of a description, for which search engines have room
NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"


def set_address(app: Sphinx, config: Config) -> None:
    """Set where the book is published, from where its source is: one address for both."""
    repository = config.html_theme_options["repository_url"]
    match = re.fullmatch(r"https://github\.com/([\w-]+)/([\w.-]+)", repository)
    if match is None:
        raise ValueError(f"repository.url in book/_config.yml is {repository!r}, not on GitHub")
    config.html_baseurl = f"https://{match[1].lower()}.github.io/{match[2]}/"
    config.ogp_site_url = config.html_baseurl


def read_top(app: Sphinx, document: nodes.document) -> None:
    """Take the badge of a chapter out of its page, and count the page's words.

    The badge comes back in the line of `top`: search engines take a page's first words for its
    description.
    """
    about = app.env.metadata[app.env.docname]
    for link in document.findall(nodes.reference):
        if "colab.research.google.com" in link.get("refuri", "") and isinstance(
            link.next_node(nodes.image), nodes.image
        ):
            about["colab"] = link["refuri"]
            link.parent.parent.remove(link.parent)
            break
    prose = (text for text in document.findall(nodes.Text) if _is_prose(text))
    about["words"] = str(sum(len(text.split()) for text in prose))
    if said := ABOUT["abstract"] if app.env.docname == "book/index" else answer(document):
        about["og:description"] = said


def answer(document: nodes.document) -> str:
    """The first whole sentences of a chapter's answer; "" on other pages."""
    for paragraph in document.findall(nodes.paragraph):
        first, _, text = " ".join(paragraph.astext().split()).partition("The answer. ")
        if text and not first:
            said, *others = re.split(r"(?<=[.?!]) (?=[A-Z])", text)
            for sentence in others:
                if len(said) > LETTERS / 4 and len(said) + len(sentence) >= LETTERS:
                    break
                said += f" {sentence}"
            return said
    return ""


def _is_prose(text: nodes.Text) -> bool:
    node = text.parent
    while node is not None:
        if isinstance(node, nodes.literal_block | nodes.raw | nodes.table | nodes.comment):
            return False
        node = node.parent
    return True


def describe(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Tell search engines what `read_top` found for them; before the extension for Open Graph."""
    if tree is not None and (said := (context.get("meta") or {}).get("og:description")):
        context["metatags"] += f'<meta name="description" content="{escape(said)}">\n'


def top(page: str, meta: dict[str, str], root: str) -> str:
    """The line under the title of a page: badge, minutes to read and to run, day of last change."""
    known = ABOUT["pages"].get(page, {})
    parts = []
    if "colab" in meta:
        badge = f'<img src="{root}_static/colab.svg" width="117" height="20" alt="Open in Colab">'
        parts.append(f'<a href="{escape(meta["colab"])}">{badge}</a>')
    if known.get("seconds") is not None:
        minutes = math.ceil(int(meta["words"]) / WORDS_A_MINUTE)
        parts.append(f"{minutes} min to read")
        cores = "a core" if known["threads"] == 1 else f"{known['threads']} cores"
        parts.append(f"{duration(known['seconds'])} to run on {cores}, no GPU needed")
    if known.get("changed"):
        day = date.fromisoformat(known["changed"])
        parts.append(f'updated <time datetime="{day}">{day.day} {day:%B %Y}</time>')
    items = "".join(f"<span>{part}</span>" for part in parts)
    return f'<p class="page-top">{items}</p>' if parts else ""


def duration(seconds: float) -> str:
    """A time in words, in the unit that suits it: seconds below a minute and a half, minutes."""
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{round(seconds / 60)} min"


def citation(page: str, title: str, address: str, files: set[str]) -> str:
    """The tags by which reference managers and Google Scholar know a page of the book."""
    chapter = page.startswith("notebooks/")
    tags = [("citation_title", title if chapter else ABOUT["title"])]
    tags += [("citation_author", name) for name in ABOUT["authors"]]
    tags.append(("citation_publication_date", ABOUT["date"].replace("-", "/")))
    if chapter:
        tags.append(("citation_inbook_title", ABOUT["title"]))
    tags += [("citation_language", "en"), ("citation_fulltext_html_url", f"{address}{page}.html")]
    if not chapter and "kan-vae-book.pdf" in files:
        tags.append(("citation_pdf_url", f"{address}kan-vae-book.pdf"))
    return "".join(f'<meta name="{name}" content="{escape(text)}">\n' for name, text in tags)


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """The pages whose top line would say something else now, though their source is as it was."""
    before, now = getattr(env, "tops", {}), ABOUT["pages"]
    env.tops = now  # type: ignore[attr-defined]
    return [page for page in env.found_docs if before.get(page) != now.get(page)]


def tell(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Add to a page what the functions above make of it, and mend its link for edits."""
    if tree is None or app.builder.format != "html" or app.builder.name == "epub":
        return
    files = {path.name for folder in app.config.html_extra_path
             for path in (Path(app.confdir) / folder).glob("*")}  # fmt: skip
    title = re.sub(r"^[\d.]+\s", "", unescape(re.sub(r"<.*?>", "", context["title"])))
    context["metatags"] += citation(page, title, app.config.html_baseurl, files)
    if page == app.config.root_doc:  # the book's own name once, not twice
        context["docstitle"] = ""
    root = "../" * page.count("/")
    line = top(page, context.get("meta") or {}, root)
    context["body"] = context["body"].replace("</h1>", f"</h1>\n{line}", 1)
    _lead_edits(context.get("header_buttons", []), ABOUT["pages"].get(page, {}).get("origin"))


def _lead_edits(buttons: list[dict[str, Any]], origin: str | None) -> None:
    """Lead the button for edits to the file that a person edits: of a chapter, its .py."""
    for group in buttons:
        inner = group.get("buttons", [])
        _lead_edits(inner, origin)
        for button in inner:
            if button.get("label") == "source-edit-button" and origin:
                button["url"] = re.sub(r"(/edit/[^/]+/).*", rf"\1{origin}", button["url"])


def map_site(app: Sphinx, exception: Exception | None) -> None:
    """Write sitemap.xml: every page of the book, with the day of its last change."""
    if exception or app.builder.name != "html":
        return
    urls = ElementTree.Element("urlset", xmlns=NAMESPACE)
    for page in sorted(app.env.found_docs):
        url = ElementTree.SubElement(urls, "url")
        ElementTree.SubElement(url, "loc").text = f"{app.config.html_baseurl}{page}.html"
        if changed := ABOUT["pages"].get(page, {}).get("changed"):
            ElementTree.SubElement(url, "lastmod").text = changed
    tree = ElementTree.ElementTree(urls)
    tree.write(Path(app.outdir, "sitemap.xml"), encoding="utf-8", xml_declaration=True)
    robots = f"User-agent: *\nAllow: /\nSitemap: {app.config.html_baseurl}sitemap.xml\n"
    Path(app.outdir, "robots.txt").write_text(robots, encoding="utf-8")


def open_door(app: Sphinx, exception: Exception | None) -> None:
    """Write index.html, the address that people have: it tells what the front page tells."""
    front = Path(app.outdir, f"{app.config.root_doc}.html")
    if exception or app.builder.name != "html" or not front.exists():
        return
    names = 'description|og:[^"]*|twitter:[^"]*|citation_[^"]*'
    metas = rf'<meta (?:name|property)="(?:{names})"[^>]*>'
    wanted = rf'<title>.*?</title>|<link rel="canonical"[^>]*>|{metas}'
    told = "\n".join(re.findall(wanted, front.read_text(encoding="utf-8")))
    there = f"{app.config.root_doc}.html"
    Path(app.outdir, "index.html").write_text(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="refresh" content="0; url={there}">\n{told}\n</head>'
        f'<body><a href="{there}">{escape(ABOUT["title"])}</a></body></html>\n',
        encoding="utf-8",
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx when to call the functions above."""
    app.connect("config-inited", set_address)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", read_top)
    app.connect("html-page-context", describe, priority=400)
    app.connect("html-page-context", tell, priority=900)  # after the theme has made its buttons
    app.connect("build-finished", map_site)
    app.connect("build-finished", open_door, priority=900)  # in place of jupyter-book's
    version = zlib.crc32(Path(__file__).read_bytes())  # pages are made anew when this file changes
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": version}
