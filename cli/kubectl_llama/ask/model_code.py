"""Read a package's model.py without running it: what truss would refuse, what would fail at a request. Pure."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_STEPS: Final = ("preprocess", "predict", "postprocess")
_OTHER_WAYS: Final = ("websocket", "chat_completions", "completions", "embeddings", "messages", "responses")
_SHOULD_NOT: Final = "it must not have a postprocess as well: truss answers 500"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong at run time: where it is, and what to do."""

    file: str
    line: int
    words: str

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.file}:{self.line} {self.words}"


def file_of(config: Mapping[str, Any]) -> str:
    """Return the path of the file with the class, within the package."""
    return f"{config.get('model_module_dir') or 'model'}/{config.get('model_class_filename') or 'model.py'}"


def read(source: str | None, config: Mapping[str, Any], secrets: Sequence[str]) -> list[Fault]:
    """Return what is wrong with a model's source; `secrets` are the names that config.yaml declares."""
    file, wanted = file_of(config), str(config.get("model_class_name") or "Model")
    if source is None:
        return [Fault(file, 0, f"is not there: config.yaml says that it holds the class {wanted}")]
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [Fault(file, error.lineno or 0, f"is no Python: {error.msg}")]
    model = next((row for row in tree.body if isinstance(row, ast.ClassDef) and row.name == wanted), None)
    imported = any(
        wanted in (alias.asname, alias.name)
        for row in tree.body
        if isinstance(row, ast.ImportFrom)
        for alias in row.names
    )
    found = [*_of_secrets(tree, file, secrets)]
    if model is None:
        return found if imported else [Fault(file, 1, f"has no class {wanted}: truss does not start"), *found]
    return [*_of_class(model, file), *found]


def _of_class(model: ast.ClassDef, file: str) -> Iterator[Fault]:
    methods = {row.name: row for row in model.body if isinstance(row, Function)}
    inherits = bool(model.bases)
    if "predict" not in methods and not inherits and not any(name in methods for name in _OTHER_WAYS):
        yield Fault(file, model.lineno, f"class {model.name} has no predict: truss does not start")
    for name in _STEPS:
        if name in methods:
            yield from _of_signature(methods[name], file)
    predict = methods.get("predict")
    if predict is not None and "postprocess" in methods and _streams(predict, methods):
        yield Fault(file, predict.lineno, f"predict hands out a generator; {_SHOULD_NOT} at each stream")


def _of_signature(method: Function, file: str) -> Iterator[Fault]:
    """Yield what truss refuses: more than an input and a request, or a second argument that is no Request."""
    static = any(isinstance(row, ast.Name) and row.id == "staticmethod" for row in method.decorator_list)
    rows = [*method.args.posonlyargs, *method.args.args][0 if static else 1 :]
    rows += method.args.kwonlyargs
    if len(rows) > 2:
        words = f"{method.name} takes {len(rows)} arguments, and truss gives the input and the request: does not start"
        yield Fault(file, method.lineno, words)
    elif len(rows) == 2 and not _is_request(rows[1]):
        words = f"{method.name} takes a second argument that is no fastapi.Request: truss does not start"
        yield Fault(file, method.lineno, words)


def _is_request(row: ast.arg) -> bool:
    return row.annotation is not None and ast.unparse(row.annotation).strip("'\"").rpartition(".")[2] == "Request"


def _streams(method: Function, methods: Mapping[str, Function]) -> bool:
    """Whether a method is a generator, or hands back one that it makes or that another method is."""
    if _yields(method):
        return True
    makers = {name for name, row in methods.items() if row is not method and _makes(row)}
    return _makes(method) or any(
        isinstance(row, ast.Return) and isinstance(row.value, ast.Call) and _called(row.value) in makers
        for row in _own(method)
    )


def _makes(method: Function) -> bool:
    inner = {row.name for row in ast.walk(method) if isinstance(row, Function) and row is not method and _yields(row)}
    returned = (row.value for row in _own(method) if isinstance(row, ast.Return) and isinstance(row.value, ast.Call))
    return _yields(method) or any(_called(row) in inner for row in returned)


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _yields(function: Function) -> bool:
    return any(isinstance(row, ast.Yield | ast.YieldFrom) for row in _own(function))


def _own(function: Function) -> Iterator[ast.AST]:
    """Yield what a function consists of, without the functions within it."""
    left: list[ast.AST] = list(function.body)
    while left:
        row = left.pop()
        yield row
        if not isinstance(row, Function | ast.Lambda | ast.ClassDef):
            left += ast.iter_child_nodes(row)


def _of_secrets(tree: ast.Module, file: str, declared: Sequence[str]) -> Iterator[Fault]:
    said: set[str] = set()
    for line, name in _secrets(tree):
        if name not in declared and name not in said:
            said.add(name)
            has = f"; config.yaml declares {', '.join(declared)}" if declared else ""
            yield Fault(file, line, f"reads the secret {name}, which config.yaml does not declare{has}: add it there")


def _secrets(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for row in ast.walk(tree):
        match row:
            case ast.Subscript(value=held, slice=ast.Constant(value=str(name))) if _holds_secrets(held):
                yield row.lineno, name
            case ast.Call(func=ast.Attribute(value=held, attr="get"), args=[ast.Constant(value=str(name)), *_]) if (
                _holds_secrets(held)
            ):
                yield row.lineno, name
            case _:
                continue


def _holds_secrets(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_") == "secrets"
        case ast.Subscript(slice=ast.Constant(value="secrets")):
            return True
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value="secrets"), *_]):
            return True
        case _:
            return False
