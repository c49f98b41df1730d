"""A file computes in its own runtime what contnet computes."""

import json
import sys
import zipfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

import contnet
from contnet.data.preprocessing import Preprocessing
from contnet.errors import ConfigError
from contnet.export.exporting import Exported, Exporter, Setting, write_record
from contnet.export.formats import FORMATS, find_format
from contnet.export.graph import random_images
from contnet.export.parity import BATCH, Sample, compare
from contnet.serving.trained import TrainedNetwork
from tests.processes import ROOT
from tests.serving.made import CLASSES, NETWORKS, trained

FIXED = ("post-activation", "pre-activation", "wide", "SkipInit", "no stitch", "piecewise linear")
FIXED += ("continuous linear", "Legendre", "midpoint", "heun3", "rk4_classic", "own rate")
WITHOUT_BLOCKS = ("ResNet", "WideResNet", "own network")
OWN = ("tests",)


def sample(network: TrainedNetwork, n: int = 70) -> Sample:
    images = random_images(network.preprocessing, n)
    return Sample(images, torch.arange(n) % len(CLASSES), "random", images[:64])


def exported(
    name: str, network: TrainedNetwork, folder: Path, setting: Setting, precision: str = "float32"
) -> Exported:
    form = find_format(name, precision)
    return Exporter(network, form, precision, sample(network), folder, OWN).export(setting)


@pytest.fixture(scope="module")
def in_onnx(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedNetwork, Exported]:
    """Return a network that was trained in two manifestations, and its file."""
    network = trained(NETWORKS["no stitch"], several=True)
    folder = tmp_path_factory.mktemp("onnx")
    return network, exported("onnx", network, folder, Setting("euler", 2))


def test_a_file_of_onnx_is_equal_to_contnet_in_onnx_runtime(
    in_onnx: tuple[TrainedNetwork, Exported],
) -> None:
    network, made = in_onnx
    assert made.path.name == "euler_2.onnx"
    assert made.parity.equal_classes == 1
    assert made.parity.relative_difference < 1e-5
    run = FORMATS["onnx"].read(made.path, ())
    network.set_manifestation("euler", 2)
    for n in (1, 5):  # any batch
        images = random_images(network.preprocessing, n)
        assert torch.allclose(run(images), network(images), atol=1e-5)
    network.set_manifestation("rk4_classic", 1)  # other steps, and other statistics
    assert compare(run, network, sample(network)).is_equal is False


def test_a_file_of_onnx_says_what_it_is(in_onnx: tuple[TrainedNetwork, Exported]) -> None:
    import onnx

    _, made = in_onnx
    content = onnx.load(str(made.path))
    assert [one.version for one in content.opset_import if one.domain == ""] == [18]
    (images,), (logits,) = content.graph.input, content.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    for value, sizes in ((images, [3, 8, 8]), (logits, [3])):
        batch, *others = value.type.tensor_type.shape.dim
        assert (batch.dim_param, [one.dim_value for one in others]) == ("batch", sizes)
    known = {entry.key: entry.value for entry in content.metadata_props}
    assert json.loads(known["classes"]) == [*CLASSES]
    assert json.loads(known["image_shape"]) == [3, 8, 8]
    assert (known["manifestation"], known["n_f_evals"]) == ("euler, 2 steps", "6")
    assert known["contnet_version"] == contnet.__version__


@pytest.mark.long
def test_files_of_torch_export_and_of_weights_are_equal_and_have_bf16(tmp_path: Path) -> None:
    network = trained(NETWORKS["no stitch"], several=True)
    made = {}
    for name, precision in product(("torch_export", "safetensors"), ("float32", "bf16")):
        made[name, precision] = exported(name, network, tmp_path, Setting("euler", 2), precision)
    for name in ("torch_export", "safetensors"):
        plain, half = made[name, "float32"], made[name, "bf16"]
        assert plain.parity.relative_difference == 0
        assert 1e-4 < half.parity.relative_difference < 0.2
        assert half.path.stat().st_size < plain.path.stat().st_size
    names = [one.path.name for one in made.values()]
    assert names == [
        "euler_2.pt2",
        "euler_2_bf16.pt2",
        "euler_2.safetensors",
        "euler_2_bf16.safetensors",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    with zipfile.ZipFile(tmp_path / "euler_2.pt2") as archive:
        content = b"".join(map(archive.read, archive.namelist()))
    assert str(ROOT).encode() not in content


def test_a_file_does_not_tell_the_folders_of_the_machine(
    in_onnx: tuple[TrainedNetwork, Exported],
) -> None:
    assert str(ROOT).encode() not in in_onnx[1].path.read_bytes()


def test_the_record_has_the_figures_of_each_file(tmp_path: Path) -> None:
    network = trained(NETWORKS["ResNet"])
    made = exported("safetensors", network, tmp_path, Setting())
    assert made.path.name == "network.safetensors"
    write_record(tmp_path, [made], {"classes": CLASSES})
    record = json.loads((tmp_path / "export.json").read_text())
    assert record["classes"] == [*CLASSES]
    (row,) = record["files"]
    assert row["bytes"] == made.path.stat().st_size
    assert row["accuracy"] == row["contnet_accuracy"] == made.parity.accuracy
    assert (row["scheme"], row["n_time_steps"], row["equal_classes"]) == (None, None, 1)


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = trained(NETWORKS["no stitch"])
    exporter = Exporter(network, FORMATS["safetensors"], "float32", sample(network), tmp_path)
    for value in (1e-3, float("nan")):
        monkeypatch.setattr(
            "contnet.export.weights_format.read",
            lambda path, trust, value=value: lambda images: network(images).detach() + value,
        )
        with pytest.raises(RuntimeError, match=r"euler_2\.safetensors was not kept: computed by"):
            exporter.export(Setting())
        assert list(tmp_path.iterdir()) == []


def test_parity_counts_classes_and_labels_and_measures_images() -> None:
    images = torch.zeros(4, 1, 2, 2)
    expected = torch.tensor([[2.0, 0], [0, 1], [4, 3], [0, 1]])
    found = expected.clone()
    found[2] = torch.tensor([3.0, 3.5])
    sizes = []

    def runtime(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return found if len(batch) == 4 else torch.zeros(len(batch), 2)

    labels = torch.tensor([0, 1, 1, 0])
    parity = compare(runtime, lambda batch: expected, Sample(images, labels, "four"))
    assert (parity.difference, parity.relative_difference) == (1, 0.25)
    assert (parity.equal_classes, parity.accuracy, parity.contnet_accuracy) == (0.75, 0.75, 0.5)
    assert not parity.is_equal
    assert set(sizes) == {1, 4, BATCH}
    without = compare(runtime, lambda batch: expected, Sample(images, None, "four"))
    assert (without.accuracy, without.contnet_accuracy) == (None, None)


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        (
            "tf",
            "float32",
            "format must be one of onnx, torch_export, safetensors; got 'tf'",
        ),
        ("onnx", "fp16", "precision must be one of float32, bf16, int8; got 'fp16'"),
        ("onnx", "bf16", "with format=onnx, got 'bf16'; ONNX Runtime has no convolution in bf16"),
        ("torch_export", "int8", "got 'int8'; only format=onnx is quantised"),
        ("safetensors", "int8", "one of float32, bf16 with format=safetensors"),
    ],
)
def test_what_no_format_holds_is_refused(name: str, precision: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        find_format(name, precision)
    assert message in str(refused.value)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_names_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one: type(sys)(one) for one in ("onnx", "onnxruntime", "onnxscript")}
    monkeypatch.setattr(
        "contnet.export.formats.find_spec",
        lambda name: None if name == package else found[name].__spec__ or Origin,
    )
    with pytest.raises(ConfigError, match=rf"needs the package {package}; .*contnet\[export\]"):
        find_format("onnx", "float32")
    assert find_format("torch_export", "float32").suffix == ".pt2"


class Origin:
    origin = "somewhere"


class Untraceable(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_is_refused_in_one_line(tmp_path: Path) -> None:
    network = trained(NETWORKS["own network"])
    network.network.append(Untraceable())
    with pytest.raises(ConfigError, match=r"^ckpt_path: torch\.export cannot trace") as refused:
        exported("torch_export", network, tmp_path, Setting())
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", [*FIXED, *WITHOUT_BLOCKS])
@pytest.mark.parametrize("name", ["onnx", "torch_export"])
def test_every_network_is_equal_in_its_runtime(name: str, kind: str, tmp_path: Path) -> None:
    network = trained(NETWORKS[kind])
    settings = [Setting()]
    if kind in ("post-activation", "Legendre"):
        settings += [Setting("heun3", 1), Setting("rk4_classic", 3)]
    for setting in settings:
        parity = exported(name, network, tmp_path, setting).parity
        assert parity.equal_classes == 1
        assert parity.relative_difference < 1e-5


@pytest.mark.long
def test_int8_is_smaller_and_near(tmp_path: Path) -> None:
    network = trained(NETWORKS["post-activation"])
    plain = exported("onnx", network, tmp_path, Setting())
    small = exported("onnx", network, tmp_path, Setting(), "int8")
    assert small.path.name == "euler_2_int8.onnx"
    assert 1e-4 < small.parity.relative_difference < 0.2
    assert small.parity.equal_classes > 0.8
    assert small.path.stat().st_size < plain.path.stat().st_size


@pytest.mark.long
def test_a_network_of_another_data_type_takes_its_own_images(tmp_path: Path) -> None:
    made = trained(NETWORKS["no stitch"])
    own = Preprocessing((3, 8, 8), (0.0,) * 3, (1.0,) * 3, white=1)
    network = TrainedNetwork(made.network, replace(made.blueprint, preprocessing=own))
    for name in ("onnx", "torch_export"):
        assert sample(network).images.dtype == torch.float32
        assert exported(name, network, tmp_path, Setting()).parity.relative_difference < 1e-5
