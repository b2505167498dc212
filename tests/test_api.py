"""The API reference: every public name is on it, and its docstring says what a caller must know."""

import ast
import re
import subprocess
import sys

import pytest
import yaml
from conftest import HTML, ROOT
from sphinx.util.inventory import InventoryFile

FOLDER, BOOK = ROOT / "kanvae", ROOT / "book"
# What torch or argparse calls: without a docstring, their meaning is that of what they override.
OVERRIDES = {"extra_repr", "backward", "setup_context", "vmap", "jvp", "error"}
Function = ast.FunctionDef


def modules() -> dict[str, ast.Module]:
    """The modules of the package by name, as their sources say, without importing them."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        words = path.relative_to(ROOT).with_suffix("").parts
        if words[-1] != "__main__":
            name = ".".join(word for word in words if word != "__init__")
            found[name] = ast.parse(path.read_text())
    return found


MODULES = modules()


def is_public(name: str) -> bool:
    return not name.startswith("_")


def public_functions(module: ast.Module) -> dict[str, Function]:
    """The public functions of a module and the public methods of its public classes."""
    classes = public_classes(module)
    bodies = {"": module.body} | {f"{name}.": node.body for name, node in classes.items()}
    protocols = [
        node for node in classes.values() if any("Protocol" in ast.unparse(b) for b in node.bases)
    ]
    said = OVERRIDES.union(
        n.name for node in protocols for n in node.body if isinstance(n, Function)
    )
    return {
        f"{prefix}{node.name}": node
        for prefix, body in bodies.items()
        for node in body
        if isinstance(node, Function) and is_public(node.name)
        if text(node)
        or not prefix
        or (node.name not in said and "ctx" not in ast.unparse(node.args))
    }


def public_classes(module: ast.Module) -> dict[str, ast.ClassDef]:
    return {
        node.name: node
        for node in module.body
        if isinstance(node, ast.ClassDef) and is_public(node.name)
    }


def constants(module: ast.Module) -> set[str]:
    """The public names that a module assigns."""
    found = set()
    for node in module.body:
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            for name in getattr(target, "elts", [target]):  # of A, B = 1, 2 both
                if isinstance(name, ast.Name) and is_public(name.id):
                    found.add(name.id)
    return found


def section(docstring: str, name: str) -> list[str]:
    """The names that the entries of a docstring's section begin with."""
    match = re.search(rf"^{name}:\n((?: {{4}}.*\n?|\n)+)", docstring + "\n", re.MULTILINE)
    heads = re.findall(r"^ {4}(\w[^:\n]*):", match[1], re.MULTILINE) if match else []
    return [word.strip(" *") for head in heads for word in head.split(",")]


def text(node: Function | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def arguments(node: Function) -> list[str]:
    a = node.args
    several = [x for x in (a.vararg, a.kwarg) if x is not None]
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, *several)]
    return [name for name in names if name not in ("self", "cls", "ctx")]


def raised(node: ast.AST) -> set[str]:
    """The errors that a function raises by itself, but for those that it catches."""
    found = set()
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        found.add(ast.unparse(node.exc.func).rpartition(".")[2])
    caught = node.body if isinstance(node, ast.Try) and node.handlers else []
    for inner in ast.iter_child_nodes(node):
        if inner not in caught:
            found |= raised(inner)
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The reference's pages: the book's, if it was built of these sources, else made by Sphinx."""
    pages = [BOOK / "api.md", *(BOOK / "api").glob("*.md")]
    sources = (*pages, *FOLDER.rglob("*.py"), *BOOK.glob("*.*"))
    built = BOOK / "_build" / ".doctrees" / "environment.pickle"  # goes where there are warnings
    if built.exists() and built.stat().st_mtime > max(p.stat().st_mtime for p in sources):
        return HTML / "book"
    source, html = (tmp_path_factory.mktemp(name) for name in ("source", "html"))
    settings = yaml.safe_load((BOOK / "_config.yml").read_text())["sphinx"]["config"]
    kept = {
        name: value
        for name, value in settings.items()
        if name.startswith(("add_", "auto", "napoleon", "default_role", "nitpick", "python", "toc"))
    }
    kept["extensions"] = [
        name for name in settings["extensions"] if name.startswith("sphinx.ext") or name == "api"
    ]
    kept["extensions"].append("myst_parser")
    kept |= {"root_doc": "book/api", "suppress_warnings": ["myst.xref_missing"]}
    lines = [f"import sys; sys.path.insert(0, {str(BOOK)!r})"]
    lines += [f"{name} = {value!r}" for name, value in kept.items()]
    (source / "conf.py").write_text("\n".join(lines))
    for path in pages:
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    with (source / "book" / "api.md").open("a") as file:
        file.write("\n```{toctree}\n:glob:\n\napi/*\n```\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going", source, html]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return html / "book"


@pytest.fixture(scope="module")
def names(reference):
    """Every object on the pages, by its full name."""
    with (reference.parent / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, name: name)
    return {name for kind, group in inventory.items() if kind.startswith("py:") for name in group}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_the_page(module, names):
    tree = MODULES[module]
    wanted = {*public_functions(tree), *public_classes(tree), *constants(tree)}
    missing = {f"{module}.{name}" for name in wanted} - names
    assert not missing, f"name {module} in a page of book/api/, and give these a docstring"
    assert module in names or not wanted


def test_the_names_that_the_package_offers_are_linked(reference):
    import kanvae

    page = (reference / "api.html").read_text()
    for name in kanvae.__all__:
        assert re.search(rf'href="api/\w+\.html#kanvae[\w.]*\.{name}"', page), name


def test_short_names_in_docstrings_are_links(reference):
    page = (reference / "api" / "training.html").read_text()
    for target in ("models.html#kanvae.architectures.Architecture", "#kanvae.runs.RunError"):
        assert f'href="{target}"' in page


def test_no_path_of_this_machine_is_on_the_pages(reference):
    for page in reference.rglob("*.html"):
        assert str(ROOT) not in page.read_text(), page


@pytest.mark.parametrize("module", MODULES)
class TestDocstrings:
    def test_every_public_name_has_one(self, module):
        assert ast.get_docstring(MODULES[module])
        found = public_functions(MODULES[module]) | public_classes(MODULES[module])
        assert not [name for name, node in found.items() if not text(node)]

    def test_arguments_named_are_those_that_there_are(self, module):
        for name, node in public_functions(MODULES[module]).items():
            assert set(section(text(node), "Args")) <= set(arguments(node)), name

    def test_a_class_says_what_all_its_arguments_are(self, module):
        for name, node in public_classes(MODULES[module]).items():
            makers = [n for n in node.body if isinstance(n, Function) and n.name == "__init__"]
            fields = [
                n.target.id
                for n in node.body
                if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
            ]
            is_data = any("dataclass" in ast.unparse(d) for d in node.decorator_list)
            wanted = arguments(makers[0]) if makers else fields if is_data else []
            assert set(wanted) <= set(section(text(node), "Args")), name

    def test_errors_raised_are_named(self, module):
        for name, node in public_functions(MODULES[module]).items():
            for error in raised(node):
                assert error in text(node), f"{name} raises {error}"

    def test_tensors_have_shapes(self, module):
        for name, node in public_functions(MODULES[module]).items():
            hints = [a.annotation for a in (*node.args.args, *node.args.kwonlyargs)]
            hints.append(node.returns)
            if any(hint is not None and ast.unparse(hint) == "Tensor" for hint in hints):
                shapes = re.sub(r"\([^()]*\d{4}[^()]*\)", "", text(node))  # citations have a year
                assert re.search(r"\([^()]*(?:,|\.\.\.)[^()]*\)|scalar", shapes), name
