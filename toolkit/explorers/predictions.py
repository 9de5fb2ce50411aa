"""The questions that lessons begin with. They live here, so that no answer stands above its question in a notebook."""

from collections.abc import Sequence

from toolkit.experiments import Record
from toolkit.lessons import predict
from toolkit.lessons.prediction import Prediction


def start_here() -> Prediction:
    """Ask how good one step of gradient descent is, for ``00_start_here``."""
    return predict(
        "Ten templates of 8×8 pixels, one per digit, are all zero. They take one single step of gradient "
        "descent on 1,437 handwritten digits. How many of 100 unseen digits do they then name right?",
        ["about 10, which is chance", "about 30", "about 50", "about 80"],
        answer="about 80",
        explanation="The first step makes each template the mean of its digit, less the mean of all.",
    )


def define_by_run() -> Prediction:
    """Ask what a tape must keep, for ``01_define_by_run``."""
    return predict(
        "A function branches, loops and calls itself. What must be kept to differentiate it?",
        [
            "its source code",
            "every array it computed",
            "which operations ran, and some of the arrays",
            "every path it could have taken",
        ],
        answer="which operations ran, and some of the arrays",
        explanation="Only the path taken matters, and each operation says which arrays its own rule needs.",
    )


def training_the_chainer_way() -> Prediction:
    """Ask what a convenience costs at every operation, for ``02_training_the_chainer_way``."""
    return predict(
        "A tape works on the arrays of several libraries. It can find out once which one it has, or ask anew at every "
        "operation. If it asks, how much longer does an operation on ten numbers take, forward and backward?",
        ["about 1 % longer", "about 10 % longer", "about 30 % longer", "about twice as long"],
        answer="about twice as long",
        explanation="To ask takes longer than to add ten numbers; what a tape does at every operation has to be cheap.",
    )


def gradients_through_coin_flips() -> Prediction:
    """Ask how far the optimal estimator is ahead at equal cost, for ``03_gradients_through_coin_flips``."""
    return predict(
        "Twelve coins decide a cost together. One estimate turns each coin over in turn: with the toss itself 13 "
        "evaluations of the cost. Another takes 13 independent tosses and subtracts from each cost the mean of the "
        "other twelve. Both are right on average. How large is the variance of the first, beside that of the second?",
        ["less than a tenth", "about half", "about four fifths", "larger"],
        answer="about four fifths",
        explanation="One estimate by flips is far better than one toss; thirteen tosses that serve one another nearly "
        "make up for it.",
    )


def sigmoid_belief_networks() -> Prediction:
    """Ask whether a quieter gradient makes a better model, for ``04_sigmoid_belief_networks``."""
    return predict(
        "Two networks with 64 hidden coins learn the same small digits for 1,500 steps. One gets gradients whose "
        "variance is several thousand times smaller. By how much does its bound on the log likelihood of a digit end "
        "higher, in nats? Before the first step the bound is near −51.",
        ["by more than 10 nats", "by about 5 nats", "by 1 or 2 nats", "not measurably"],
        answer="by 1 or 2 nats",
        explanation="Both gain about 25 nats. Many small steps average much of the noise away; what is left costs "
        "something, but far less than its size suggests.",
    )


def clusters_without_labels() -> Prediction:
    """Ask whether information tells good clusters from absurd ones, for ``05_clusters_without_labels``."""
    return predict(
        "Two moons of points lie in the plane. One rule tells the two moons apart. Another cuts the plane into twelve "
        "level stripes, one above the other, and puts them into two clusters in turn: the first, the third and so on "
        "into one, the others into the other. Both rules are certain of every point, and both make clusters of equal "
        "size. Which one tells more about the points, as mutual information?",
        ["the moons, by far", "the moons, by a little", "both the same", "the stripes"],
        answer="both the same",
        explanation="Mutual information asks for certain predictions and equal clusters, and for nothing else. Where "
        "the border runs is the same to it.",
    )


def learning_to_hash() -> Prediction:
    """Ask whether information alone makes a code that finds similar images, for ``06_learning_to_hash``."""
    return predict(
        "A network learns 16 bits that tell as much as possible about an image of a digit; nothing else is asked. "
        "Another method takes the 16 directions in which the images vary most, rotates them and keeps the signs. Which "
        "code finds more images of the same digit?",
        [
            "the network's, by far",
            "the network's, by a little",
            "the rotated directions'",
            "neither is better than chance",
        ],
        answer="the rotated directions'",
        explanation="Information asks that codes differ, not that images which are alike get codes which are alike.",
    )


def attacks_against_defences() -> Prediction:
    """Ask how far the winner of 2017 falls in its worst case, for ``08_attacks_against_defences``."""
    return predict(
        "In 2017 the best of more than a hundred defences labelled 95 % of the attacked images rightly, on average "
        "over 145 attacks. How many of the images did it label rightly against the attack that suited it least?",
        ["about 90 %", "about 70 %", "about 40 %", "about 12 %"],
        answer="about 12 %",
        explanation="A mean over many weak attacks says little about the strongest one. Another defence, 24th by the "
        "mean, kept 54 % in its worst case.",
    )


def adversarial_examples() -> Prediction:
    """Ask what makes an attack work on a network that the attacker does not know, for ``07_adversarial_examples``."""
    return predict(
        "Five networks of different kinds classify clothes. An attacker changes each pixel by at most 32 of 255 grey "
        "levels, has the gradients of some of the networks, and wants to fool another one, unseen. One step along the "
        "sign of one network's gradient fools the unseen one now and then. What raises that most?",
        [
            "ten small steps on the same network",
            "ten small steps with momentum on the same network",
            "one step, on four networks at once",
            "nothing: what fools one network does not fool another",
        ],
        answer="one step, on four networks at once",
        explanation="More steps fit the change to the network that it is made on. What fools four networks is less "
        "likely to be a peculiarity of one.",
    )


def partial_information() -> Prediction:
    """Ask how much two independent coins know in common, for ``09_partial_information``."""
    from toolkit.disentanglement import interval, named_system, pid
    from toolkit.explorers.pid_parts import MEASURES

    gate = named_system("AND")
    bounds = interval(gate, unit="bits")
    lower, upper = float(bounds.redundant.lower), float(bounds.redundant.upper)
    by_amount: dict[str, list[str]] = {}
    for name, title in MEASURES.items():
        by_amount.setdefault(f"{float(pid(gate, name, unit='bits').redundant):.2f}", []).append(title)
    says = "; ".join(f"{', '.join(titles)}: {amount} bits" for amount, titles in by_amount.items())
    return predict(
        "Two coins are tossed, independently of each other. A light goes on if both show heads. One coin alone tells "
        f"{float(bounds.information_1):.2f} bits about the light, and so does the other. How much of that is the same "
        "for both coins?",
        [
            "nothing: independent coins have nothing in common",
            "about a third of it",
            "all of it",
            "that is not settled: each of these is possible",
        ],
        answer="that is not settled: each of these is possible",
        explanation="What each coin tells, and what both tell together, leave room for anything from "
        f"{lower:.2f} to {upper:.2f} bits, until someone says what “the same” means. Four published measures: {says}.",
    )


def disentanglement() -> Prediction:
    """Ask what a mixed copy of a code costs UniBound if it costs MIG a fifth, for ``10_disentanglement``."""
    import torch

    from toolkit.disentanglement import FixedDraws, Redundancy, profile
    from toolkit.explorers.attack_curves import ideal_code

    clean = ideal_code()
    draws = FixedDraws(clean, n_samples=1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = [draws.informations(code) for code in (clean, Redundancy(4.0)(clean))]
    before, after = map(profile, found)
    single = found[1].single
    new = float((single[clean.n_latents :].amax(0) / single[: clean.n_latents].amax(0)).max())
    lost = {name: 100 * (1 - getattr(after, name) / getattr(before, name)) for name in ("mig", "unibound")}
    offered = {f"about {share} %": share for share in (20, 40, 65, 85)}
    return predict(
        "A perfect code has one latent for each factor. Then as many latents again are appended, each a mixture of all "
        f"the old ones, with noise. No new latent says more than {100 * new:.0f} % of what a factor's own latent says. "
        f"MIG, the gap between the best latent and the second best, loses {lost['mig']:.0f} %. How much does UniBound "
        "lose, the gap between the best latent and all the others together?",
        list(offered),
        answer=min(offered, key=lambda option: abs(offered[option] - lost["unibound"])),
        explanation=f"It falls from {before.unibound:.2f} to {after.unibound:.2f}. A new latent says little; all of "
        "them together give the old ones back, but for a little noise.",
    )


def grammars() -> Prediction:
    """Ask which level's rules the first tokens give away, for ``11_grammars``."""
    from toolkit.explorers.level_knowledge import level_knowledge

    found = level_knowledge()
    tokens = 4
    # A shade more than it is: the last bit must not decide how a half is rounded.
    right = [100 * share + 1e-9 for share in found.accuracy[tokens].tolist()]
    top, middle, bottom = "the top level's coin", "the middle level's coin", "the bottom level's coin"
    levels = (top, middle, bottom)
    certain = [name for name, share in zip(levels, right, strict=True) if share > 100 - 1e-6]
    known = certain[0] if len(certain) == 1 else "all three" if certain else "none of them"
    return predict(
        "One symbol is rewritten into two or three, each of these again, and each of these into letters: "
        f"{float(found.family.expected_length()):.0f} letters on average. At each of the three levels a coin has "
        "chosen between two sets of rules, once for the whole document. You know all the rules and read the first "
        f"{tokens} letters. Which coin do you then know for certain?",
        [top, middle, bottom, "all three", "none of them"],
        answer=known,
        explanation=f"The best guess of the top level's coin is right in {right[0]:.0f} % of documents, of the middle "
        f"level's in {right[1]:.0f} %, of the bottom level's in {right[2]:.0f} %. Its rules are used again and again, "
        "and write the letters themselves.",
    )


def metadata_conditioning(records: Sequence[Record] | None = None) -> Prediction:
    """Ask when a model that was shown metadata in training is the better one, for ``12_metadata_conditioning``.

    Args:
        records: of the study, to take the answer from; default: those that come with the toolkit. Where none has two
            seeds, the answer is what the paper claims, and is said to be.
    """
    from toolkit.experiments.metadata_conditioning_comparison import compare
    from toolkit.explorers.metadata_records import depth_of, recorded_runs

    answers = {
        (True, True): "after short beginnings and after long ones",
        (True, False): "only after short beginnings",
        (False, True): "only after long beginnings",
        (False, False): "after neither",
    }
    claimed = answers[False, True]
    found = [
        (run, compare(run.arms[-1], run.baseline))
        for run in recorded_runs(records)
        if set(run.arms[-1].seeds) & set(run.baseline.seeds) and _mixed_in_half(run.baseline)
    ]
    told = next(((run, beside) for run, beside in found if beside.short.n > 1), None)
    if told is None:
        answer = claimed
        explanation = "So the paper claims. No run with several seeds is recorded here that could say whether it holds."
    else:
        run, beside = told
        answer = answers[beside.short.sign < 0, beside.long.sign < 0]
        words = {1: "clearly greater than", -1: "clearly less than", 0: "not clearly different from"}
        short, long = (
            f"{words[part.sign]} the other's after {name} beginnings ({part} nats)".replace("-", "−")
            for name, part in (("short", beside.short), ("long", beside.long))
        )
        agrees = "So the paper claims, too." if answer == claimed else f"The paper claims: {claimed}."
        explanation = (
            f"Our run has {beside.short.n} seeds, and the model that was told read {depth_of(run.arms[-1])} levels of "
            f"choices. Its divergence from the best prediction is {short}, and {long}. {agrees}"
        )
    return predict(
        "Two equal language models read equally many documents. Each document comes from one of several grammars. One "
        "model is told for half of its documents which grammar it is; the other never is. Afterwards neither is "
        "told anything, and both go on with beginnings of new documents. When is the one that was told clearly nearer "
        "to the best prediction there can be?",
        list(answers.values()),
        answer=answer,
        explanation=explanation,
    )


def _mixed_in_half(record: Record) -> bool:
    return record.config["p_meta"] == 0.5 and not record.config.get("cooldown")
