"""The models as services of BentoML, one for each, so that each has the number of workers that suits it."""
import os

import bentoml
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from graph import ROWS_MAX, Graph, present

FOLDER = os.environ["PEERS_MODELS"]
# A line for each request would cost more than the small network.
QUIET = {"access": {"enabled": False}}


class OneRow:
    """A batched endpoint takes `{"input": [[...]]}` and gives `[[...]]`; this gives it the brackets that one row lacks.

    Bytes are rewritten, nothing is parsed, so that it costs next to nothing.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"] != "/mlp":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        body = body.replace(b"[", b"[[", 1).replace(b"]", b"]]", 1)
        started = None

        async def whole():
            return {"type": "http.request", "body": body, "more_body": False}

        async def answer(message):
            nonlocal started
            if message["type"] == "http.response.start":
                started = message
                return
            if started is not None and started["status"] == 200:
                # The endpoint answers in one piece.
                message["body"] = b'{"output":' + message["body"][1:-1] + b"}"
                others = [header for header in started["headers"] if header[0] != b"content-length"]
                started["headers"] = [*others, (b"content-length", b"%d" % len(message["body"]))]
            if started is not None:
                await send(started)
                started = None
            await send(message)

        await self.app(scope, whole, answer)


# A worker for each core: BentoML's own counsel for work on the processor. Batches adapt to the load by themselves.
@bentoml.service(workers=2, logging=QUIET)
class Mlp:
    """Rows as JSON, put together into batches."""

    def __init__(self):
        # Without its model the port still says that the server is ready.
        self.graph = Graph(FOLDER, "mlp") if "mlp" in present(FOLDER) else None

    @bentoml.api(batchable=True, max_batch_size=ROWS_MAX["mlp"])
    def mlp(self, input: np.ndarray) -> np.ndarray:
        return self.graph.run(input.astype(np.float32, copy=False))


Mlp.add_asgi_middleware(OneRow)


async def image(request):
    """One picture a request, as bytes; an endpoint of BentoML's own would write them to a file first."""
    graph = bentoml.get_current_service().graph
    answer = await run_in_threadpool(graph.run_raw, await request.body())
    return Response(answer, media_type="application/octet-stream")


# One worker, whose one session takes both cores.
@bentoml.asgi_app(Starlette(routes=[Route("/image", image, methods=["POST"])]))
@bentoml.service(workers=1, logging=QUIET)
class Image:
    """Pictures, not in batches: one fills both cores, so that a batch would only wait longer."""

    def __init__(self):
        self.graph = Graph(FOLDER, "image")
