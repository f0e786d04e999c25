"""The model as Triton's Python backend runs it: all requests of a batch in one run of the graph."""
from pathlib import Path

import numpy as np
import triton_python_backend_utils as triton

from graph import Graph


class TritonPythonModel:
    """One instance, in a process of its own."""

    def initialize(self, args):
        # `start` puts a link to the graph beside this file.
        self.graph = Graph(Path(args["model_repository"]) / args["model_version"], args["model_name"])

    def execute(self, requests):
        """One answer for each request, in their order."""
        inputs = [triton.get_input_tensor_by_name(request, self.graph.input).as_numpy() for request in requests]
        rows = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        answers = np.split(self.graph.run(rows), np.cumsum([len(rows) for rows in inputs])[:-1])
        return [triton.InferenceResponse([triton.Tensor(self.graph.output, answer)]) for answer in answers]
