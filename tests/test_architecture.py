"""The rules of the house, checked over the source: floors, sizes, who prints, who catches, what is documented."""

import ast
import re
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "claude_force"

FLOORS = {
    "ground": (
        "__init__",
        "records",
        "errors",
        "files",
        "globs",
        "frozen",
        "secret",
        "redaction",
        "durations",
        "run_ids",
    ),
    "cellar": ("settings", "models", "extras"),
    "works": (
        "workflow",
        "library",
        "answers",
        "prompt",
        "attachments",
        "pools",
        "routing",
        "selection",
        "client",
        "stores",
        "reports",
        "simulator",
    ),
    "stairs": ("running",),
    "hall": ("project", "terminal", "api"),
    "rooms": ("commands", "benchmarks"),
    "roof": ("parsing", "cli", "__main__"),
}
FLOOR = {room: number for number, rooms in enumerate(FLOORS.values()) for room in rooms}
NEIGHBOURS = {
    ("reports", "stores"),
    ("reports", "workflow.dag"),
    ("workflow", "answers.schema"),
    ("attachments", "library.markdown"),
}
"""Works that may import another: who, and whom, or which module of it."""
FOR_ROOMS = ("api", "library.lint")
"""What only Python programs and the rooms ask for."""
OUTBUILDINGS = {
    "anthropic_sdk": {"anthropic", "httpx2"},  # the SDK raises the errors of its HTTP library as they are
    "sentence_transformers": {"sentence_transformers"},
}
"""Files of `extras` and the third-party package that each imports, with what its interface is made of."""
PROCESSES = {"claude_force.benchmarks.bare", "claude_force.benchmarks.launcher"}
"""Run as processes of their own, by the benchmarks; their stdout is read by those."""
STREAMS = ("sys.stdout", "sys.stderr")
OTHER_PRINTERS = {
    ("claude_force.parsing", "parser.print_help(sys.stderr)"),  # argparse writes its help itself
    ("claude_force.stores.summing", "pickle.dump(batch, sys.stdout.buffer)"),  # in a child: a file of its parent's
}
"""Calls that touch a standard stream beside the screen, and why they may."""


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules():
    """Return the syntax tree of each module by its dotted name."""
    paths = sorted(p for p in PACKAGE.rglob("*.py") if "sample" not in p.parts)
    return {name_of(p): ast.parse(p.read_text(encoding="utf-8"), str(p)) for p in paths}


def path_of(module):
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def room_of(module):
    """Return the room that a module lies in: the first part of its name below the package."""
    return module.split(".")[1] if "." in module else "__init__"


def is_outbuilding(module):
    return module.startswith("claude_force.extras.")


def lies_in(module, places):
    """Whether a module is one of `places`, packages or modules by their names below the package."""
    return any(f"{module}.".startswith(f"claude_force.{place}.") for place in places)


def for_types_only(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def at_run_time(tree):
    """Yield all nodes but those below `if TYPE_CHECKING`."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        pending += node.orelse if for_types_only(node) else ast.iter_child_nodes(node)


def imports(module):
    """Yield the dotted name of each module that `module` imports at run time, wherever in it, and the line."""
    for node in at_run_time(modules()[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(module, node)
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield (inner if inner in modules() else origin), node.lineno


def absolute(module, node):
    if not node.level:
        return node.module
    package = module if path_of(module).name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def own_imports(module):
    return [(name, line) for name, line in imports(module) if name.partition(".")[0] == "claude_force"]


def functions():
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}:{node.lineno} {node.name}", node


def length(node):
    return node.end_lineno - node.lineno + 1


def called(node):
    """Return the dotted name that a call names, as in `sys.exit`, or ''."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def test_every_module_has_a_floor():
    assert {room_of(module) for module in modules()} <= set(FLOOR)


def test_the_readme_has_a_map_of_the_house():
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    floors = [(floor, text) for floor, text in rows if floor in FLOORS]
    assert [floor for floor, _ in floors] == [*reversed(FLOORS)]
    named = {floor: set(re.findall(r"`(\w+)`", text)) for floor, text in floors}
    assert named == {floor: set(modules) for floor, modules in FLOORS.items()}


def test_imports_go_down_the_floors():
    wrong = [
        f"{module}:{line} imports {name}"
        for module in modules()
        if not is_outbuilding(module)
        for name, line in own_imports(module)
        if room_of(name) != room_of(module) and FLOOR[room_of(name)] > FLOOR[room_of(module)]
    ]
    assert wrong == []


def test_works_do_not_know_each_other():
    wrong = [
        f"{module}:{line} imports {name}"
        for module in modules()
        for name, line in own_imports(module)
        if {room_of(module), room_of(name)} <= set(FLOORS["works"])
        and room_of(module) != room_of(name)
        and not lies_in(name, (whom for who, whom in NEIGHBOURS if who == room_of(module)))
    ]
    assert wrong == []


def test_what_the_rooms_alone_ask_for_is_imported_by_nothing_below_them():
    wrong = [
        f"{module}:{line} imports {name}"
        for module in modules()
        for name, line in own_imports(module)
        for place in FOR_ROOMS
        if lies_in(name, (place,)) and not lies_in(module, (place,)) and FLOOR[room_of(module)] < FLOOR["commands"]
    ]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: {name for name, _ in own_imports(module)} - {module} for module in modules()}
    TopologicalSorter(graph).prepare()


def test_an_outbuilding_is_imported_by_nobody():
    """The table in `extras` names them; a module that imported one would need its package."""
    wrong = [f"{module}:{line}" for module in modules() for name, line in own_imports(module) if is_outbuilding(name)]
    assert wrong == []


def test_third_party_packages_are_imported_in_their_own_file_alone():
    wrong = [
        f"{module}:{line} imports {name}"
        for module in modules()
        for name, line in imports(module)
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names | {"claude_force"}
        and not (is_outbuilding(module) and top in OUTBUILDINGS.get(module.rpartition(".")[2], ()))
    ]
    assert wrong == []


def test_only_the_screen_and_the_board_touch_the_standard_streams():
    found = {
        (module, ast.unparse(node))
        for module, tree in modules().items()
        if room_of(module) != "terminal" and module not in PROCESSES
        for node in at_run_time(tree)
        if isinstance(node, ast.Call) and touches_a_stream(node)
    }
    assert found == OTHER_PRINTERS


def touches_a_stream(call):
    """Whether a call prints, or hands a standard stream to who may; a screen is what prints, whatever it is given."""
    name, given = called(call), [*call.args, *(keyword.value for keyword in call.keywords)]
    if name in {"print", "input"} or (name.startswith(STREAMS) and "write" in name):
        return True
    return name != "Screen" and any(ast.unparse(argument).removesuffix(".buffer") in STREAMS for argument in given)


def test_commands_do_not_exit():
    wrong = [
        f"{module}:{node.lineno} {ast.unparse(node)}"
        for module, tree in modules().items()
        if room_of(module) not in {"parsing", "cli", "__main__"}
        for node in ast.walk(tree)
        if called(node) in {"exit", "quit", "sys.exit", "os._exit", "SystemExit"}
    ]
    assert wrong == []


def test_nothing_but_the_boundary_catches_everything():
    wrong = [
        f"{module}:{node.lineno}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and not raises_again(node)
    ]
    assert {w.split(":")[0] for w in wrong} <= {"claude_force.cli"}
    assert len(wrong) <= 1


def catches_all(handler):
    names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else {"BaseException"}
    return bool(names & {"Exception", "BaseException"})


def raises_again(handler):
    """Whether the last thing a handler does is to raise what it caught."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_no_suppress_hides_everything():
    wrong = [
        f"{module}:{node.lineno}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if called(node).endswith("suppress") and {ast.unparse(a) for a in node.args} & {"Exception", "BaseException"}
    ]
    assert wrong == []


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_can_be_read_in_one_sitting(module):
    assert len(path_of(module).read_text(encoding="utf-8").splitlines()) <= 350


def test_functions_are_short():
    long = {name: length(node) for name, node in functions() if length(node) > 50}
    assert long == {}
    assert median(length(node) for _, node in functions()) < 10


def test_nothing_waits_by_the_clock_but_the_simulator_and_what_waits_for_its_turn():
    waiting = [
        f"{module}: {ast.unparse(node)}"
        for module, tree in modules().items()
        if room_of(module) != "simulator"
        for node in ast.walk(tree)
        if called(node) in {"sleep", "time.sleep", "Event().wait", "threading.Event().wait"}
    ]
    assert waiting == ["claude_force.commands.scheduled: time.sleep(seconds)"]


def test_nothing_is_left_to_be_done():
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in PACKAGE.rglob("*.py")
        for word in ("TODO", "FIXME", "XXX", "HACK")
        if word in path.read_text(encoding="utf-8")
    ]
    assert wrong == []


def test_all_that_is_public_is_documented():
    wrong = [module for module, tree in modules().items() if not ast.get_docstring(tree)]
    for module, tree in modules().items():
        for owner in [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))]:
            hidden = isinstance(owner, ast.ClassDef) and owner.name.startswith("_")
            wrong += [f"{module}:{n.lineno} {n.name}" for n in public(owner) if not hidden and not ast.get_docstring(n)]
    assert wrong == []


def public(owner):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [n for n in owner.body if isinstance(n, kinds) and not n.name.startswith("_")]


def test_typing_costs_nothing_at_run_time():
    wrong = [
        f"{module}:{line}" for module in modules() for name, line in imports(module) if name in {"typing", "inspect"}
    ]
    assert wrong == []


def test_the_core_requires_no_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == []


def test_type_checkers_know_every_public_name():
    tree = modules()["claude_force"]
    block = next(node for node in tree.body if for_types_only(node))
    known = {alias.name for node in block.body for alias in node.names}
    public_names = next(
        ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"
    )
    assert set(public_names) - {"__version__"} == known
    assert (PACKAGE / "py.typed").is_file()
