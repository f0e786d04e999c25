"""How every peer opens the two models, so that what is compared is the servers around ONNX Runtime."""
from pathlib import Path

import numpy as np
import onnxruntime

# One thread for a network of microseconds, whose peers run more than one copy; both cores for a picture, in one copy.
THREADS = {"mlp": 1, "image": 2}
# Rows that one run takes at most. More than a few pictures only make the others wait longer.
ROWS_MAX = {"mlp": 64, "image": 4}


def present(folder):
    """Names of the models that the folder has."""
    return [name for name in THREADS if (Path(folder) / f"{name}.onnx").is_file()]


class Graph:
    """One session, asked for its first output."""

    def __init__(self, folder, name):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS[name]
        # As our own server does: threads that spin take the cores from the server that feeds them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The same: small pieces, so that a thread that is interrupted leaves the rest to the others.
        options.add_session_config_entry("session.dynamic_block_base", "4")
        path = str(Path(folder) / f"{name}.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.name, self.rows_max = name, ROWS_MAX[name]
        source, target = self.session.get_inputs()[0], self.session.get_outputs()[0]
        self.input, self.output = source.name, target.name
        # Of one row, without the batch dimension.
        self.input_dims, self.output_dims = source.shape[1:], target.shape[1:]

    def run(self, rows):
        """Answers of a batch: an FP32 array of `rows × dims` for another."""
        return self.session.run([self.output], {self.input: rows})[0]

    def run_raw(self, body):
        """Answer of one row given and answered as little-endian bytes."""
        row = np.frombuffer(body, "<f4").reshape(1, *self.input_dims)
        return self.run(row)[0].astype("<f4", copy=False).tobytes()
