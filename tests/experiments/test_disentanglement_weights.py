"""Codes and decoders on disk: written whole, found again, refused when damaged, and shipped with their provenance."""

import hashlib
import json
import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement import GaussianCodes, informations, profile, synthetic_codes
from toolkit.experiments import disentanglement_shipping, disentanglement_weights
from toolkit.experiments.disentanglement_config import WITH_DECODER, DisentanglementConfig
from toolkit.experiments.disentanglement_shipping import ship
from toolkit.experiments.disentanglement_trained import (
    CodesUnavailable,
    shipped_models,
    trained_codes,
    trained_decoder,
)
from toolkit.experiments.disentanglement_weights import (
    Trained,
    find_trained,
    fingerprint,
    keep_trained,
    round_codes,
    shipped_folder,
)
from toolkit.experiments.shipped_files import read_index

LAPTOP = DisentanglementConfig(scale="laptop")
NAME = "betaVAE-10"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path / "cache"))


@pytest.fixture
def own_shipment(tmp_path, monkeypatch):
    """An empty folder of what ships."""
    folder = tmp_path / "shipment"
    monkeypatch.setattr(disentanglement_weights, "shipped_folder", lambda: folder)
    monkeypatch.setattr(disentanglement_shipping, "shipped_folder", lambda: folder)
    return folder


def some_codes(categorical=False):
    generator = torch.Generator().manual_seed(3)
    factors = torch.cartesian_prod(torch.arange(3), torch.arange(2))
    mean = torch.randn(6, 2, generator=generator)
    log_prob = torch.randn(6, 3, generator=generator).log_softmax(1)
    return round_codes(
        GaussianCodes(mean, mean.exp(), factors, (3, 2), (log_prob,) if categorical else (), ("size", "hue"))
    )


def model_of(name, seed=0):
    """A model that nobody trained, as the study keeps it."""
    training = LAPTOP.training(name)
    model = training.build((32, 32), 1, generator=torch.Generator().manual_seed(seed), device="cpu")
    kept = Trained(some_codes(), dict(model.decoder.state_dict()), LAPTOP.settings_of(name, seed))
    return model, kept


@pytest.mark.parametrize("categorical", [False, True])
def test_what_is_kept_is_found_again(categorical):
    codes = some_codes(categorical)
    settings = LAPTOP.settings_of(NAME, 4)
    keep_trained(NAME, Trained(codes, None, settings))
    found = find_trained(NAME, settings)
    assert torch.equal(found.codes.mean, codes.mean) and torch.equal(found.codes.factors, codes.factors)
    assert torch.equal(found.codes.standard_deviation, codes.standard_deviation)
    assert found.codes.factor_names == ("size", "hue") and found.codes.n_latents == codes.n_latents
    for one, other in zip(found.codes.categorical_log_prob, codes.categorical_log_prob, strict=True):
        assert torch.allclose(one, other, atol=2e-3)
    assert found.decoder is None and "without decoder" in repr(found)
    assert find_trained("VAE", settings) is None and find_trained(NAME, LAPTOP.settings_of(NAME, 5)) is None


def test_rounding_changes_scores_by_less_than_their_error():
    codes = synthetic_codes((3, 4, 5), standard_deviation=0.1)
    before, after = (
        profile(informations(each, n_samples=500, generator=torch.Generator().manual_seed(0)))
        for each in (codes, round_codes(codes))
    )
    assert after.unibound == pytest.approx(before.unibound, abs=2e-3)
    assert torch.equal(round_codes(round_codes(codes)).mean, round_codes(codes).mean)


def test_rounding_keeps_deviations_positive_and_refuses_means_out_of_range():
    factors = torch.arange(2)[:, None]
    narrow = round_codes(GaussianCodes(torch.zeros(2, 1), torch.full((2, 1), 1e-9), factors))
    assert 0 < float(narrow.standard_deviation.min()) < 1e-4
    with pytest.raises(ValueError, match="round_codes"):
        round_codes(GaussianCodes(torch.full((2, 1), 1e6), torch.ones(2, 1), factors))


def test_certain_categories_survive_rounding():
    log_prob = torch.tensor([[0.0, -math.inf], [math.log(0.5), math.log(0.5)]]).clamp_min(-1e30)
    codes = GaussianCodes(torch.zeros(2, 1), torch.ones(2, 1), torch.arange(2)[:, None], (), (log_prob,))
    (rounded,) = round_codes(codes).categorical_log_prob
    assert torch.allclose(rounded.exp(), torch.tensor([[1.0, 0.0], [0.5, 0.5]]), atol=1e-3)


@pytest.mark.parametrize("harm", ["cut", "changed", "foreign", "nan", "other settings"])
def test_a_damaged_file_counts_as_absent(harm):
    settings = LAPTOP.settings_of(NAME, 7)
    keep_trained(NAME, Trained(some_codes(), None, settings))
    (file,) = disentanglement_weights.cache_folder().glob("*.npz")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif harm == "changed":
        content = bytearray(file.read_bytes())
        content[100] ^= 255  # inside what is compressed
        file.write_bytes(content)
    elif harm == "foreign":
        file.write_bytes(b"not a zip file")
    else:
        with np.load(file) as archive:
            arrays = dict(archive)
        if harm == "nan":
            arrays["mean"] = arrays["mean"] * np.nan
        else:
            meta = json.loads(arrays["meta"].tobytes())
            meta["settings"]["seed"] = 9
            arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(file, **arrays)
    assert find_trained(NAME, settings) is None


def test_a_cache_that_cannot_be_written_is_warned_about(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(blocked))
    with pytest.warns(UserWarning, match="not kept"):
        keep_trained(NAME, Trained(some_codes(), None, LAPTOP.settings_of(NAME, 7)))


def test_codes_in_another_order_are_not_written(tmp_path):
    codes = GaussianCodes(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([[1], [0]]))
    with pytest.raises(ValueError, match="write_trained"):
        disentanglement_weights.write_trained(tmp_path / "codes.npz", Trained(codes, None, LAPTOP.settings_of(NAME, 7)))
    assert not list(tmp_path.glob("*.npz"))


def test_a_decoder_is_the_one_that_was_trained(own_shipment):
    model, kept = model_of(NAME)
    keep_trained(NAME, kept)
    decoder = trained_decoder(NAME)
    latents = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert decoder(latents).shape == (5, 32, 32)
        assert torch.allclose(decoder(latents), model.decode(latents), atol=5e-3)
    assert not decoder.training and not any(weight.requires_grad for weight in decoder.parameters())
    assert torch.equal(trained_codes(NAME).mean, kept.codes.mean)


def test_what_is_nowhere_says_how_to_get_it(own_shipment):
    with pytest.raises(CodesUnavailable, match="run disentanglement --scale laptop --models VAE --seeds 3"):
        trained_codes("vae", 3)
    with pytest.raises(ValueError, match="find_model"):
        trained_codes("GAN")
    with pytest.raises(ValueError, match="VAE, betaVAE-10"):
        trained_decoder("FactorVAE-10")


def test_shipping_writes_what_is_found_again(own_shipment, capsys):
    assert disentanglement_shipping.main() == 1
    assert "--models VAE betaVAE-4" in capsys.readouterr().err and not own_shipment.exists()
    kept = {name: model_of(name)[1] for name in ("VAE", NAME)}
    assert ship(kept, own_shipment) == sum(path.stat().st_size for path in own_shipment.glob("*.npz"))
    assert torch.equal(trained_codes("VAE").mean, kept["VAE"].codes.mean)
    entry = read_index(disentanglement_weights.shipped_folder(), disentanglement_weights.KIND)[
        f"VAE-{fingerprint(kept['VAE'].settings)}"
    ]
    assert {"study", "settings", "sha256", "commit", "date", "torch", "toolkit"} <= set(entry)
    assert entry["sha256"] == hashlib.sha256((own_shipment / "VAE-seed0.npz").read_bytes()).hexdigest()


def test_damaged_shipments_are_warned_about_and_not_used(own_shipment):
    ship({NAME: model_of(NAME)[1]}, own_shipment)
    file = own_shipment / f"{NAME}-seed0.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(CodesUnavailable):
        trained_codes(NAME)
    for index in ("{", "[]", '{"codes": []}', '{"codes": {"VAE": 3}}'):
        (own_shipment / "index.json").write_text(index)
        with pytest.warns(UserWarning, match="index"), pytest.raises(CodesUnavailable):
            trained_codes(NAME)


def shipped():
    entries = read_index(disentanglement_weights.shipped_folder(), disentanglement_weights.KIND)
    if not entries:
        pytest.skip("no codes ship with this checkout")
    return entries


def test_what_ships_is_seed_0_of_every_model_of_the_laptop():
    expected = {f"{name}-{fingerprint(LAPTOP.settings_of(name, 0))}" for name in shipped_models()}
    assert set(shipped()) == expected
    assert {entry["settings"]["training"]["model"] for entry in shipped().values() if entry["decoder"]} == {
        *WITH_DECODER
    }


def test_what_ships_is_whole_and_small():
    files = {path.name: path for path in shipped_folder().glob("*.npz")}
    assert set(files) == {entry["file"] for entry in shipped().values()}
    assert sum(path.stat().st_size for path in files.values()) <= 2e6
    for entry in shipped().values():
        assert hashlib.sha256(files[entry["file"]].read_bytes()).hexdigest() == entry["sha256"]
    for name in shipped_models():
        codes = trained_codes(name)
        assert codes.complete and codes.n_images == math.prod(LAPTOP.sizes)
