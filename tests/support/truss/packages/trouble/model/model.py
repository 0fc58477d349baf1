"""Each "op" is one kind of trouble."""

import os
import pathlib
import signal
import time

import prometheus_client
from fastapi import Request
from fastapi.responses import StreamingResponse

ASKED = prometheus_client.Counter("trouble_asked", "Requests that this package has had.")
TMP = pathlib.Path("/tmp")


class Model:
    def __init__(self, **kwargs):
        self._secrets = kwargs["secrets"]

    def load(self):
        key = self._secrets["a_key"]
        if key == "wrong":
            raise RuntimeError(f"the key {key}-key is not accepted")
        if (TMP / "die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (TMP / "crash").exists():
            import ctypes

            ctypes.string_at(0)

    def is_healthy(self):
        return not (TMP / "unhealthy").exists()

    def predict(self, model_input, request: Request):
        ASKED.inc()
        return getattr(self, f"op_{model_input['op']}")(model_input, request)

    def op_request(self, model_input, request):
        return {"headers": dict(request.headers), "client": request.client.host, "length": len(model_input.get("x", ""))}

    def op_hold(self, model_input, request):
        (TMP / "held").touch()
        while not (TMP / "go").exists():
            time.sleep(0.01)
        (TMP / "held").unlink()
        return "went"

    def op_end(self, model_input, request):
        os._exit(3)

    def op_events(self, model_input, request):
        def events():
            yield 'data: {"n": 1}\n\n'
            raise ValueError("failed at 2")

        return StreamingResponse(events(), media_type="text/event-stream")

    def chat_completions(self, body):
        return {"object": "chat.completion", "id": "1", "model": body["model"], "created": 1, "choices": []}
