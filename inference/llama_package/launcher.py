"""Runs the genuine truss server of the working folder on a Unix socket, and tells the supervisor how it goes.

    python launcher.py SOCKET EVENTS    EVENTS is the number of an open pipe: one JSON object a line

The server is truss's own `main.py`. Four things differ from running it directly:

- It listens on the socket in place of 0.0.0.0, where every pod would reach it past the API keys.
- What `load` raises is told as data, with file and line, before the server ends itself.
- A stream whose generator raised is not ended: the connection breaks, where truss ends it as if it were complete.
- A hot reload that fails leaves class and modules as they were, and code in packages/ is read anew as well.

It stands alone: whatever it imported would be found in place of a package's module of the same name.
"""

from __future__ import annotations

import contextvars
import faulthandler
import json
import linecache
import os
import re
import runpy
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Callable

APP = Path.cwd()  # a package may go elsewhere
PACKAGES = Path(os.environ.get("LLAMA_PACKAGE_PACKAGES", "/packages"))
SERVERS = (
    "_truss",
    "__pycache__",
    "shared",
    "common",
    "extensions",
)  # folders of the server's own beside the package's
failed: contextvars.ContextVar[list[str]] = contextvars.ContextVar("failed")  # of the request that is being answered


class Events:
    """The pipe to the supervisor."""

    def __init__(self, number: int) -> None:
        os.set_inheritable(number, False)  # noqa: FBT003 - processes that the package starts are none of its business
        self._pipe = os.fdopen(number, "w", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._let_go)

    def _let_go(self) -> None:
        """Let go of the pipe in a forked process; its number stays taken, for faulthandler writes there."""
        null, number = os.open(os.devnull, os.O_WRONLY), self._pipe.fileno()
        os.dup2(null, number, inheritable=False)
        os.close(null)

    def tell(self, event: str, **more: object) -> None:
        """Write one event; without a supervisor there is nobody to tell."""
        try:
            with self._lock:
                self._pipe.write(json.dumps({"event": event, **more}, default=str) + "\n")
        except (OSError, ValueError):
            return


class Places:
    """Where the package's own code lies: the folders beside the truss server's modules, and packages/."""

    def __init__(self) -> None:
        beside = [entry for entry in APP.iterdir() if entry.is_dir() and not entry.name.startswith(SERVERS)]
        self._roots = [(entry.resolve(), entry.name) for entry in beside]
        if PACKAGES.is_dir():
            self._roots += [(PACKAGES.resolve(), "packages")]
            self._roots += [(entry.resolve(), f"packages/{entry.name}") for entry in PACKAGES.iterdir()]

    def name(self, path: str) -> str | None:
        """A file as its author knows it, such as model/model.py; None where it is none of the package's."""
        found = Path(path).resolve()
        for root, name in self._roots:
            if found == root or root in found.parents:
                return str(Path(name) / found.relative_to(root))
        return None

    def frames(self, error: BaseException) -> list[traceback.FrameSummary]:
        """The lines of a traceback that are the package's."""
        return [frame for frame in traceback.extract_tb(error.__traceback__) if self.name(frame.filename)]

    def modules(self) -> dict[str, Any]:
        """The modules that were read from there."""
        return {name: module for name, module in list(sys.modules.items()) if self.name(file_of(module))}


def described(error: BaseException, model_class: object, model_file: str) -> dict[str, Any]:
    """What the supervisor reports of an exception: kind, type, message, file, line, traceback."""
    places = Places()
    linecache.checkcache()
    frames = places.frames(error)
    if isinstance(error, SyntaxError) and error.filename and places.name(error.filename):
        file, line = error.filename, error.lineno
    elif frames and type(error).__name__ != "ModelDefinitionError":
        file, line = frames[-1].filename, frames[-1].lineno
    else:
        file, line = definition(error, model_class, model_file)
    return {
        "kind": kind(error, frames, model_class),
        "type": type(error).__name__,
        "message": " ".join(str(getattr(error, "msg", None) if isinstance(error, SyntaxError) else error).split()),
        "file": places.name(file) or file,
        "line": line,
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def kind(error: BaseException, frames: list[traceback.FrameSummary], model_class: object) -> str:
    """One of secret, signature, import, load."""
    if type(error).__name__ == "SecretNotFound":
        return "secret"
    if type(error).__name__ == "ModelDefinitionError" or (
        isinstance(error, (AttributeError, TypeError)) and not frames
    ):
        return "signature"
    at_import = any(frame.name == "<module>" for frame in frames) or (model_class is None and not frames)
    if at_import or isinstance(error, (ImportError, SyntaxError)):
        return "import"
    return "load"


def definition(error: BaseException, model_class: object, model_file: str) -> tuple[str, int]:
    """Where a class or the method that an error names is defined: file and line; the file's first where unknown."""
    for name in re.findall(r"`(\w+)`", str(error)):
        code = getattr(getattr(model_class, name, None), "__code__", None)
        if code is not None:
            return code.co_filename, code.co_firstlineno
    lines = linecache.getlines(model_file)
    name = getattr(model_class, "__name__", None)
    line = next((n for n, text in enumerate(lines, 1) if name and re.match(rf"class {name}\b", text)), 1)
    return model_file, line


def on_the_socket(uvicorn: Any, socket: str) -> None:
    """Let the next server that uvicorn makes listen on a socket; servers of the package's own are not touched."""
    genuine = uvicorn.Config

    def config(app: Any, **given: Any) -> Any:
        uvicorn.Config = genuine
        given.pop("host", None)
        given.pop("port", None)
        # Whoever reaches the socket is the server in front, which names its caller in X-Forwarded-For.
        return genuine(breaks_off(app), uds=socket, forwarded_allow_ips="*", **given)

    uvicorn.Config = config


def breaks_off(app: Any) -> Any:
    """An ASGI application whose streams are not ended when their generator has raised."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        failures: list[str] = []
        failed.set(failures)
        streams = False

        async def send_unless_failed(message: Any) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                # A stream that was gathered and failed is an error with a length, as any other.
                streams = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            elif streams and failures and not message.get("more_body", False):
                return
            await send(message)

        await app(scope, receive, send_unless_failed)

    return wrapped


def notes_failed_streams(wrapper: Any) -> None:
    """Note, for the request under way, that the generator of its stream raised: truss itself only logs it."""
    genuine = wrapper._force_async_generator

    def noting(generator: Any) -> Any:
        failures = failed.get([])

        async def each() -> Any:
            try:
                async for piece in genuine(generator):
                    yield piece
            except BaseException as error:
                failures.append(type(error).__name__)
                raise

        return each()

    wrapper._force_async_generator = noting


def tells_of_load(model_wrapper: Any, events: Events) -> None:
    """Tell when `load` begins, is done, or raised, and what the config says of how the package runs."""
    genuine = model_wrapper._load_impl

    def load(self: Any) -> None:
        config = self._config
        names = ("runtime", "model_name", "model_module_dir")
        events.tell("loading", config={name: config.get(name) for name in names})
        try:
            genuine(self)
        except BaseException as error:
            events.tell("failed", **described(error, model_class_of(self), model_file_of(config)))
            raise
        events.tell("loaded")

    model_wrapper._load_impl = load


def model_file_of(config: dict[str, Any]) -> str:
    """The file that holds the model's class."""
    return str((APP / config["model_module_dir"] / config["model_class_filename"]).resolve())


def model_class_of(wrapper: Any) -> object:
    """The model's class, where its module could be imported."""
    model = wrapper._maybe_model
    if model is not None:
        return type(model)
    config = wrapper._config
    stem = Path(config["model_class_filename"]).stem
    module = sys.modules.get(f"{config['model_module_dir']}.{stem}") or sys.modules.get(stem)
    return getattr(module, config["model_class_name"], None)


def hot_reloads_wholly(model_wrapper: Any, events: Events) -> None:
    """Have a hot reload read packages/ anew as well, and put everything back where it fails."""
    genuine: Callable[[Any], None] = model_wrapper.hot_reload

    def hot_reload(self: Any) -> None:
        before, model_class = Places().modules(), type(self._maybe_model)
        for name in before:
            del sys.modules[name]
        try:
            genuine(self)
        except BaseException as error:
            events.tell("failed", **described(error, model_class_of(self), model_file_of(self._config)))
            self._maybe_model.__class__ = model_class
            for name in Places().modules():
                del sys.modules[name]
            sys.modules.update(before)
            raise

    model_wrapper.hot_reload = hot_reload


def file_of(module: object) -> str:
    """Where a module came from; for a folder without __init__.py the folder."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", None) or ["/"])
    return str(places[0])


def main() -> None:
    """Serve until a signal."""
    socket, number = sys.argv[1], int(sys.argv[2])
    events = Events(number)
    faulthandler.enable(file=number)  # a crash below Python: its stack comes through the same pipe
    sys.argv = [str(APP / "main.py")]
    sys.path[0] = str(APP)
    try:
        import model_wrapper  # type: ignore[import-not-found]  # noqa: PLC0415
        import uvicorn  # noqa: PLC0415

        on_the_socket(uvicorn, socket)
        notes_failed_streams(model_wrapper)
        tells_of_load(model_wrapper.ModelWrapper, events)
        if hasattr(model_wrapper.ModelWrapper, "hot_reload"):  # an image may have an older truss
            hot_reloads_wholly(model_wrapper.ModelWrapper, events)
        runpy.run_path("main.py", run_name="__main__")
    except Exception as error:
        events.tell("failed", **described(error, None, str(APP / "model/model.py")))
        raise


if __name__ == "__main__":
    main()
