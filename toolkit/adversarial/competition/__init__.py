"""The competition: attacks and defences as plain functions, the rules, the tournament and its scores (section 3).

``Competition`` lets all meet all and gives a ``Tournament``, which holds counted outcomes; scores, ranks, worst cases
and tables are derived from these, also after ``without`` has left somebody out.
"""

from toolkit.adversarial.competition.competition import Competition
from toolkit.adversarial.competition.games import Crafted
from toolkit.adversarial.competition.isolation import Isolation
from toolkit.adversarial.competition.rules import PAPER_EPSILONS, Batch, draw_targets, plan_batches, project
from toolkit.adversarial.competition.scores import Scores, complete_attacks, complete_defences, kit_points, ranks, score
from toolkit.adversarial.competition.submissions import TRACKS, Submission, from_attack, from_model
from toolkit.adversarial.competition.tables import Leaderboard, Remark, ScoresByEpsilon, Standing
from toolkit.adversarial.competition.tournament import Tournament

__all__ = [
    "PAPER_EPSILONS",
    "TRACKS",
    "Batch",
    "Competition",
    "Crafted",
    "Isolation",
    "Leaderboard",
    "Remark",
    "Scores",
    "ScoresByEpsilon",
    "Standing",
    "Submission",
    "Tournament",
    "complete_attacks",
    "complete_defences",
    "draw_targets",
    "from_attack",
    "from_model",
    "kit_points",
    "plan_batches",
    "project",
    "ranks",
    "score",
]
