"""Writes what Triton starts from into a folder: `repository.py MODELS_DIR FOLDER`.

FOLDER/models/ has a model for each graph, FOLDER/backends/python/ the Python backend with the program it runs models in,
built for this version of Python.
"""
import shutil
import sys
from pathlib import Path

import pytriton

import graph
from graph import Graph, present

# The backend gives each instance a process. Two of the small network, one for each core; one of the picture's, which
# takes both cores by itself. No delay: a batch is what waits when an instance is free.
COPIES = {"mlp": 2, "image": 1}
CONFIG = """backend: "python"
max_batch_size: {rows_max}
input [ {{ name: "{input}" data_type: TYPE_FP32 dims: {input_dims} }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: {output_dims} }} ]
dynamic_batching {{ }}
instance_group [ {{ kind: KIND_CPU count: {copies} }} ]
"""


def write_model(models, folder, name):
    """FOLDER/models/NAME: the configuration, and version 1 with the graph and what runs it."""
    version = folder / "models" / name / "1"
    version.mkdir(parents=True)
    config = CONFIG.format(copies=COPIES[name], **vars(Graph(models, name)))
    (version.parent / "config.pbtxt").write_text(config)
    (version / f"{name}.onnx").symlink_to(models.resolve() / f"{name}.onnx")
    # The backend heeds no PYTHONPATH, so what the model imports lies beside it.
    for program in (Path(__file__).with_name("model.py"), Path(graph.__file__)):
        shutil.copyfile(program, version / program.name)


def write_backend(folder):
    """FOLDER/backends/python: the wheel's, which has a program for each version of Python beside it."""
    server = Path(pytriton.__file__).parent / "tritonserver"
    target = folder / "backends/python"
    target.mkdir(parents=True)
    for file in (server / "backends/python").iterdir():
        (target / file.name).symlink_to(file)
    version = "{}.{}".format(*sys.version_info)
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    (target / stub.name).symlink_to(stub)


models, folder = Path(sys.argv[1]), Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
write_backend(folder)
for name in present(models):
    write_model(models, folder, name)
