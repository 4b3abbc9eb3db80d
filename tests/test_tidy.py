"""The house rules that no tool knows. Each failure names the file and the line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_OURS = {
    *(".git", ".venv", ".venv-lock", ".relevo", ".hypothesis", ".fuzz", "__pycache__", "dist"),
    "corpus",  # what a fuzzer has found
}

FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 60
TEST_NAME_WORDS_MIN = 3
EMPTY_NAMES = {"utils", "helpers", "manager", "data", "misc", "common", "process"}
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s")
# migrate.py asks for a schema that may not be there yet; everything else is a named .sql statement
SQL_ALLOWED = (ROOT / "relevo/store/migrate.py", ROOT / "relevo/store/migrations")
# put together here, so that this file does not find itself
NAMED_NOWHERE = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "deb" + "ian.org",
    "crates" + ".io",
    "proxy.go" + "lang.org",
    "/wo" + "rk/",
]


def our_files() -> Iterator[Path]:
    """Yield every file of the project that is not made by a tool."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in NOT_OURS or path.name.endswith(("_cache", ".egg-info")):
                continue
            if path.is_dir() and not path.is_symlink():
                folders.append(path)
            elif path.is_file() and not path.name.startswith(".coverage"):
                yield path


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


PYTHON = [path for path in our_files() if path.suffix == ".py"]
PRODUCT = [path for path in PYTHON if path.is_relative_to(ROOT / "relevo")]
TESTS = [path for path in PYTHON if path.name.startswith("test_")]

each_file = pytest.mark.parametrize("path", PYTHON, ids=named)
each_product_file = pytest.mark.parametrize("path", PRODUCT, ids=named)
each_test_file = pytest.mark.parametrize("path", TESTS, ids=named)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(path: Path) -> Iterator[str]:
    """Yield `package.name` of everything that a file imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(path: Path) -> Iterator[str]:
    """Yield `name` or `owner.name` of everything that a file calls."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@each_file
def test_a_file_fits_in_one_reading(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX


@each_file
def test_a_function_fits_on_one_screen(path: Path) -> None:
    long = [
        f"{named(path)}:{function.lineno} {function.name}"
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


@each_file
def test_a_module_is_named_for_what_it_does(path: Path) -> None:
    assert path.stem not in EMPTY_NAMES
    assert path.parent.name not in EMPTY_NAMES


@each_product_file
def test_sql_stands_in_sql_files(path: Path) -> None:
    texts = [
        f"{named(path)}:{node.lineno} {node.value.strip()[:30]}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
        if not any(path.is_relative_to(allowed) for allowed in SQL_ALLOWED)
    ]
    assert not texts


@each_test_file
def test_the_name_of_a_test_is_a_sentence(path: Path) -> None:
    short = [
        f"{named(path)}:{function.lineno} {function.name}"
        for function in functions(path)
        if function.name.startswith("test_")
        if len(function.name.removeprefix("test_").split("_")) < TEST_NAME_WORDS_MIN
    ]
    assert not short


@each_test_file
def test_a_test_waits_for_signals_and_not_for_time(path: Path) -> None:
    assert not {"asyncio.sleep", "time.sleep"} & {*imported(path), *called(path)}


@each_test_file
def test_a_test_patches_nothing(path: Path) -> None:
    mocks = [name for name in imported(path) if re.match(r"unittest\.mock|unittest.*\.mock", name)]
    patches = [name for name in called(path) if re.fullmatch(r"\w*patch\w*\.(set|del)attr", name)]
    assert not mocks + patches


@pytest.mark.parametrize("path", [path for path in our_files() if path.stat().st_size], ids=named)
def test_no_file_names_a_registry_or_a_workplace(path: Path) -> None:
    content = path.read_bytes()
    assert not [word for word in NAMED_NOWHERE if word.encode() in content]


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "requirements-fuzz.lock"]
)
def test_a_lock_file_pins_every_package_and_nothing_else(name: str) -> None:
    comment, *pins = (ROOT / name).read_text().splitlines()
    assert comment.startswith("#")
    assert not [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin)]


def test_the_lock_files_agree_with_each_other_and_with_the_project() -> None:
    run = set((ROOT / "requirements.lock").read_text().splitlines()[1:])
    develop = set((ROOT / "requirements-dev.lock").read_text().splitlines()[1:])
    assert run < develop
    project = re.findall(
        r'"([A-Za-z0-9-]+)(?:\[\w+\])?==([^"]+)"', (ROOT / "pyproject.toml").read_text()
    )
    pinned = {pin.lower().replace("_", "-") for pin in develop}
    assert {f"{name.lower()}=={version}" for name, version in project} <= pinned


def test_the_readme_uses_only_commands_that_exist() -> None:
    readme, makefile = (ROOT / name for name in ("README.md", "Makefile"))
    targets = set(re.findall(r"^([a-z-]+):", makefile.read_text(), re.MULTILINE))
    blocks = re.findall(r"^```sh\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    commands = [line.split("#")[0].split()[1:] for line in lines if line.startswith("make ")]
    used = {word for words in commands for word in words if re.fullmatch(r"[a-z-]+", word)}
    assert used <= targets
