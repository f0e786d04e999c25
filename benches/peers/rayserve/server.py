"""Serves the models with Ray Serve: `server.py MODELS_DIR HTTP_PORT`."""
import os
import signal
import sys
import threading

import numpy as np
import ray
from ray import serve
from starlette.responses import Response

from graph import ROWS_MAX, Graph, present


@serve.deployment
class Mlp:
    """Rows as JSON, put together into batches."""

    def __init__(self, folder):
        self.graph = Graph(folder, "mlp")

    # A batch is what waits when the last one is done.
    @serve.batch(max_batch_size=ROWS_MAX["mlp"], batch_wait_timeout_s=0)
    async def answer(self, rows):
        return list(self.graph.run(np.stack(rows)))

    async def __call__(self, request):
        if request.method == "GET":
            return "ready"
        row = np.asarray((await request.json())["input"], np.float32)
        return {"output": (await self.answer(row)).tolist()}


@serve.deployment
class Image:
    """One picture a request, as bytes. It fills both cores, so that a batch would only wait longer."""

    def __init__(self, folder):
        self.graph = Graph(folder, "image")

    async def __call__(self, request):
        if request.method == "GET":
            return "ready"
        return Response(self.graph.run_raw(await request.body()), media_type="application/octet-stream")


# A replica of the small network for each core; one of the picture's, whose one session takes both.
DEPLOYMENTS = {"mlp": (Mlp, 2), "image": (Image, 1)}


def deploy(folder, port):
    """A cluster of this process's own, and the models on it."""
    # The object store holds nothing here, since requests and answers go past it.
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        _temp_dir=os.environ["TMPDIR"],
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    # The last takes every other path too, so that `/ready` is answered once all are there; the proxy's own path for
    # that answers before any is.
    *others, last = present(folder)
    for name, route in [*((name, f"/{name}") for name in others), (last, "/")]:
        deployment, replicas = DEPLOYMENTS[name]
        made = deployment.options(
            num_replicas=replicas,
            # The default of 5 would leave no batches to make.
            max_ongoing_requests=1024,
            # They count as no cores: the scheduler would reserve whole ones and start fewer.
            ray_actor_options={"num_cpus": 0},
        )
        serve.run(made.bind(folder), name=name, route_prefix=route)


def main():
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    deploy(sys.argv[1], int(sys.argv[2]))
    ended.wait()
    ray.shutdown()


if __name__ == "__main__":
    main()
