"""The competition itself: every attack crafts once, every defence meets every attack (Algorithm 1, section 3.5)."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import joblib
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from toolkit.adversarial.competition.games import Crafted, Judged, Setting, craft, judge, running
from toolkit.adversarial.competition.isolation import Isolation
from toolkit.adversarial.competition.rules import Assignment, Batch, check_data, plan_batches
from toolkit.adversarial.competition.submissions import Submission, as_submission, as_submissions
from toolkit.adversarial.competition.tournament import Tournament
from toolkit.core.errors import reject, require
from toolkit.core.progress import progress_bar

Submissions = Mapping[str, Any] | Iterable[Any]


class Competition:
    """Attacks and defences that do not know each other, all against all.

    A submission is a function: an attack ``f(images, epsilon)``, a targeted one ``f(images, epsilon, targets)``, a
    defence ``f(images)``. Images are floats in [0, 1], ``[batch, channels, height, width]``; labels are never given.
    """

    def __init__(
        self,
        attacks: Submissions = (),
        targeted: Submissions = (),
        defences: Submissions = (),
        *,
        epsilons: Sequence[int] = (8, 16, 24, 32),
        batch_size: int = 100,
        assignment: Assignment = "round-robin",
        time_limit: float | None = None,
        isolate: bool | Isolation = True,
        seed: int = 0,
        n_jobs: int = 1,
        blacklist: Iterable[str] = (),
        clock: Callable[[], float] = time.perf_counter,
        progress: bool = True,
    ) -> None:
        """Set up a competition.

        Args:
            attacks: non-targeted attacks: a mapping from names to functions, or submissions from :func:`from_attack`,
                or functions, which are named after themselves.
            targeted: targeted attacks, likewise.
            defences: likewise; a ``torch.nn.Module`` answers with its most likely class.
            epsilons: in levels of a uint8 pixel. The competition had (4, 8, 12, 16), for photographs.
            batch_size: images that a submission gets at once.
            assignment: of epsilons to batches, ``"round-robin"`` or ``"random"``.
            time_limit: seconds for each batch, enforced with ``isolate``; 500 in the competition.
            isolate: run every submission in a process of its own. An open :class:`Isolation` is used again and again.
                ``False`` runs all in this process: quicker to start, but a time limit is not enforced, a crash is a
                crash, and what a function remembers from batch to batch is its own.
            seed: of everything random; what a submission draws depends on this, its name and the batch alone.
            n_jobs: submissions at a time, with ``isolate``.
            blacklist: names of submissions that do not count for others and whose own score is negated.
            clock: of the recorded seconds.
            progress: show a bar; a view in a notebook has its own.

        Raises:
            ValueError: names that are not unique, settings out of range.
            TypeError: something that is no function.
        """
        self.attacks = as_submissions(attacks, "non-targeted") + as_submissions(targeted, "targeted")
        self.defences = as_submissions(defences, "defence")
        names = [attack.name for attack in self.attacks]
        for name in names:
            require(names.count(name) == 1, "Competition", "targeted", "other names than the attacks'", repr(name))
        plan_batches(0, epsilons, batch_size=batch_size, assignment=assignment, seed=seed)
        if time_limit is not None:
            require(time_limit > 0, "Competition", "time_limit", "> 0 or None", time_limit)
            if not isolate:
                warnings.warn("Competition: without isolate a time_limit is not enforced", stacklevel=2)
        require(n_jobs == 1 or bool(isolate), "Competition", "n_jobs", "1 without isolate", n_jobs)
        require(n_jobs != 0, "Competition", "n_jobs", "a number of jobs, or -1 for one per core", n_jobs)
        self.epsilons, self.batch_size, self.assignment = tuple(epsilons), batch_size, assignment
        self.time_limit, self.isolate, self.seed, self.n_jobs, self.clock = time_limit, isolate, seed, n_jobs, clock
        self.blacklist, self.progress = tuple(sorted(set(blacklist))), progress
        self._setting: Setting | None = None
        self._crafted: dict[str, Crafted] = {}
        self._judged: dict[tuple[str, str], Judged] = {}

    def __repr__(self) -> str:
        return f"Competition({len(self.attacks)} attacks, {len(self.defences)} defences)"

    def run(
        self,
        images: UInt8[Tensor, "n channels height width"],
        labels: Int[Tensor, " n"],
        targets: Int[Tensor, " n"] | None = None,
    ) -> Tournament:
        """Let every defence meet every attack.

        Args:
            images: clean, 0 to 255.
            labels: what they show; submissions never see them.
            targets: the classes that targeted attacks aim at, see :func:`draw_targets`.

        Returns:
            The counted outcomes, from which all scores follow.

        Raises:
            ValueError: images, labels or targets that do not fit; no targets although there are targeted attacks.
            TypeError: images that are not uint8, labels that are no integers.
        """
        check_data(images, labels, targets)
        self._require_targets(targets)
        batches = plan_batches(
            len(images), self.epsilons, batch_size=self.batch_size, assignment=self.assignment, seed=self.seed
        )
        self._setting = Setting(
            images.detach().cpu().clone(),
            labels.detach().cpu().long(),
            None if targets is None else targets.detach().cpu().long(),
            batches,
            self.seed,
            self.clock,
        )
        self._crafted, self._judged = {}, {}
        return self._play()

    def enter_attack(self, name: str, function: Any, *, targeted: bool = False) -> Tournament:
        """Add an attack to a competition that has been run; only the new games are played.

        Args:
            name: an attack of the same name loses its place to this one.
            function: ``f(images, epsilon)``, if targeted ``f(images, epsilon, targets)``, or a submission.
            targeted: whether it gets targets.
        """
        new = as_submission(name, function, "targeted" if targeted else "non-targeted")
        setting = self._require_setting("Competition.enter_attack")
        if targeted and setting.targets is None:
            reject("Competition.enter_attack", "targeted", "False: the competition was run without targets", True)
        self.attacks = (*(old for old in self.attacks if old.name != name), new)
        self._crafted.pop(name, None)
        self._judged = {pair: games for pair, games in self._judged.items() if pair[1] != name}
        return self._play()

    def enter_defence(self, name: str, function: Any) -> Tournament:
        """Add a defence to a competition that has been run; it meets the images that the attacks have made.

        Args:
            name: a defence of the same name loses its place to this one.
            function: ``f(images)``, a ``torch.nn.Module`` or a submission.
        """
        new = as_submission(name, function, "defence")
        self._require_setting("Competition.enter_defence")
        self.defences = (*(old for old in self.defences if old.name != name), new)
        self._judged = {pair: games for pair, games in self._judged.items() if pair[0] != name}
        return self._play()

    def crafted(self, attack: str) -> Crafted:
        """Return the images of an attack.

        Raises:
            ValueError: no such attack, or not run yet.
        """
        if attack not in self._crafted:
            reject("Competition.crafted", "attack", f"one of {', '.join(self._crafted) or 'none yet'}", repr(attack))
        return self._crafted[attack]

    def _require_setting(self, operation: str) -> Setting:
        if self._setting is None:
            reject(operation, "self", "a competition that has been run", "not run yet")
        return self._setting

    def _require_targets(self, targets: Tensor | None) -> None:
        aiming = [attack.name for attack in self.attacks if attack.track == "targeted"]
        if aiming and targets is None:
            reject("Competition.run", "targets", f"a class for each image: {aiming[0]!r} is targeted", None)

    def _play(self) -> Tournament:
        """Play the games that have not been played."""
        setting = self._require_setting("Competition")
        crafting = [attack for attack in self.attacks if attack.name not in self._crafted]
        judging = [
            (defence, [attack for attack in self.attacks if (defence.name, attack.name) not in self._judged])
            for defence in self.defences
        ]
        n_games = len(crafting) + sum(len(attacks) for _, attacks in judging)
        with ExitStack() as stack:
            isolation = self.isolate if isinstance(self.isolate, Isolation) else None
            if self.isolate is True and n_games and setting.batches:
                isolation = stack.enter_context(Isolation())
            bar = stack.enter_context(progress_bar(n_games, "competition", unit="game")) if self.progress else None

            def played() -> None:
                if bar is not None:
                    bar.update()

            def let_craft(attack: Submission) -> None:
                with running(attack, isolation, self.time_limit) as run:
                    self._crafted[attack.name] = craft(attack, setting, run)
                played()

            def let_judge(defence: Submission, attacks: list[Submission]) -> None:
                with running(defence, isolation, self.time_limit) as run:
                    for attack in attacks:
                        crafted = self._crafted[attack.name]
                        self._judged[defence.name, attack.name] = judge(defence, attack, crafted, setting, run)
                        played()

            # Threads are enough: they wait for the processes of the submissions.
            parallel = joblib.Parallel(n_jobs=self.n_jobs, require="sharedmem")
            parallel(joblib.delayed(let_craft)(attack) for attack in crafting)
            parallel(joblib.delayed(let_judge)(*games) for games in judging if games[1])
        return self._collect(setting.batches)

    def _collect(self, batches: tuple[Batch, ...]) -> Tournament:
        shape = (len(self.defences), len(self.attacks), len(batches))
        games = [self._judged[defence.name, attack.name] for defence in self.defences for attack in self.attacks]
        crafted = [self._crafted[attack.name] for attack in self.attacks]
        counts = torch.stack([game.counts for game in games]) if games else torch.zeros(0, 4, shape[2]).long()
        right, wrong, hit, labelled = (part.reshape(shape) for part in counts.unbind(1))
        made = [[int(one.produced[batch.part].sum()) for batch in batches] for one in crafted]
        attack_seconds = torch.stack([one.seconds for one in crafted]) if crafted else torch.zeros(shape[1:]).double()
        seconds = torch.stack([game.seconds for game in games]) if games else torch.zeros(shape).double()
        return Tournament(
            attacks=tuple(attack.name for attack in self.attacks),
            targeted=tuple(attack.track == "targeted" for attack in self.attacks),
            defences=tuple(defence.name for defence in self.defences),
            epsilons=tuple(batch.epsilon for batch in batches),
            sizes=tuple(len(batch) for batch in batches),
            produced_by_batch=torch.tensor(made, dtype=torch.int64).reshape(shape[1:]),
            correct_by_batch=right,
            error_by_batch=wrong,
            hit_by_batch=hit,
            labelled_by_batch=labelled,
            attack_seconds=attack_seconds,
            defence_seconds=seconds.reshape(shape),
            remarks=(*(r for one in crafted for r in one.remarks), *(r for game in games for r in game.remarks)),
            blacklist=self.blacklist,
        )
