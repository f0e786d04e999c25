"""Serves the models with LitServe: `server.py MODELS_DIR HTTP_PORT`."""
import sys
from typing import Annotated

import litserve
import numpy as np
from fastapi import Body, Response

from graph import ROWS_MAX, Graph, present

# With 0 its workers ask the queue without a pause, which takes the cores from the server; more than this only makes a
# lone request wait.
BATCH_TIMEOUT_S = 0.002


class Model(litserve.LitAPI):
    """A model at the path of its name."""

    def __init__(self, folder, name, **settings):
        super().__init__(api_path=f"/{name}", **settings)
        self.folder, self.name = folder, name

    def setup(self, device):
        self.graph = Graph(self.folder, self.name)


class Mlp(Model):
    """Rows as JSON, put together into batches."""

    def decode_request(self, request):
        return np.asarray(request["input"], np.float32)

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, rows):
        return self.graph.run(rows)

    def unbatch(self, answers):
        return list(answers)

    def encode_response(self, answer):
        return {"output": answer.tolist()}


class Image(Model):
    """One picture a request, as bytes. It fills both cores, so that a batch would only wait longer."""

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]):
        return request

    def predict(self, body):
        return self.graph.run_raw(body)

    def encode_response(self, answer):
        return Response(answer, media_type="application/octet-stream")


if __name__ == "__main__":
    folder, port = sys.argv[1], int(sys.argv[2])
    made = {
        "mlp": lambda: Mlp(folder, "mlp", max_batch_size=ROWS_MAX["mlp"], batch_timeout=BATCH_TIMEOUT_S),
        "image": lambda: Image(folder, "image"),
    }
    # One worker keeps up with two servers that parse JSON, one for each core; those are what takes the time.
    workers = {"mlp": 1, "image": 1}
    names = present(folder)
    server = litserve.LitServer(
        [made[name]() for name in names],
        accelerator="cpu",
        workers_per_device={f"/{name}": workers[name] for name in names},
        # Its guide asks for it above 100 requests a second.
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=2,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
