"""Writes what MLServer starts from into a folder: `repository.py MODELS_DIR FOLDER HTTP_PORT GRPC_PORT`."""
import json
import shutil
import sys
from pathlib import Path

from graph import Graph, present

# No workers beside the server's own process: handing a request to one costs more than the network takes, and a picture's
# session takes both cores by itself. Both were slower with one and with two.
SETTINGS = {
    "debug": False,
    "host": "127.0.0.1",
    "parallel_workers": 0,
    "metrics_endpoint": None,
}

# A batch waits this long for more, also when there are none to come; 5 ms made no more answers of 64 clients and a third
# of a lone one's. 0 makes no batches: one picture fills both cores, so that a batch would only wait longer.
BATCH_TIME_S = {"mlp": 0.001, "image": 0}


def tensor(name, dims):
    """The metadata of an input or output."""
    return {"name": name, "datatype": "FP32", "shape": [-1, *dims]}


def model_settings(models, name):
    """`model-settings.json` of one model."""
    graph = Graph(models, name)
    return {
        "name": name,
        "implementation": "runtime.OnnxModel",
        "parameters": {"uri": str(models.resolve())},
        "inputs": [tensor(graph.input, graph.input_dims)],
        "outputs": [tensor(graph.output, graph.output_dims)],
        "max_batch_size": graph.rows_max,
        "max_batch_time": BATCH_TIME_S[name],
    }


models, folder, http, grpc = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
shutil.rmtree(folder, ignore_errors=True)
for name in present(models):
    (folder / name).mkdir(parents=True)
    (folder / name / "model-settings.json").write_text(json.dumps(model_settings(models, name)))
(folder / "settings.json").write_text(json.dumps({**SETTINGS, "http_port": http, "grpc_port": grpc}))
