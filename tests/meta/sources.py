"""Reading the repository's own source, for tests about it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def files(*folders: str) -> list[Path]:
    """Every Python file below these folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def place(path: Path, node: ast.AST) -> str:
    """`file:line`."""
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"{shown}:{getattr(node, 'lineno', 0)}"


def imports(tree: ast.AST, package: str = "") -> Iterator[tuple[ast.stmt, str]]:
    """Every imported module of a file, `from x import y` as both `x` and `x.y`; relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            yield node, base
            for alias in node.names:
                yield node, f"{base}.{alias.name}"


def package_of(path: Path, root: Path) -> str:
    """The dotted package that a file lies in."""
    return ".".join(path.relative_to(root).parent.parts)


def at_module_level(tree: ast.Module) -> ast.Module:
    """The tree without function bodies and without what stands under `if TYPE_CHECKING`."""

    class Outside(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            if "TYPE_CHECKING" in ast.unparse(node.test):
                return [self.visit(each) for each in node.orelse]
            return self.generic_visit(node)

    return Outside().visit(tree)
