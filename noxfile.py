"""The book's commands: `nox -l` lists them, `nox -s NAME` runs one."""

import hashlib
import os
import re
import sys
from pathlib import Path

import nox

nox.options.sessions = ["book", "tests"]
nox.options.default_venv_backend = "none"  # the sessions share one environment, made by `python`

ENVIRONMENT = Path(".nox", "kanvae").absolute()
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")


def python(session: nox.Session, *arguments: str, **variables: str) -> None:
    """Run the shared environment's Python, after making it hold the locked requirements."""
    executable = str(BIN / "python")
    inputs = (Path("pyproject.toml"), Path("constraints.txt"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    digest += f" {Path.cwd()} {sys.version}"
    stamp = ENVIRONMENT / "installed-requirements"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != digest:
        session.log("Installing the locked requirements (torch is large: some minutes, once).")
        stamp.unlink(missing_ok=True)
        session.run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        session.run(executable, *install, "-c", "constraints.txt", "--editable", ".[tests]")
        stamp.write_text(digest, encoding="utf-8")
    path = os.pathsep.join((str(BIN), os.environ.get("PATH", "")))
    session.run(executable, *arguments, env=variables | {"PATH": path})


@nox.session
def book(session: nox.Session) -> None:
    """Build the book: execute the chapters that changed, render book/_build/html."""
    python(session, "book/build.py", *session.posargs)


@nox.session
def pdf(session: nox.Session) -> None:
    """Make the PDF of the whole book from its executed chapters; needs lualatex and latexmk."""
    python(session, "book/press.py", "pdf", *session.posargs)


@nox.session
def epub(session: nox.Session) -> None:
    """Make the EPUB of the whole book and check it; needs Node.js, and Java for the check."""
    python(session, "book/press.py", "epub", *session.posargs)


@nox.session
def lighthouse(session: nox.Session) -> None:
    """Measure the built book with Lighthouse: -- notebooks/11_why; needs npm and Chromium."""
    folder = Path(".nox", "lighthouse").absolute()
    install = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder))
    session.run(*install, "lighthouse@13.5.0", external=True)
    program = folder / "node_modules" / ".bin" / "lighthouse"
    python(session, "benchmarks/lighthouse.py", "--program", str(program), *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, on every core; those of the rendered book need it built, and Chromium."""
    workers = str((os.cpu_count() or 1) + 2)  # some only wait, for a kernel or a cluster
    # A file shares its browser and its runs. Files are taken in the order of tests/conftest.py.
    spread = ("-n", workers, "--dist", "loadfile", "--no-loadscope-reorder")
    # Memory for large tensors comes in large pages: in small ones it takes as long as computing.
    settings = {"OMP_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": "1"}
    python(session, "-m", "pytest", *spread, *session.posargs, **settings)


@nox.session
def reproduce(session: nox.Session) -> None:
    """Train and score all that the book shows: hours; resumes; -- --status, --help."""
    python(session, "-m", "kanvae", "reproduce", *session.posargs)


@nox.session
def sweep(session: nox.Session) -> None:
    """Execute a chapter over a grid: -- notebooks/04_training.ipynb -p seed 0:5; -- --help."""
    python(session, "-m", "kanvae", "sweep", *session.posargs)


@nox.session
def search(session: nox.Session) -> None:
    """Search for architectures; resumes; -- --trials 150, --help."""
    python(session, "-m", "kanvae", "search", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, which module imports which, and that each chapter's two files agree."""
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "ruff", "format", "--check", ".")
    python(session, "-m", "mypy")
    python(session, "-c", "from importlinter.cli import lint_imports_command as lint; lint()")
    python(session, "book/build.py", "--check-pairs")
    session.run(str(BIN / "oxlint"), "--deny-warnings", "book/_static", "kanvae", external=True)


@nox.session
def sync(session: nox.Session) -> None:
    """Carry the newer of each chapter's .py and .ipynb to the other, and format them."""
    python(session, "book/build.py", "--sync")
    python(session, "-m", "ruff", "format", ".")
    python(session, "book/build.py", "--sync")


@nox.session
def environment(session: nox.Session) -> None:
    """Make the shared environment in .nox/kanvae, and nothing else."""
    python(session, "--version")


@nox.session(venv_backend="venv")
def newest(session: nox.Session) -> None:
    """Run the tests against the newest of everything, in an environment of its own."""
    session.install("--upgrade", "--upgrade-strategy", "eager", "--editable", ".[tests]")
    session.run("pytest", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Renew constraints.txt: the newest versions that agree, for all systems and Pythons."""
    python(session, "-m", "pip", "install", "--quiet", "uv")
    python(
        session, "-m", "uv", "pip", "compile", "pyproject.toml", "--extra", "tests", "--universal",
        "--python-version", "3.11", "--no-header", "--upgrade", "--quiet", "-o", "constraints.txt",
    )  # fmt: skip


@nox.session
def address(session: nox.Session) -> None:
    """Carry a new address of the repository everywhere: nox -s address -- https://github.com/O/R."""
    pattern = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)")
    new = pattern.fullmatch(session.posargs[0]) if len(session.posargs) == 1 else None
    old = pattern.search(Path("pyproject.toml").read_text(encoding="utf-8"))
    if new is None or old is None:
        raise SystemExit("give the new address, in the form https://github.com/OWNER/REPOSITORY")

    def pages(slug: str) -> str:  # where GitHub publishes the book of a repository
        owner, repository = slug.split("/")
        return f"{owner.lower()}.github.io/{repository}"

    listing = session.run("git", "ls-files", silent=True, external=True)
    for path in map(Path, str(listing).split()):
        if path.suffix not in (".gz", ".png", ".safetensors"):
            text = path.read_text(encoding="utf-8")
            moved = text.replace(old[1], new[1]).replace(pages(old[1]), pages(new[1]))
            if moved != text:
                path.write_text(moved, encoding="utf-8")
                session.log(f"{path}: now {new[1]}")


@nox.session
def bench(session: nox.Session) -> None:
    """Time KAN layers against their peers, updates and sweeps: -- --checkout PATH --device cuda."""
    peers = Path(".nox", "peers").absolute()
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    python(session, *install, "--upgrade", "--target", str(peers), "flashkan", "inkan", "pykan")
    python(session, "benchmarks/layers.py", "--peers", str(peers), *session.posargs)
    python(session, "benchmarks/updates.py")
    python(session, "benchmarks/sweeps.py")


@nox.session
def soak(session: nox.Session) -> None:
    """Kill sweeps, trainings, searches and reproductions, compare what is left: -- --kills 20."""
    python(session, "benchmarks/soak.py", *session.posargs)


@nox.session
def colab(session: nox.Session) -> None:
    """Run every chapter on the Python that runs nox, as Colab does: alone, without the checkout."""
    session.run(
        sys.executable, "-m", "pip", "install", "--quiet", ".[export,studies]", "tensorboard"
    )
    session.run(sys.executable, "tests/run_alone.py", *session.posargs)
