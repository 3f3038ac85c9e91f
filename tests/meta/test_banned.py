"""Constructs that no file of ours may hold, by syntax tree: code from data, and changes behind autograd's back."""

import ast
from pathlib import Path

import pytest
from sources import files, imports, place

MODULES = {
    "pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "tarfile",
    "pickletools",
    "_pickle",
    "code",
    "pty",
}
CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "prepares text to be run as code",
    "__import__": "imports what a text says",
    "yaml.load": "constructs objects: use OmegaConf",
    "yaml.load_all": "constructs objects: use OmegaConf",
    "yaml.full_load_all": "constructs objects: use OmegaConf",
    "yaml.unsafe_load_all": "constructs objects: use OmegaConf",
    "yaml.full_load": "constructs objects: use OmegaConf",
    "yaml.unsafe_load": "constructs objects: use OmegaConf",
    "os.system": "goes through a shell",
    "os.popen": "goes through a shell",
    "subprocess.getoutput": "goes through a shell",
    "subprocess.getstatusoutput": "goes through a shell",
    "torch.package.PackageImporter": "runs what it reads",
    "pandas.read_pickle": "runs what it reads",
    "shutil.unpack_archive": "writes wherever the archive says",
}
ARGUMENTS = {"weights_only": True, "allow_pickle": False, "shell": False}
"""What these arguments must be, written out: a variable could be anything."""
METHODS = {"extractall": "writes wherever the archive says", "extract": "writes wherever the archive says"}
NEVER_IMPORTED = {name for name in CALLS if "." in name} | {"torch.load", "pickle.loads"}
"""Imported by name, a function would be called without the module's name before it."""


def offences(source: str, path: Path) -> list[str]:
    tree = ast.parse(source)
    found = [f"{place(path, node)}: imports {name}" for node, name in imports(tree) if name.split(".")[0] in MODULES]
    found += [f"{place(path, node)}: imports {name}" for node, name in imports(tree) if name in NEVER_IMPORTED]
    for node in ast.walk(tree):
        found += [f"{place(path, node)}: {what}" for what in (*_call(node), *_data(node))]
    return found


def _call(node: ast.AST) -> list[str]:
    if not isinstance(node, ast.Call):
        return []
    name = ast.unparse(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    found = [f"{name}: {CALLS[name]}"] if name in CALLS else []
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        found.append(f"{name}: {METHODS[node.func.attr]}")
    for argument, good in ARGUMENTS.items():
        value = given.get(argument)
        if value is not None and not (isinstance(value, ast.Constant) and value.value is good):
            found.append(f"{name}({argument}={ast.unparse(value)})")
    if name in ("np.load", "numpy.load") and "allow_pickle" not in given:
        found.append(f"{name} without allow_pickle=False")
    if name == "torch.load" and not _is_true(given.get("weights_only")):
        found.append("torch.load without weights_only=True")
    return found


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _data(node: ast.AST) -> list[str]:
    """Writes through `.data`: `p.data = x`, `p.data += x`, `p.data[0] = x`, `p.data.copy_(x)`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.endswith("_"):
        targets = [node.func.value] if not node.func.attr.startswith("_") else []
    return [f"writes {ast.unparse(target)}" for target in targets if _is_data(target)]


def _is_data(target: ast.expr) -> bool:
    while isinstance(target, ast.Subscript):
        target = target.value
    mine = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    return isinstance(target, ast.Attribute) and target.attr == "data" and not mine


def test_no_file_holds_a_banned_construct() -> None:
    found = [
        offence
        for path in files("framework", "plugins", "benchmarks", "examples")
        for offence in offences(path.read_text(encoding="utf-8"), path)
    ]
    assert not found, "\n".join(found)


def test_nothing_is_left_unwritten() -> None:
    found = []
    for path in files("framework", "plugins"):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.name}: {word}" for word in ("NotImplementedError", "TODO", "FIXME") if word in text]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import tarfile",
        "eval('1')",
        "exec(text)",
        "yaml.load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "archive.extractall(folder)",
        "archive.extract(name, folder)",
        "np.load(path)",
        "np.load(path, allow_pickle=trusted)",
        "torch.load(path, weights_only=safe)",
        "subprocess.run(line, shell=flag)",
        "subprocess.getstatusoutput(line)",
        "from os import system",
        "from torch import load",
        "from yaml import unsafe_load as safe_load",
        "__import__(name)",
        "compile(text, '', 'exec')",
        "yaml.load_all(text)",
        "parameter.data = value",
        "parameter.data += value",
        "parameter.data[0] = value",
        "parameter.data.copy_(value)",
    ],
)
def test_a_banned_construct_is_noticed(source: str) -> None:
    assert offences(source, Path("x.py"))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "subprocess.run([line])",
        "self.data = OnlineData()",
        "value = batch.data",
        "module.eval()",
    ],
)
def test_what_is_fine_stays_fine(source: str) -> None:
    assert not offences(source, Path("x.py"))
