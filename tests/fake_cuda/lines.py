"""Which statements of the library are CUDA's, and which of them have run."""

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path

MARK = "__visit__"
OWN = (ast.expr, ast.withitem)  # of a statement, what is no statement


def of_cuda(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements that speak of CUDA, and those that an `if` that does keeps for it."""
    for body in _bodies(tree):
        for statement in body:
            if _speaks_of_cuda(statement):
                yield statement
                if isinstance(statement, ast.If):
                    yield from _arm(statement)
            yield from of_cuda(statement)


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The blocks of statements right below a node, but for that of an `if` which CUDA skips."""
    is_skipped = isinstance(node, ast.If) and _speaks_of_cuda(node) and _is_negated(node.test)
    for name, value in ast.iter_fields(node):
        if not isinstance(value, list) or (is_skipped and name == "body"):
            continue
        if value and isinstance(value[0], ast.stmt):
            yield value
        elif value and isinstance(value[0], ast.excepthandler | ast.match_case):
            yield from (each.body for each in value)


def _arm(statement: ast.If) -> list[ast.stmt]:
    return statement.orelse if _is_negated(statement.test) else statement.body


def _is_negated(test: ast.expr) -> bool:
    """Whether it holds on a CPU."""
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.NotEq)
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _speaks_of_cuda(statement: ast.stmt) -> bool:
    """In its own expressions: not in those of the statements within it."""
    own = [
        each
        for each in ast.iter_child_nodes(statement)
        if isinstance(each, ast.expr | ast.withitem)
    ]
    return any(_names_cuda(node) for each in own for node in ast.walk(each))


def _names_cuda(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return "cuda" in name.lower() or "capability" in name.lower()
        case ast.Constant(value=str(text)):
            return text == "cuda" or text.startswith("cuda:")
    return False


class Visits(set):
    """Pairs of a file and the line of one of its statements of CUDA that has run."""

    def watch(self, folder: Path) -> None:
        """Note what runs in the modules of a folder that are imported from here on."""

        class Loader(SourceFileLoader):
            def get_code(loader, name):
                path = loader.get_filename(name)
                tree = ast.parse(loader.get_data(path))
                marked = _Marked(path, set(of_cuda(tree))).visit(tree)
                return compile(ast.fix_missing_locations(marked), path, "exec")

            def exec_module(loader, module):
                setattr(module, MARK, self.add)
                super().exec_module(module)

        def finder(path: str) -> FileFinder:
            if not Path(path).is_relative_to(folder):
                raise ImportError(f"{path} is not in {folder}")
            return FileFinder(path, (Loader, [".py"]))

        sys.path_hooks.insert(0, finder)
        sys.path_importer_cache.clear()


class _Marked(ast.NodeTransformer):
    """A call of `Visits.add` before each of the statements."""

    def __init__(self, path: str, statements: set[ast.stmt]):
        self.path, self.statements = path, statements

    def generic_visit(self, node: ast.AST):
        super().generic_visit(node)
        if node not in self.statements:
            return node
        mark = ast.parse(f"{MARK}(({self.path!r}, {node.lineno}))").body[0]
        return [ast.copy_location(mark, node), node]
