"""What a data scientist does with MLflow's own client, told as JSON: `mlflow_calls.py URL MODEL STEP [ARGUMENT]`.

A program of its own, run by the interpreter that has the version of MLflow under test. The model is a matrix of the
scale given, so every version answers with numbers of its own.
"""

import json
import os
import sys
import tempfile

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from onnx import TensorProto, helper, numpy_helper

URL, MODEL, STEP = sys.argv[1:4]
mlflow.set_tracking_uri(URL)
IS_2 = mlflow.__version__.startswith("2.")
CLIENT = MlflowClient()


def graph(scale):
    weights = np.full((3, 2), scale, dtype=np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    whole = helper.make_graph([node], "scaled", [x], [y], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def picky(scale):
    """A graph that answers as [`graph`] does, and fails on numbers of 2 and more, which no probe holds."""
    table = numpy_helper.from_array(np.zeros(2, np.float32), "table")
    weights = numpy_helper.from_array(np.full((3, 2), scale, dtype=np.float32), "w")
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    nodes = [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["looked_up"]),
        helper.make_node("ReduceSum", ["looked_up", "axes"], ["nothing"], keepdims=1),
        helper.make_node("MatMul", ["x", "w"], ["scaled"]),
        helper.make_node("Add", ["scaled", "nothing"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    whole = helper.make_graph(nodes, "picky", [x], [y], [table, weights, axes])
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def refusal(call):
    """How the server refuses a call, as the client tells it."""
    try:
        call()
    except MlflowException as error:
        return {"code": error.error_code, "message": error.message}
    return None


def log_onnx(model):
    signature = infer_signature(np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32))
    place = {"artifact_path": "model"} if IS_2 else {"name": "model"}
    return mlflow.onnx.log_model(model, registered_model_name=MODEL, signature=signature, **place)


def log(scale):
    mlflow.set_experiment(f"experiment of {MODEL}")
    with mlflow.start_run(run_name="first", tags={"team": "labs"}) as run:
        mlflow.log_param("lr", 0.1)
        for step, value in enumerate([0.5, 0.7, 0.9]):
            mlflow.log_metric("auroc", value, step=step)
        mlflow.log_metrics({"a": 1.0, "none": float("nan")})
        mlflow.log_text("read me", "notes/readme.txt")
        log_onnx(graph(float(scale)))
    run_id = run.info.run_id
    told = CLIENT.get_run(run_id)
    found = mlflow.search_runs(
        experiment_names=[f"experiment of {MODEL}"],
        filter_string="metrics.auroc > 0.8 and params.lr = '0.1' and tags.team = 'labs'",
    )
    return {
        "run": run_id,
        "status": told.info.status,
        "params": told.data.params,
        "auroc": told.data.metrics["auroc"],
        "history": [[metric.step, metric.value] for metric in CLIENT.get_metric_history(run_id, "auroc")],
        "found": list(found["run_id"]),
        "notes": [file.path for file in CLIENT.list_artifacts(run_id, "notes")],
        "note": mlflow.artifacts.load_text(f"runs:/{run_id}/notes/readme.txt"),
        "version": max(int(version.version) for version in CLIENT.search_model_versions(f"name = '{MODEL}'")),
    }


def labels(version):
    CLIENT.set_registered_model_alias(MODEL, "champion", version)
    CLIENT.set_model_version_tag(MODEL, version, "reviewed", "no")
    CLIENT.update_model_version(MODEL, version, description="three in, two out")
    run = CLIENT.get_model_version(MODEL, version).run_id
    told = {}
    for uri in (f"models:/{MODEL}@champion", f"models:/{MODEL}/{version}", f"runs:/{run}/model"):
        with tempfile.TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
            told[uri.split(":")[0] + uri[-1]] = sorted(set(os.listdir(path)) & {"MLmodel", "model.onnx"})
    loaded = onnx.load_model_from_string(mlflow.onnx.load_model(f"models:/{MODEL}/{version}").SerializeToString())
    told["loaded"] = [node.op_type for node in loaded.graph.node]
    told["by_alias"] = CLIENT.get_model_version_by_alias(MODEL, "champion").version
    told["models"] = [model.name for model in CLIENT.search_registered_models(f"name LIKE '{MODEL[:3]}%'")]
    told["tags"] = CLIENT.get_model_version(MODEL, version).tags["reviewed"]
    CLIENT.delete_registered_model_alias(MODEL, "champion")
    told["live"] = refusal(lambda: CLIENT.set_registered_model_alias(MODEL, "live", version))
    told["production"] = refusal(lambda: CLIENT.transition_model_version_stage(MODEL, version, "Production"))
    told["no_alias"] = refusal(lambda: CLIENT.get_model_version_by_alias(MODEL, "champion"))
    told["no_model"] = refusal(lambda: CLIENT.get_registered_model("nobody"))
    return told


def several(scales, picky_scale):
    """One version for each scale, and a last one that is picky."""
    with mlflow.start_run():
        for scale in scales.split(","):
            log_onnx(graph(float(scale)))
        log_onnx(picky(float(picky_scale)))
    return sorted(int(version.version) for version in CLIENT.search_model_versions(f"name = '{MODEL}'"))


def state(version):
    tags = CLIENT.get_model_version(MODEL, version).tags
    return {"state": tags["manpasik.state"], "reason": tags.get("manpasik.reason", "")}


def unservable(_):
    """Uploads that the gates must refuse, each with its reason."""
    with mlflow.start_run():
        signature = infer_signature(np.zeros((1, 4), np.float32), np.zeros((1, 2), np.float32))
        place = {"artifact_path": "model"} if IS_2 else {"name": "model"}
        mlflow.onnx.log_model(graph(1.0), registered_model_name=MODEL, signature=signature, **place)
        mlflow.onnx.log_model(graph(1.0), registered_model_name=MODEL, **place)
        mlflow.log_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n", "pickled/MLmodel")
        mlflow.log_text("no pickle", "pickled/model.pkl")
        source = mlflow.get_artifact_uri("pickled")
        CLIENT.create_model_version(MODEL, source)
        mlflow.log_text("flavors:\n  onnx:\n    data: model.onnx\n", "cut/MLmodel")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            with open(path, "wb") as file:
                file.write(graph(1.0).SerializeToString()[:40])
            mlflow.log_artifact(path, "cut")
        CLIENT.create_model_version(MODEL, mlflow.get_artifact_uri("cut"))
    return [int(v.version) for v in CLIENT.search_model_versions(f"name = '{MODEL}'")]


STEPS = {"log": log, "labels": labels, "several": several, "state": state, "unservable": unservable}
print(json.dumps(STEPS[STEP](*sys.argv[4:])))
