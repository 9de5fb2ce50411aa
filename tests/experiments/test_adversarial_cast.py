"""The networks of the competition: which images, which settings, where weights come from, and what is made anew."""

import hashlib
import io
import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from toolkit.adversarial.evaluation import accuracy
from toolkit.datasets import load
from toolkit.experiments import adversarial_cast, adversarial_weights
from toolkit.experiments.adversarial_cast import cast
from toolkit.experiments.adversarial_data import (
    ImagesConfig,
    held_out_images,
    image_shape,
    stream,
    training_images,
)
from toolkit.experiments.adversarial_recipe import MEMBERS, Recipe, find_member
from toolkit.experiments.adversarial_shipping import ship
from toolkit.experiments.adversarial_weights import (
    find_weights,
    fingerprint,
    keep_weights,
    round_weights,
    shipped_weights,
    write_weights,
)
from toolkit.experiments.shipped_files import read_index, write_index
from toolkit.experiments.study import StudyInterrupted

TINY = replace(
    Recipe.at("digits", "quick"),
    n_training=96,
    epochs=1,
    robust_epochs=1,
    masked_epochs=1,
    denoiser_epochs=1,
    network_epochs=1,
    n_pgd_steps=1,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


# Images


def test_digits_are_stretched_to_eight_bits():
    part = training_images("digits", "subset", 50)
    images = load("digits").train.images[:50]
    assert part.images.dtype == torch.uint8 and part.images.shape == (50, 1, 8, 8)
    assert torch.equal(part.images[:, 0], (images * (255 / 16)).round().to(torch.uint8))
    assert part.pixels.max() == 1
    steps = part.images.unique().long().diff()
    assert set(steps.tolist()) <= {15, 16}  # one of the 16 steps of brightness is one epsilon of 16/255


def test_the_last_training_images_are_others_than_the_first():
    every = load("digits").train
    last = training_images("digits", n=30, last=True)
    assert torch.equal(last.labels, every.labels[-30:])
    with pytest.raises(ValueError, match="1 to 1437"):
        training_images("digits", n=1438)


def test_what_ships_of_fashion_mnist_has_one_part_only():
    dev, final = (held_out_images("fashion_mnist", "subset", part, 40) for part in ("dev", "final"))
    assert torch.equal(dev.images, final.images)
    assert torch.equal(dev.images[:, 0], load("fashion_mnist").test.images[:40])
    with pytest.raises(ValueError, match="part"):
        held_out_images("digits", part="test")
    with pytest.raises(ValueError, match="1 to 500"):
        held_out_images("fashion_mnist", "subset", n=501)


def test_parts_of_all_test_images_do_not_meet(monkeypatch):
    small = replace(load("fashion_mnist"), variant="full")
    monkeypatch.setattr("toolkit.experiments.adversarial_data._load", lambda data, images: small)
    monkeypatch.setattr("toolkit.experiments.adversarial_data.DEV_SIZE", 100)
    dev, final = (held_out_images("fashion_mnist", "full", part) for part in ("dev", "final"))
    assert torch.equal(torch.cat([dev.labels, final.labels]), small.test.labels) and len(dev) == 100
    assert "DEV" in dev.description and "100 to 499" in final.description
    with pytest.raises(ValueError, match="1 to 100"):
        held_out_images("fashion_mnist", "full", "dev", 101)


@pytest.mark.parametrize(
    "wrong", [{"data": "mnist"}, {"cast": "large"}, {"images": "all"}, {"part": "test"}, {"n_images": 0}]
)
def test_bad_settings_are_named(wrong):
    (name,) = wrong
    config = ImagesConfig()
    object.__setattr__(config, name, wrong[name])  # annotations forbid some; the command line and files do not
    with pytest.raises(ValueError, match=name):
        config.__post_init__()


def test_more_images_than_there_are_means_all():
    assert len(ImagesConfig(data="digits", n_images=10_000).load()) == 360


# Recipes


def test_each_network_comes_after_those_it_needs():
    names = [member.name for member in MEMBERS]
    assert len(set(names)) == len(names)
    for place, member in enumerate(MEMBERS):
        assert set(member.needs) <= set(names[:place])
        assert set(member.told) <= set(Recipe.__dataclass_fields__)


def test_attackers_do_not_see_what_only_defends():
    public = {member.name for member in MEMBERS if member.public}
    assert {"lenet", "vgg", "strided", "resnet-adv", "resnet-ens"} < public
    assert not public & {"resnet", "dilated", "resnet-pgd", "denoiser-logits", "denoiser-pixels"}
    assert set(find_member("attack-network").needs) < public


def test_a_fingerprint_follows_what_a_training_depends_on_and_nothing_else():
    plain, ensemble, denoiser = map(find_member, ("lenet", "resnet-ens", "denoiser-logits"))
    changed = replace(TINY, denoiser_epochs=9)
    assert changed.key(plain, 0) == TINY.key(plain, 0) != TINY.key(plain, 1)
    assert changed.key(denoiser, 0) != TINY.key(denoiser, 0)
    longer = replace(TINY, epochs=2)  # of the plain networks, which the others look at
    assert all(longer.key(member, 0) != TINY.key(member, 0) for member in (plain, ensemble, denoiser))
    keys = {TINY.key(member, seed) for member in MEMBERS for seed in (0, 1)}
    assert len(keys) == 2 * len(MEMBERS)


def test_unknown_recipes_and_networks_are_named():
    for arguments, name in ((("mnist", "quick"), "data"), (("digits", "large"), "scale")):
        with pytest.raises(ValueError, match=name):
            Recipe.at(*arguments)
    with pytest.raises(ValueError, match="n_training"):
        replace(TINY, n_training=3)
    with pytest.raises(ValueError, match="lenet"):
        find_member("alexnet")


def test_the_scales_differ():
    quick, laptop, paper = (Recipe.at("fashion_mnist", scale) for scale in ("quick", "laptop", "paper"))
    assert (quick.n_training, laptop.n_training, paper.n_training) == (2000, 12_000, 60_000)
    assert quick.images == "subset" and paper.width > laptop.width and paper.epochs > laptop.epochs
    assert image_shape("fashion_mnist") == (1, 28, 28)


# Weights


def test_weights_are_rounded_to_half_precision_once(own_cache):
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    module(torch.rand(5, 1, 8, 8))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    round_weights(module)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, before[name].half().float())
    assert not torch.equal(module[0].weight, before["0.weight"])
    keep_weights("small", "k", module, 12.345)
    found = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    origin = find_weights("small", "k", found)
    assert (origin.place, origin.cpu_seconds) == ("cache", 12.35) or origin.cpu_seconds == 12.34
    assert same_weights(module, found) and found[1].num_batches_tracked == 1


@pytest.mark.parametrize("value", [float("nan"), 70_000.0])
def test_weights_that_do_not_round_are_refused(value):
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.bias[0] = value
        module.weight[0, 0] = 1 / 3
    with pytest.raises(ValueError, match="bias"):
        round_weights(module)
    assert module.weight[0, 0] == torch.tensor(1 / 3)


def damages(content: bytes):
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    other = io.BytesIO()
    np.savez(other, **{"meta": np.frombuffer(b"[]", np.uint8), "weight": np.array(["text"])})
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 0xFF
    return {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "flipped": bytes(flipped),
        "text": b"no weights at all",
        "pickle": b"\x80\x04K\x01.",
        "array": single.getvalue(),
        "other": other.getvalue(),
    }


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "pickle", "array", "other"])
def test_a_damaged_file_counts_as_absent(own_cache, damage):
    keep_weights("small", "k", nn.Linear(300, 2), 1.0)
    (file,) = own_cache.glob("small-k.npz")
    file.write_bytes(damages(file.read_bytes())[damage])
    module = nn.Linear(300, 2)
    before = module.weight.clone()
    assert find_weights("small", "k", module) is None
    assert torch.equal(module.weight, before)


def test_weights_of_another_network_or_training_count_as_absent(own_cache):
    keep_weights("small", "k", nn.Linear(3, 2), 1.0)
    assert find_weights("small", "k", nn.Linear(4, 2)) is None
    assert find_weights("small", "k", nn.Sequential(nn.Linear(3, 2))) is None
    shutil.copy(own_cache / "small-k.npz", own_cache / "small-other.npz")
    assert find_weights("small", "other", nn.Linear(3, 2)) is None
    with np.load(own_cache / "small-k.npz") as archive:
        arrays = dict(archive)
    np.savez(own_cache / "small-k.npz", **arrays | {"bias": np.array([np.nan, 0], np.float16)})
    assert find_weights("small", "k", nn.Linear(3, 2)) is None


def test_a_cache_that_cannot_be_written_is_warned_about(own_cache):
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("a file stands where the folder should be")
    with pytest.warns(UserWarning, match="not kept for the next time"):
        keep_weights("small", "k", nn.Linear(3, 2), 1.0)


def test_fingerprints_do_not_depend_on_the_order_of_settings():
    assert fingerprint({"a": 1, "b": (2, 3)}) == fingerprint({"b": [2, 3], "a": 1}) != fingerprint({"a": 1})


# Casts


def test_a_cast_is_trained_once_and_found_again(own_cache):
    first = cast("digits", recipe=TINY, seed=5, only=["lenet", "dilated"], device="cpu")
    assert set(first.networks) == {"lenet", "dilated"}
    assert {origin.place for origin in first.origins.values()} == {"trained"}
    assert not any(network.training for network in first.networks.values())
    assert not any(p.requires_grad for network in first.networks.values() for p in network.parameters())
    second = cast("digits", recipe=TINY, seed=5, only=["dilated", "lenet"], device="cpu")
    assert list(second.networks) == ["lenet", "dilated"]
    assert {origin.place for origin in second.origins.values()} == {"cache"}
    again = cast("digits", recipe=TINY, seed=5, only=["lenet"], device="cpu", retrain=True)
    other = cast("digits", recipe=TINY, seed=6, only=["lenet"], device="cpu")
    assert same_weights(first["lenet"], second["lenet"]) and same_weights(first["lenet"], again["lenet"])
    assert not same_weights(first["lenet"], other["lenet"])
    assert again.origins["lenet"].place == "trained"
    assert "seed 5" in repr(first) and json.loads(json.dumps(first.to_dict()))["seed"] == 5
    with pytest.raises(ValueError, match="lenet, dilated"):
        first["vgg"]


def test_a_network_does_not_depend_on_what_was_trained_before_it(own_cache):
    alone = cast("digits", recipe=TINY, only=["vgg"], device="cpu")
    shutil.rmtree(own_cache)
    together = cast("digits", recipe=TINY, only=["lenet", "vgg"], device="cpu")
    assert same_weights(alone["vgg"], together["vgg"])


def test_what_a_network_needs_is_trained_with_it_but_only_then(own_cache):
    found = cast("digits", recipe=TINY, only=["resnet-ens"], device="cpu")
    assert list(found.networks) == ["resnet-ens"]
    assert {path.name.rpartition("-")[0] for path in own_cache.glob("*.npz")} == {
        *("lenet", "vgg", "strided"),
        "resnet-ens",
    }
    for path in own_cache.glob("lenet-*.npz"):
        path.unlink()
    assert cast("digits", recipe=TINY, only=["resnet-ens"], device="cpu").origins["resnet-ens"].place == "cache"
    assert not list(own_cache.glob("lenet-*.npz"))


def test_a_damaged_network_is_trained_again(own_cache):
    first = cast("digits", recipe=TINY, only=["lenet"], device="cpu")
    (file,) = own_cache.glob("lenet-*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    again = cast("digits", recipe=TINY, only=["lenet"], device="cpu")
    assert again.origins["lenet"].place == "trained" and same_weights(first["lenet"], again["lenet"])
    assert len(file.read_bytes()) > 100


def test_a_cast_can_be_stopped():
    stop = threading.Event()
    stop.set()
    with pytest.raises(StudyInterrupted):
        cast("digits", recipe=TINY, only=["lenet"], device="cpu", stop=stop)


def test_the_global_generators_are_left_alone(own_cache):
    torch.manual_seed(11)
    np.random.seed(11)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(11)
    np.random.seed(11)
    cast("digits", recipe=TINY, only=["resnet-adv"], device="cpu")
    assert torch.equal(torch.rand(3), expected[0]) and np.array_equal(np.random.rand(3), expected[1])


def test_streams_differ_by_name_and_seed():
    draws = [torch.rand(4, generator=stream(seed, name)) for seed in (0, 1) for name in ("a", "b")]
    assert all(not torch.equal(one, other) for i, one in enumerate(draws) for other in draws[:i])
    assert torch.equal(draws[0], torch.rand(4, generator=stream(0, "a")))


# What ships


@pytest.fixture
def own_shipment(tmp_path, monkeypatch):
    """A folder of shipped weights with one network in it."""
    folder = tmp_path / "weights"
    monkeypatch.setattr(adversarial_weights, "shipped_weights", lambda: folder)
    network = cast("digits", recipe=TINY, only=["lenet"], device="cpu")["lenet"]
    shutil.rmtree(tmp_path / "cache")
    key = TINY.key(find_member("lenet"), 0)
    write_weights(folder / "lenet.npz", key, network, 3.0)
    write_index(
        folder,
        adversarial_weights.FORMAT,
        adversarial_weights.KIND,
        {f"lenet-{key}": {"file": "lenet.npz", "study": "here"}},
    )
    return folder


def test_shipping_writes_what_is_found_again(tmp_path, monkeypatch):
    folder = tmp_path / "shipment"
    monkeypatch.setattr(adversarial_weights, "shipped_weights", lambda: folder)
    networks = cast("digits", recipe=TINY, only=["vgg", "denoiser-pixels"], device="cpu")
    assert ship(networks, folder) == sum(path.stat().st_size for path in folder.glob("*.npz"))
    found = cast("digits", recipe=TINY, only=["vgg", "denoiser-pixels"], device="cpu")
    for name in networks.networks:
        assert found.origins[name].place == "shipped" and same_weights(found[name], networks[name])


def test_shipped_weights_are_preferred(own_shipment):
    found = cast("digits", recipe=TINY, only=["lenet"], device="cpu")
    assert found.origins["lenet"].to_dict() == {"place": "shipped", "cpu_seconds": 3.0}


def test_damaged_shipped_weights_are_warned_about_and_made_anew(own_shipment):
    file = own_shipment / "lenet.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match="damaged"):
        found = cast("digits", recipe=TINY, only=["lenet"], device="cpu")
    assert found.origins["lenet"].place == "trained"
    for index in ("{", "[]", '{"weights": []}', '{"weights": {"lenet": 3}}'):
        (own_shipment / "index.json").write_text(index)
        with pytest.warns(UserWarning, match="index"):
            assert cast("digits", recipe=TINY, only=["lenet"], device="cpu").origins["lenet"].place == "cache"


@pytest.mark.parametrize("entry", [{}, {"file": 3, "sha256": "x"}, {"file": "gone.npz", "sha256": "x"}])
def test_an_entry_that_leads_nowhere_is_warned_about(own_shipment, entry):
    key = TINY.key(find_member("lenet"), 0)
    (own_shipment / "index.json").write_text(json.dumps({"weights": {f"lenet-{key}": entry}}))
    with pytest.warns(UserWarning, match="lenet that ship are damaged"):
        assert cast("digits", recipe=TINY, only=["lenet"], device="cpu").origins["lenet"].place == "trained"


def shipped():
    entries = read_index(adversarial_weights.shipped_weights(), adversarial_weights.KIND)
    if not entries:
        pytest.skip("no weights ship with this checkout")
    return entries


def test_what_ships_is_the_laptops_cast_of_seed_0():
    recipe = Recipe.at("fashion_mnist", "laptop")
    assert set(shipped()) == {f"{member.name}-{recipe.key(member, 0)}" for member in MEMBERS}


def test_what_ships_is_whole_small_and_says_where_it_comes_from():
    files = {path.name: path for path in shipped_weights().glob("*.npz")}
    assert set(files) == {entry["file"] for entry in shipped().values()}
    assert sum(path.stat().st_size for path in files.values()) <= 2.5e6
    for name, entry in shipped().items():
        assert hashlib.sha256(files[entry["file"]].read_bytes()).hexdigest() == entry["sha256"]
        assert {"study", "config", "commit", "date", "torch"} <= set(entry)
        assert name.endswith(fingerprint(entry["config"]))


def test_the_shipped_cast_needs_no_images_and_no_training(monkeypatch):
    shipped()
    monkeypatch.setattr(adversarial_cast, "training_images", lambda *_: pytest.fail("a training began"))
    found = cast(device="cpu")
    assert {origin.place for origin in found.origins.values()} == {"shipped"}
    assert set(found.networks) == {member.name for member in MEMBERS}
    part = held_out_images("fashion_mnist", "subset", n=200)
    assert accuracy(found["vgg"], part.pixels, part.labels) > 0.8
    for network in found.networks.values():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                assert torch.equal(tensor, tensor.half().float())
