"""Attacks, defences, and the competition in which they meet (Kurakin et al., arXiv 1804.00097).

The chapter reports a contest of programs: attacks change images a little, defences classify them, all meet all. It
asks who wins on average, and who in the worst case, which is another question with another answer.

``attacks`` are frozen settings with one call, ``attack(model, images, labels, epsilon=…, targets=…, generator=…)``;
``ensembles`` fuse models; ``transforms``, ``jpeg``, ``geometric``, ``denoiser`` change images before ``defences`` let a
model see them, ``training`` makes robust models, and ``adaptive`` attacks what hides its gradient. ``exact`` has the
worst case where it is known, ``evaluation`` accuracies, ``competition`` the rules, the tournament and its scores;
``models`` are five small classifiers, ``imagenet`` those of an optional package.
"""

from toolkit.adversarial.adaptive import BPDA, ExpectationOverTransformation
from toolkit.adversarial.attacks.apgd import APGD, difference_of_logits_ratio
from toolkit.adversarial.attacks.augmented import DIFGSM, SANGXIA_STEPS, AugmentedGradient
from toolkit.adversarial.attacks.autoattack import AutoAttack, HonestAccuracy, honest_accuracy
from toolkit.adversarial.attacks.base import Attack, Task
from toolkit.adversarial.attacks.boundary import BoundaryAttack
from toolkit.adversarial.attacks.carlini_wagner import CarliniWagner
from toolkit.adversarial.attacks.deepfool import DeepFool
from toolkit.adversarial.attacks.gradient import (
    BIM,
    FGSM,
    MIFGSM,
    PGD,
    IterativeTarget,
    StepLeastLikely,
    TargetedMIFGSM,
)
from toolkit.adversarial.attacks.lbfgs import LBFGS
from toolkit.adversarial.attacks.network import AttackNetwork, NetworkAttack, train_attack_network
from toolkit.adversarial.attacks.noise import NoAttack, RandomSign
from toolkit.adversarial.attacks.smoothed import TIFGSM, SmoothedGradient
from toolkit.adversarial.attacks.spsa import SPSA, estimate_gradient
from toolkit.adversarial.attacks.square import Searched, Square
from toolkit.adversarial.attacks.teams import LogMargin, TanhAdam
from toolkit.adversarial.competition import Competition, Submission, Tournament, from_attack, from_model
from toolkit.adversarial.defences import Defended, drawing_from, mmd_defence, weighted_defence
from toolkit.adversarial.denoiser import Denoised, Denoiser, LayerErrors, craft_mixture, layer_errors, train_denoiser
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.evaluation import RobustAccuracy, accuracy, attack_in_batches, predict, robust_accuracy
from toolkit.adversarial.exact import Bounds, LinearClassifier, certified_accuracy, certified_bounds, certified_margins
from toolkit.adversarial.geometric import RandomAffine, RandomResizePad
from toolkit.adversarial.imagenet import ImageNetClassifier, Pictures, imagenet_classifier, sample_pictures
from toolkit.adversarial.jpeg import JPEG, DifferentiableJPEG
from toolkit.adversarial.models import FAMILIES, SmallClassifier, classifier
from toolkit.adversarial.training import (
    Adversary,
    EnsembleAdversary,
    FixedFGSM,
    HalfBatchFGSM,
    PGDAdversary,
    train_classifier,
)
from toolkit.adversarial.transforms import BitDepth, Chain, GaussianNoise, MedianFilter, Transform
from toolkit.adversarial.unet import UNet

__all__ = [
    "APGD",
    "BIM",
    "BPDA",
    "DIFGSM",
    "FAMILIES",
    "FGSM",
    "JPEG",
    "LBFGS",
    "MIFGSM",
    "PGD",
    "SANGXIA_STEPS",
    "SPSA",
    "TIFGSM",
    "Adversary",
    "Attack",
    "AttackNetwork",
    "AugmentedGradient",
    "AutoAttack",
    "BitDepth",
    "BoundaryAttack",
    "Bounds",
    "CarliniWagner",
    "Chain",
    "Competition",
    "DeepFool",
    "Defended",
    "Denoised",
    "Denoiser",
    "DifferentiableJPEG",
    "Ensemble",
    "EnsembleAdversary",
    "ExpectationOverTransformation",
    "FixedFGSM",
    "GaussianNoise",
    "HalfBatchFGSM",
    "HonestAccuracy",
    "ImageNetClassifier",
    "IterativeTarget",
    "LayerErrors",
    "LinearClassifier",
    "LogMargin",
    "MedianFilter",
    "NetworkAttack",
    "NoAttack",
    "PGDAdversary",
    "Pictures",
    "RandomAffine",
    "RandomResizePad",
    "RandomSign",
    "RobustAccuracy",
    "Searched",
    "SmallClassifier",
    "SmoothedGradient",
    "Square",
    "StepLeastLikely",
    "Submission",
    "TanhAdam",
    "TargetedMIFGSM",
    "Task",
    "Tournament",
    "Transform",
    "UNet",
    "accuracy",
    "attack_in_batches",
    "certified_accuracy",
    "certified_bounds",
    "certified_margins",
    "classifier",
    "craft_mixture",
    "difference_of_logits_ratio",
    "drawing_from",
    "estimate_gradient",
    "from_attack",
    "from_model",
    "honest_accuracy",
    "imagenet_classifier",
    "layer_errors",
    "mmd_defence",
    "predict",
    "robust_accuracy",
    "sample_pictures",
    "train_attack_network",
    "train_classifier",
    "train_denoiser",
    "weighted_defence",
]
