"""What the client of KServe gets from a server, as JSON on standard output: `kserve_calls.py GRPC HTTP MODEL`.

A program of its own, because KServe and Triton both bring the messages of the protocol and one process takes them
once. Only the modules of the client are loaded, unmodified: the package's own front door also loads its model server
and its Kubernetes client, which are not installed.
"""

import asyncio
import importlib.util
import json
import sys
import types

front = types.ModuleType("kserve")
front.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
sys.modules["kserve"] = front

import grpc  # noqa: E402
import numpy as np  # noqa: E402
from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig  # noqa: E402
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages  # noqa: E402
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput  # noqa: E402

from serving import DATATYPES, values  # noqa: E402


# The client knows no brain floats.
KNOWN = [datatype for datatype in DATATYPES if datatype != "BF16"]


def request(model, datatypes):
    """All inputs and outputs as bytes, the one form that half precision has."""
    inputs = []
    for datatype in datatypes:
        array = values(datatype)
        tensor = InferInput(f"INPUT_{datatype}", list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    outputs = [RequestedOutput(f"OUTPUT_{datatype}", {"binary_data": True}) for datatype in datatypes]
    return InferRequest(model_name=model, infer_inputs=inputs, request_outputs=outputs, request_id="7")


def sums(response):
    """A figure for each output that both sides can compute."""
    told = {}
    for output in response.outputs:
        array = output.as_numpy()
        if output.datatype == "BYTES":
            texts = [text if isinstance(text, bytes) else text.encode() for text in array.ravel()]
            told[output.datatype] = [text.hex() for text in texts]
        else:
            told[output.datatype] = np.asarray(array).ravel().tolist()
    return told


async def rest(address, model):
    client, base = InferenceRESTClient(RESTConfig(protocol="v2")), f"http://{address}"
    answer = await client.infer(base, request(model, KNOWN), model_name=model)
    told = {
        "live": await client.is_server_live(base),
        "ready": await client.is_server_ready(base),
        "model_ready": await client.is_model_ready(base, model),
        "id": answer.id,
        "outputs": sums(answer),
    }
    await client.close()
    return told


async def over_grpc(address, model):
    client = InferenceGRPCClient(address)
    answer = await client.infer(request(model, KNOWN))
    told = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model_ready": await client.is_model_ready(model),
        "id": answer.id,
        "outputs": sums(answer),
    }
    await client.close()
    return told


def repository(address, model):
    """KServe's messages have the model's name where Triton's have the repository's."""
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        unloaded = stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name=model))
        gone = stub.ModelReady(messages.ModelReadyRequest(name=model)).ready
        loaded = stub.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name=model))
        back = stub.ModelReady(messages.ModelReadyRequest(name=model)).ready
        metadata = stub.ModelMetadata(messages.ModelMetadataRequest(name=model))
    return {
        "unloaded": [unloaded.model_name, unloaded.isUnloaded, gone],
        "loaded": [loaded.model_name, loaded.isLoaded, back],
        "platform": metadata.platform,
    }


if __name__ == "__main__":
    grpc_address, http_address, name = sys.argv[1:]
    answers = {
        "rest": asyncio.run(rest(http_address, name)),
        "grpc": asyncio.run(over_grpc(grpc_address, name)),
        "repository": repository(grpc_address, name),
    }
    print(json.dumps(answers))
