"""The model as an inference runtime of MLServer."""
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from graph import Graph


class OnnxModel(MLModel):
    """All requests of a batch, which MLServer has put together, in one run of the graph."""

    async def load(self) -> bool:
        self.graph = Graph(self.settings.parameters.uri, self.settings.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        answer = self.graph.run(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(self.graph.output, answer)])
