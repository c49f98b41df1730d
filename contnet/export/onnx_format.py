"""Files of ONNX, which ONNX Runtime computes in many languages and in browsers."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
import torch
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

import contnet
from contnet.errors import ConfigError
from contnet.export.graph import n_f_evals, quiet_torch, traced
from contnet.export.model import Model, Runtime
from contnet.runs.atomic import write_atomically

OPSET = 18
"""The version of ONNX's operators that a file uses."""

LARGEST = 2**31 - 1
"""Bytes of a file: protocol buffers hold no more."""

QUANTISED = ["Conv", "Gemm", "MatMul"]
"""The operators that int8 computes; states are added up in float32."""

CALIBRATION_BATCH = 64


def write(path: Path, model: Model) -> None:
    """Write a network to a file.

    Raises:
        ConfigError: if torch.export cannot trace the network, or the file would be too large.
    """
    program = traced(model.network, "float32")
    with quiet_torch():
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
        assert made is not None
        proto = made.model_proto
        if model.precision == "int8":
            assert model.calibration is not None
            proto = _quantised(proto, model.calibration)
    _name_the_batch(proto)
    onnx.helper.set_model_props(proto, _metadata(model))
    if proto.ByteSize() > LARGEST:
        raise ConfigError(
            f"format=onnx holds at most 2 GiB, the network has {proto.ByteSize():,} bytes; "
            "format=torch_export has no such limit"
        )
    write_atomically(path, proto.SerializeToString())


def read(path: Path, trust: Any = ()) -> Runtime:
    """Return the function that ONNX Runtime computes from a file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return run


def _metadata(model: Model) -> dict[str, str]:
    network = model.network
    manifestation = network.manifestation
    return {
        "classes": json.dumps(network.classes, ensure_ascii=False),
        "manifestation": "as trained" if manifestation is None else str(manifestation),
        "scheme": (manifestation and manifestation.name) or "",
        "n_time_steps": str((manifestation and manifestation.n_time_steps) or ""),
        "n_f_evals": str(n_f_evals(network)),
        "image_shape": json.dumps(network.preprocessing.shape),
        "precision": model.precision,
        "contnet_version": contnet.__version__,
    }


def _name_the_batch(proto: ModelProto) -> None:
    """Call the first dimension of images and logits "batch", which PyTorch names by a number."""
    old = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == old:
                dimension.dim_param = "batch"


def _quantised(proto: ModelProto, calibration: Tensor) -> ModelProto:
    """Return a model with weights in int8, and activations in the ranges that images have in it."""
    with TemporaryDirectory() as folder:
        plain, folded, done = (Path(folder, name) for name in ("plain", "folded", "done"))
        plain.write_bytes(proto.SerializeToString())
        # Norms are folded into convolutions first.
        quant_pre_process(str(plain), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded),
            str(done),
            _Batches(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(str(done))


class _Batches(CalibrationDataReader):
    """Images, as ONNX Runtime asks for them."""

    def __init__(self, images: Tensor) -> None:
        self._batches: Iterator[Tensor] = iter(images.split(CALIBRATION_BATCH))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch.numpy()}
