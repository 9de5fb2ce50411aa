"""Grammars you can compute with, and when metadata helps a language model (Higuchi et al., COLM 2025).

The paper asks whether telling a language model where a document comes from makes it a better one when it is not told.
It draws documents from a family of grammars, one of which hidden choices pick for each document, and shows some of the
choices in training. Here the best that any model could do is known exactly, so that each is measured against it.

``families`` holds grammars whose sentences are rewritten level by level, and families of them for metadata to choose
from; ``sampling`` draws ``documents``, ``trees`` and ``tree_drawing`` show them. ``inference`` gives the exact
probability of every sentence, prefix and next token under all grammars of a family at once, and what they tell of the
metadata. ``grammar`` does so for probabilistic context-free grammars of any shape, recursive or with empty productions.
``conditioning``, ``models`` and ``training`` are the paper's decoders; ``metrics``, ``accuracy``, ``probes``,
``calibration`` and ``decomposition`` say how far they are from the best, and where.
"""

from toolkit.grammars.accuracy import (
    Attainable,
    GrammaticalAccuracy,
    Judgement,
    attainable_accuracy,
    exact_attainable_accuracy,
    grammatical_accuracy,
    judge,
)
from toolkit.grammars.calibration import Calibration, calibrate
from toolkit.grammars.conditioning import Conditioning, Sequences, Vocabulary, condition, prompts, sequences
from toolkit.grammars.decoding import Generated, complete
from toolkit.grammars.decomposition import Decomposition, decompose
from toolkit.grammars.document_trees import document_tree
from toolkit.grammars.documents import Documents, LevelNodes, as_documents
from toolkit.grammars.enumeration import Enumeration, enumerate_sentences, sentence_entropy
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.grammar import PCFG
from toolkit.grammars.inference import infer
from toolkit.grammars.inference_result import Inference
from toolkit.grammars.metrics import ByPosition, kl_by_position, losses_by_position, ratio_by_position
from toolkit.grammars.models import SIZES, Decoder, DecoderConfig
from toolkit.grammars.moments import GrammarChecks
from toolkit.grammars.named import NAMED, cfg3b, cfg3f, named_family, toy_family
from toolkit.grammars.predictions import predict, predict_all
from toolkit.grammars.probes import Probes, probe
from toolkit.grammars.rules import Nonterminal, Rule
from toolkit.grammars.sandbox import temper
from toolkit.grammars.training import DecoderTraining, TrainingConfig, train_decoder
from toolkit.grammars.tree_drawing import draw_tree, plot_tree
from toolkit.grammars.trees import Tree
from toolkit.grammars.viterbi import Parse
from toolkit.grammars.work_list import Sample

__all__ = [
    "NAMED",
    "PCFG",
    "SIZES",
    "Attainable",
    "ByPosition",
    "Calibration",
    "Conditioning",
    "Decoder",
    "DecoderConfig",
    "DecoderTraining",
    "Decomposition",
    "Documents",
    "Enumeration",
    "Generated",
    "GrammarChecks",
    "GrammarFamily",
    "GrammaticalAccuracy",
    "Inference",
    "Judgement",
    "LevelNodes",
    "LevelledGrammar",
    "Nonterminal",
    "Parse",
    "Probes",
    "Rule",
    "Sample",
    "Sequences",
    "TrainingConfig",
    "Tree",
    "Vocabulary",
    "as_documents",
    "attainable_accuracy",
    "calibrate",
    "cfg3b",
    "cfg3f",
    "complete",
    "condition",
    "decompose",
    "document_tree",
    "draw_tree",
    "enumerate_sentences",
    "exact_attainable_accuracy",
    "grammatical_accuracy",
    "infer",
    "judge",
    "kl_by_position",
    "losses_by_position",
    "named_family",
    "plot_tree",
    "predict",
    "predict_all",
    "probe",
    "prompts",
    "ratio_by_position",
    "sentence_entropy",
    "sequences",
    "temper",
    "toy_family",
    "train_decoder",
]
